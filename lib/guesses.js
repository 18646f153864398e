'use strict';

// What people write who know other lock libraries: it gets an answer that says what to write here.

const { typeError } = require('./errors.js');

/** Our options, each with other names for the same; in lower case. */
const OPTIONS = {
  signal: 'timeout acquiretimeout waittimeout waittime maxwait abortsignal',
  wait: 'timeout acquiretimeout waittimeout waittime maxwait',
  expiry: 'ttl expire expires expiration lease leasetime duration locktimeout px ms',
  tries: 'retries retry retrycount maxretries attempts maxattempts acquireattemptslimit',
  retryDelay: 'retryjitter retryinterval delay delayfunc backoff',
  driftFactor: 'drift drifttime clockdrift',
  genValue: 'genvaluefunc identifierfactory',
  value: 'identifier lockvalue',
  autoExtend: 'extend autorenew renew refreshinterval automaticextensionthreshold watchdog',
  fencing: 'token fencingtoken',
  permits: 'limit concurrency count max',
  holdAtLeast: 'lockatleastfor minhold minholdtime cooldown',
  mode: 'shared exclusive readonly',
  keyPrefix: 'prefix namespace',
  url: 'uri connectionstring',
  host: 'hostname address socket',
  path: 'socketpath unix',
  username: 'user login',
  password: 'pass auth',
  db: 'database',
  tls: 'ssl',
  masterName: 'name master',
  cluster: 'nodes servers rootnodes',
  connectTimeout: 'timeout',
  drain: 'timeout wait grace graceperiod',
  timeout: 'wait',
};

/** Whoever gives nodes as an option may mean either. */
const CLUSTER = 'an array of nodes, as in new Redsync([url, url]), or "cluster" if they are one';

/** By the other name. */
const meant = new Map();
for (const [option, others] of Object.entries(OPTIONS)) {
  for (const other of others.split(' ')) meant.set(other, [...(meant.get(other) ?? []), option]);
}

/**
 * The options that are meant by one that is none here.
 *
 * @param {string} key
 * @param {readonly string[]} known
 * @param {Readonly<Record<string, string>>} [places] who takes options that are not known here
 * @returns {string[]} as they are to be shown
 */
function meantOptions(key, known, places = {}) {
  const lower = key.toLowerCase();
  const guesses = meant.get(lower) ?? [];
  const all = guesses.length > 0 || Object.hasOwn(places, key) ? [...guesses, key] : [];
  const here = all.filter((name) => known.includes(name));
  const elsewhere = all.filter((name) => !here.includes(name) && Object.hasOwn(places, name));
  const shown = [
    ...here.map((name) => (name === 'cluster' ? CLUSTER : `"${name}"`)),
    ...elsewhere.map((name) => `"${name}" of ${places[name]}`),
  ];
  if (shown.length > 0) return shown;
  const nearest = known.find((name) => isTypo(lower, name.toLowerCase()));
  return nearest === undefined ? [] : [`"${nearest}"`];
}

/** At most two edits apart; one for short words, where two would match nearly anything. */
function isTypo(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[b.length] <= (b.length < 5 ? 1 : 2);
}

/**
 * Answers calls of methods that a class does not have. Whoever asks `typeof redsync.lock` is told that it
 * is a function, as are mocks and whatever tells a lock by its methods: so these never do anything but throw,
 * whatever they are given. They are not in the types, no loop over the object finds them, and a mock or a
 * subclass may put its own in their place.
 *
 * @param {Function} Class
 * @param {Record<string, string>} methods what to write instead of each
 */
function refuseMethods(Class, methods) {
  const type = Class.name.toLowerCase();
  for (const [method, instead] of Object.entries(methods)) {
    const value = {
      [method]() {
        throw typeError(`${type}.${method}() does not exist: write ${instead}`);
      },
    }[method];
    const property = { __proto__: null, value, writable: true, configurable: true };
    Object.defineProperty(Class.prototype, method, property);
  }
}

module.exports = { meantOptions, refuseMethods };

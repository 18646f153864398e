'use strict';

const { isIPv6 } = require('node:net');

const { HOST_NAME, MAX_SEEDS } = require('./addresses.js');
const { typeError, rangeError } = require('./errors.js');
const { MAX_INT, text } = require('./fields.js');
const { TLS } = require('./tls.js');

// URLs are taken apart here: the built-in parser's errors carry their whole input.

const MAX_MASTER_NAME = 1024;

const isUrl = text(1, 16 * 1024, { secret: true });

// The parts: scheme, user information, hosts and ports, path, query, fragment.
const URL_PARTS =
  /^([a-z][a-z0-9+.-]*):(?:\/\/(?:([^/?#]*)@)?([^/?#]*))?([^?#]*)(\?[^#]*)?(#.*)?$/is;

const SCHEMES = new Map([
  ['redis', readTcpUrl],
  ['rediss', secure(readTcpUrl)],
  ['redis+unix', readUnixUrl],
  ['redis+sentinel', readSentinelUrl],
  ['rediss+sentinel', secure(readSentinelUrl)],
  ['redis+cluster', readClusterUrl],
  ['rediss+cluster', secure(readClusterUrl)],
  ['memory', readMemoryUrl],
]);

/**
 * @param {string} argument
 * @param {string} url
 * @returns {object} the parts of a node that the URL names, under the names of the options; no
 *   prototype, so that a polluted one cannot turn a node into another
 */
function readUrl(argument, url) {
  const match = URL_PARTS.exec(isUrl(argument, url));
  const read = SCHEMES.get(match?.[1].toLowerCase());
  // Not naming the scheme: in "user:password@host" it is the user.
  if (!read) {
    throw typeError(
      `The "${argument}" argument must be a redis:, rediss:, redis+unix:, redis+sentinel:, ` +
        'rediss+sentinel:, redis+cluster:, rediss+cluster: or memory: URL, ' +
        'such as redis://localhost:6379',
    );
  }
  if (/[\0-\x20\x7f]/.test(url)) throw badUrl(argument, 'no spaces or control characters');
  const [, , user, address, route, query = '', fragment] = match;
  if (fragment !== undefined) throw badUrl(argument, 'no fragment (write # as %23)');
  if (address && `${route}${query}`.includes('@')) {
    throw badUrl(argument, 'no / or ? in its user or password (write %2F, %3F)');
  }
  return read(argument, { user, address, route, query });
}

function badUrl(argument, expected) {
  return rangeError(`The URL in the "${argument}" argument must have ${expected}`);
}

function secure(read) {
  return (argument, parts) => ({ __proto__: null, ...read(argument, parts), tls: TLS });
}

function readTcpUrl(argument, { user, address, route, query }) {
  const form = 'the form redis://[user:password@]host[:port][/db], with a port from 1 to 65535';
  if (address?.includes(','))
    throw badUrl(argument, 'one host: several nodes are an array of URLs');
  const server = readServer(argument, address, form);
  rejectQuery(argument, query);
  const db = readDb(argument, route.slice(1));
  return { __proto__: null, ...readUser(argument, user), ...server, db };
}

function readSentinelUrl(argument, { user, address, route, query }) {
  const form =
    'the form redis+sentinel://[user:password@]host[:port][,host[:port]...]/masterName[/db], ' +
    'with ports from 1 to 65535';
  const sentinels = readSeeds(argument, { user, address }, 26379, form);
  rejectQuery(argument, query);
  const [name, ...db] = route.slice(1).split('/');
  const masterName = decode(argument, name) || undefined;
  if (Buffer.byteLength(masterName ?? '') > MAX_MASTER_NAME) {
    throw badUrl(argument, `a master name of at most ${MAX_MASTER_NAME} bytes`);
  }
  return {
    __proto__: null,
    ...readUser(argument, user),
    sentinels,
    masterName,
    db: readDb(argument, db.join('/')),
  };
}

function readClusterUrl(argument, { user, address, route, query }) {
  const form =
    'the form redis+cluster://[user:password@]host[:port][,host[:port]...], ' +
    'with ports from 1 to 65535';
  const cluster = readSeeds(argument, { user, address }, 6379, form);
  rejectQuery(argument, query);
  const db = readDb(argument, route.slice(1));
  return { __proto__: null, ...readUser(argument, user), cluster, db };
}

function readUnixUrl(argument, { user, address, route, query }) {
  const form = 'the form redis+unix://[user:password@]/path[?db=0]';
  const path = decode(argument, route);
  // No plain @: what is before it is a login with a slash too many before it.
  if (route.includes('@')) throw badUrl(argument, `${form} (write @ in the path as %40)`);
  if (address !== '' || !/^\/[^\0-\x1f\x7f]{1,1023}$/.test(path)) throw badUrl(argument, form);
  const [, number] = /^\?db=(.*)$/.exec(query) ?? [];
  if (number === undefined && query.length > 1) {
    throw typeError(`The URL in the "${argument}" argument takes one parameter only: db`);
  }
  const db = readDb(argument, number);
  return { __proto__: null, ...readUser(argument, user), path, db };
}

function readMemoryUrl(argument, { address, route, query }) {
  if (address !== undefined || query !== '' || !/^[\w.-]{0,64}$/.test(route)) {
    throw badUrl(argument, 'the form memory: or memory:NAME (1 to 64 letters, digits, "_.-")');
  }
  return { __proto__: null, memory: route };
}

function readServer(argument, address = '', form) {
  const match = /^(?:\[(.+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(address);
  const [, ipv6, name = '', digits] = match ?? [];
  const host = ipv6 ? decode(argument, ipv6) : name;
  const isHost = ipv6 ? isIPv6(host) : HOST_NAME.test(host);
  const isPort = digits === undefined || (digits >= 1 && digits <= 65535);
  if (!isHost || !isPort) throw badUrl(argument, form);
  return { host, port: digits && Number(digits) };
}

function readSeeds(argument, { user = '', address = '' }, defaultPort, form) {
  // A user for each host: all but the last host would pass for the user's password.
  if (user.includes('@')) throw badUrl(argument, form);
  const seeds = address.split(',');
  if (seeds.length > MAX_SEEDS) throw badUrl(argument, `at most ${MAX_SEEDS} hosts`);
  const readSeed = (seed) => {
    const { host, port = defaultPort } = readServer(argument, seed, form);
    return Object.freeze({ host, port });
  };
  return Object.freeze(seeds.map(readSeed));
}

function readUser(argument, user = '') {
  const colon = user.includes(':') ? user.indexOf(':') : user.length;
  return {
    username: decode(argument, user.slice(0, colon)),
    password: decode(argument, user.slice(colon + 1)),
  };
}

function readDb(argument, digits = '') {
  if (digits === '') return undefined;
  const number = /^\d{1,10}$/.test(digits) ? Number(digits) : NaN;
  if (!(number <= MAX_INT)) throw badUrl(argument, `a database number from 0 to ${MAX_INT}`);
  return number;
}

function rejectQuery(argument, query) {
  if (query.length > 1) {
    throw typeError(`The URL in the "${argument}" argument takes no parameters`);
  }
}

function decode(argument, encoded) {
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw badUrl(argument, 'valid percent-encoding');
  }
}

module.exports = { readUrl };

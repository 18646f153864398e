'use strict';

const { missing } = require('./addon.js');
const { matching, host, port, path, seeds, showServers } = require('./addresses.js');
const { adapterFor } = require('./adapters/clients.js');
const { clockOf } = require('./clocks.js');
const { typeError, rangeError, invalidType, outOfRange } = require('./errors.js');
const { MAX_INT, read, readFields, boolean, integer, text } = require('./fields.js');
const { tls } = require('./tls.js');
const { readUrl } = require('./urls.js');

// Everything in this file may be, or be next to, a password. So no error tells what a string was.

const MAX_NODES = 64;
const SECRET = { secret: true };

const credential = text(0, 16 * 1024, SECRET);

const RULES = {
  __proto__: null,
  url: readUrl,
  host,
  port,
  path,
  username: credential,
  password: credential,
  db: integer(0, MAX_INT, SECRET),
  tls,
  sentinels: seeds(26379),
  masterName: text(1, 1024, SECRET),
  sentinelUsername: credential,
  sentinelPassword: credential,
  cluster: seeds(6379),
  connectTimeout: integer(1, MAX_INT, SECRET),
  clientName: matching(/^[!-~]{1,128}$/, '1 to 128 printable ASCII characters without spaces'),
};

// The ways to say where a node is: exactly one of them.
const PLACES = [['host', 'port'], ['path'], ['sentinels'], ['cluster']];

const SENTINEL_ONLY = ['masterName', 'sentinelUsername', 'sentinelPassword'];

const NO_PARTS = Object.freeze({ __proto__: null });

const POOL_RULES = {
  __proto__: null,
  endpoint: matching(
    /^[\w.:[\],/ -]{1,256}$/,
    'host:port, or another short name without a password',
  ),
  isCluster: boolean,
  isPrefixed: boolean, // said by our own adapters
};

/** A client has a `get` too, but it is another one. */
function rejectClient(argument, input) {
  const adapter = adapterFor(input);
  const isFunction = (key) => typeof read(input, key) === 'function';
  const isClient = adapter !== undefined || ['set', 'sendCommand', 'duplicate'].some(isFunction);
  if (!isClient) return;
  const pool =
    adapter === undefined ? 'a Pool over it, see docs/clients.md' : `newPool(client) of ${adapter}`;
  throw typeError(
    `The "${argument}" argument must be a URL, connection options or a Pool, not a client: give ${pool}`,
  );
}

/** A Pool is told by its `get`: options have none. */
function readPool(argument, pool) {
  const field = (key) => {
    const value = read(pool, key);
    return value === undefined ? undefined : POOL_RULES[key](`${argument}.${key}`, value);
  };
  return Object.freeze({
    ...PLAIN,
    kind: 'pool',
    endpoint: field('endpoint') ?? 'pool',
    isCluster: field('isCluster') ?? false,
    isPrefixed: field('isPrefixed') ?? false,
    pool,
  });
}

function readOptions(argument, input) {
  const fields = readFields(argument, input, RULES, undefined, SECRET);
  const { url: fromUrl = NO_PARTS, ...given } = fields;
  const [stray] = Object.keys(given);
  if (fromUrl.memory !== undefined && stray !== undefined) {
    throw typeError(`The "${argument}" argument: "${stray}" has no meaning for a memory: URL`);
  }
  if (fromUrl.tls && given.tls === false) {
    throw typeError(`The "${argument}" argument: "tls" must not be false for a URL with TLS`);
  }
  return { __proto__: null, ...fromUrl, ...given };
}

// Own properties of every node, so that a polluted prototype cannot add them.
const PLAIN = Object.freeze({
  isCluster: false,
  isPrefixed: false,
  pool: undefined,
  clock: undefined,
});

function toSpec(argument, parts) {
  if (parts.memory === undefined && missing !== undefined) throw missing;
  const spec = parts.memory === undefined ? redisSpec(argument, parts) : memorySpec(parts);
  return Object.freeze({ ...PLAIN, ...spec });
}

function memorySpec({ memory }) {
  const endpoint = memory === '' ? 'memory' : `memory:${memory}`;
  const clock = clockOf(memory);
  return { kind: 'memory', name: memory || undefined, endpoint, clock };
}

const READ_PLACE = {
  __proto__: null,

  host(argument, { host, port = 6379 }) {
    return { kind: 'redis', host, port, endpoint: showServers([{ host, port }]) };
  },

  path(argument, { path, tls }) {
    if (tls) throw typeError(`The "${argument}" argument: "tls" has no meaning for a path`);
    return { kind: 'redis', path, endpoint: path };
  },

  sentinels(argument, { sentinels, masterName }) {
    if (masterName === undefined) {
      throw typeError(`The "${argument}" argument must have a masterName with its sentinels`);
    }
    // What Redis recommends for names is shown. Anything else could be a misplaced URL.
    const shown = /^[\w.-]{1,64}$/.test(masterName) ? masterName : '...';
    const endpoint = `${showServers(sentinels)}/${shown}`;
    return { kind: 'sentinel', seeds: sentinels, masterName, endpoint };
  },

  cluster(argument, { cluster, db = 0 }) {
    if (db !== 0) {
      throw rangeError(`The "${argument}" argument must have database 0: a cluster has no other`);
    }
    return { kind: 'cluster', seeds: cluster, endpoint: showServers(cluster), isCluster: true };
  },
};

function placeOf(argument, parts) {
  const isGiven = (key) => parts[key] !== undefined;
  const [place, other] = PLACES.map((keys) => keys.find(isGiven)).filter(Boolean);
  if (other !== undefined) {
    throw typeError(
      `The "${argument}" argument must have either "${place}" or "${other}", its url included`,
    );
  }
  // No default host: with a forgotten environment variable all nodes would be this machine.
  if (place === undefined || place === 'port') {
    throw typeError(
      `The "${argument}" argument must have a url, a host, a path, sentinels or a cluster`,
    );
  }
  const stray = place === 'sentinels' ? undefined : SENTINEL_ONLY.find(isGiven);
  if (stray !== undefined) {
    throw typeError(`The "${argument}" argument: "${stray}" has no meaning without sentinels`);
  }
  return place;
}

function redisSpec(argument, parts) {
  const username = parts.username || undefined;
  const sentinelUsername = parts.sentinelUsername || undefined;
  return {
    seeds: undefined,
    masterName: undefined,
    host: undefined,
    port: undefined,
    path: undefined,
    ...READ_PLACE[placeOf(argument, parts)](argument, parts),
    username,
    // A named user always logs in; '' does for one that needs no password.
    password: parts.password || (username && ''),
    sentinelUsername,
    sentinelPassword: parts.sentinelPassword || (sentinelUsername && ''),
    db: parts.db ?? 0,
    connectTimeout: parts.connectTimeout ?? 1000,
    clientName: parts.clientName ?? 'redsync',
    tls: parts.tls || undefined,
  };
}

function readNode(argument, input) {
  if (typeof input === 'string') return toSpec(argument, readUrl(argument, input));
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw invalidType(argument, input, 'a URL, connection options or a Pool', true);
  }
  rejectClient(argument, input);
  if (typeof read(input, 'get') === 'function') return readPool(argument, input);
  return toSpec(argument, readOptions(argument, input));
}

/**
 * What the addon has to know of a node, and what it has not.
 *
 * @typedef {Omit<import('../native.js').NodeSpec, 'clock'> & OwnSpec} NodeSpec
 * @typedef {object} OwnSpec
 * @property {string} endpoint fit for logs: host:port, the socket's path, the first seeds (with
 *   /masterName), memory or memory:NAME; what a pool says
 * @property {boolean} isCluster several keys have to be in one slot
 * @property {boolean} isPrefixed a client puts something in front of all keys
 * @property {object} [pool]
 * @property {import('./clocks.js').Clock} [clock] of a memory node for tests
 */

/**
 * @param {unknown} nodes one node or an array of them
 * @returns {readonly Readonly<NodeSpec>[]}
 */
function readNodes(nodes) {
  if (!Array.isArray(nodes)) return Object.freeze([readNode('nodes', nodes)]);
  const { length } = nodes;
  if (length < 1 || length > MAX_NODES) {
    throw outOfRange('nodes', nodes, `one node or an array of 1 to ${MAX_NODES}`);
  }
  const all = Array.from({ length }, (_, i) => readNode(`nodes[${i}]`, nodes[i]));
  all.forEach(requireOwnVote);
  requireOneClock(all);
  return Object.freeze(all);
}

/** A server that is given twice would be asked twice, and say "taken" to its own other vote. */
function requireOwnVote(node, i, all) {
  if (node.kind === 'memory' && node.name === undefined) return;
  const isSame = ({ kind, endpoint, db, pool }) =>
    kind === node.kind &&
    pool === node.pool &&
    (pool !== undefined || (endpoint === node.endpoint && db === node.db));
  const first = all.findIndex(isSame);
  if (first < i) throw rangeError(`nodes[${i}] is the same node as nodes[${first}]`);
}

function requireOneClock(all) {
  const clocks = new Set(all.map(({ clock }) => clock).filter(Boolean));
  if (clocks.size > 1) throw rangeError('The "nodes" argument must not have nodes of two clocks');
}

module.exports = { readNodes };

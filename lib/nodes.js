'use strict';

const { isIPv6 } = require('node:net');

const { typeError, rangeError, invalidType, outOfRange } = require('./errors.js');
const { readFields, integer, text } = require('./options.js');

// Everything in this file may be, or be next to, a password. So no error tells what a string was,
// and URLs are taken apart here: the built-in parser's errors carry their whole input.

const MAX_NODES = 64;
const MAX_INT = 2 ** 31 - 1;
const DEFAULT_PORT = 6379;
const SECRET = { secret: true };

const secretText = (min) => text(min, 16 * 1024, SECRET);
const port = integer(1, 65535, SECRET);
const db = integer(0, MAX_INT, SECRET);

function matching(pattern, expected) {
  const isText = text(1, 1024, SECRET);
  return (argument, value) => {
    isText(argument, value);
    if (!pattern.test(value)) throw outOfRange(argument, value, expected, true);
    return value;
  };
}

const hostName = matching(/^[\w.-]{1,253}$/, 'a host name or an IP address');

/** @returns {string} IPv6 addresses without their brackets */
function host(argument, value) {
  const bare = typeof value === 'string' ? value.replace(/^\[(.*)\]$/, '$1') : value;
  return typeof bare === 'string' && isIPv6(bare) ? bare : hostName(argument, value);
}

// Absolute only, which also keeps a URL in the wrong option out of the endpoint and the logs.
const path = matching(/^\/[^\0-\x1f\x7f]+$/, 'an absolute path without control characters');

function notYet(argument) {
  throw typeError(`The "${argument}" argument is not supported yet`);
}

const RULES = {
  __proto__: null,
  url: secretText(1),
  host,
  port,
  path,
  username: secretText(0),
  password: secretText(0),
  db,
  connectTimeout: integer(1, MAX_INT, SECRET),
  clientName: matching(/^[!-~]{1,128}$/, '1 to 128 printable ASCII characters without spaces'),
};

const LATER_OPTIONS = [
  'tls',
  'sentinels',
  'masterName',
  'sentinelUsername',
  'sentinelPassword',
  'cluster',
];

const OPTION_RULES = {
  __proto__: null,
  ...Object.fromEntries(LATER_OPTIONS.map((key) => [key, notYet])),
  ...RULES,
};

// The parts: scheme, user information, host and port, path, query, fragment.
const URL_PARTS =
  /^([a-z][a-z0-9+.-]*):(?:\/\/(?:([^/?#]*)@)?([^/?#]*))?([^?#]*)(\?[^#]*)?(#.*)?$/is;

const SCHEMES = new Map([
  ['redis', readTcpUrl],
  ['redis+unix', readUnixUrl],
  ['memory', readMemoryUrl],
]);

const LATER_SCHEMES = new Set([
  'rediss',
  'redis+sentinel',
  'rediss+sentinel',
  'redis+cluster',
  'rediss+cluster',
]);

// Parts have no prototype either: a polluted one must not turn a node into another.
const NO_PARTS = Object.freeze({ __proto__: null });

/**
 * @param {string} argument
 * @param {string} url
 * @returns {object} the parts of a node that the URL names
 */
function readUrl(argument, url) {
  const match = URL_PARTS.exec(RULES.url(argument, url));
  const scheme = match?.[1].toLowerCase();
  if (LATER_SCHEMES.has(scheme)) {
    throw typeError(`The "${argument}" argument: ${scheme}: URLs are not supported yet`);
  }
  const read = SCHEMES.get(scheme);
  // Not naming the scheme: in "user:password@host" it is the user.
  if (!read) {
    throw typeError(`The "${argument}" argument must be a redis:, redis+unix: or memory: URL`);
  }
  if (/[\0-\x20\x7f]/.test(url)) throw badUrl(argument, 'no spaces or control characters');
  const [, , user, address, route, query = '', fragment] = match;
  if (fragment !== undefined) throw badUrl(argument, 'no fragment (write # as %23)');
  return read(argument, { user, address, route, query });
}

function badUrl(argument, expected) {
  return rangeError(`The URL in the "${argument}" argument must have ${expected}`);
}

function readTcpUrl(argument, { user, address, route, query }) {
  const form = 'the form redis://[user:password@]host[:port][/db], with a port from 1 to 65535';
  const match = /^(?:\[(.+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(address ?? '');
  const [, ipv6, name, digits] = match ?? [];
  const isHost = ipv6 ? isIPv6(decode(argument, ipv6)) : /^[\w.-]{1,253}$/.test(name ?? '');
  const isPort = digits === undefined || (digits >= 1 && digits <= 65535);
  if (!isHost || !isPort) throw badUrl(argument, form);
  if (query.length > 1) {
    throw typeError(`The URL in the "${argument}" argument takes no parameters`);
  }
  return {
    __proto__: null,
    ...readUser(argument, user),
    host: ipv6 ? decode(argument, ipv6) : name,
    port: digits && Number(digits),
    db: readDb(argument, route.slice(1)),
  };
}

function readUnixUrl(argument, { user, address, route, query }) {
  const form = 'the form redis+unix://[user:password@]/path[?db=0]';
  const file = decode(argument, route);
  if (address !== '' || !/^\/[^\0-\x1f\x7f]{1,1023}$/.test(file)) throw badUrl(argument, form);
  const [, number] = /^\?db=(.*)$/.exec(query) ?? [];
  if (number === undefined && query.length > 1) {
    throw typeError(`The URL in the "${argument}" argument takes one parameter only: db`);
  }
  return {
    __proto__: null,
    ...readUser(argument, user),
    path: file,
    db: readDb(argument, number),
  };
}

function readMemoryUrl(argument, { address, route, query }) {
  if (address !== undefined || query !== '' || !/^[\w.-]{0,64}$/.test(route)) {
    throw badUrl(argument, 'the form memory: or memory:NAME (1 to 64 letters, digits, "_.-")');
  }
  return { __proto__: null, memory: route };
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

function decode(argument, encoded) {
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw badUrl(argument, 'valid percent-encoding');
  }
}

/** A client is told by its methods, a Pool by `get`; neither could be mistaken for options. */
function rejectClient(argument, input) {
  const isFunction = (key) => typeof input[key] === 'function';
  if (['set', 'sendCommand', 'duplicate'].some(isFunction)) {
    throw typeError(`The "${argument}" argument must be a URL or connection options, not a client`);
  }
  if (isFunction('get')) {
    throw typeError(`The "${argument}" argument: pools are not supported yet`);
  }
}

function readOptions(argument, input) {
  rejectClient(argument, input);
  const keys = Object.keys(OPTION_RULES);
  const listed = Object.keys(RULES);
  const given = readFields(argument, input, OPTION_RULES, keys, { secret: true, listed });
  const fromUrl = given.url === undefined ? NO_PARTS : readUrl(`${argument}.url`, given.url);
  const others = listed.filter((key) => key !== 'url' && given[key] !== undefined);
  if (fromUrl.memory !== undefined && others.length > 0) {
    throw typeError(`The "${argument}" argument: "${others[0]}" has no meaning for a memory: URL`);
  }
  return others.reduce((parts, key) => ({ __proto__: null, ...parts, [key]: given[key] }), fromUrl);
}

function toSpec(argument, parts) {
  return Object.freeze(parts.memory === undefined ? redisSpec(argument, parts) : memorySpec(parts));
}

function memorySpec({ memory }) {
  const endpoint = memory === '' ? 'memory' : `memory:${memory}`;
  return { kind: 'memory', name: memory || undefined, endpoint };
}

function redisSpec(argument, parts) {
  const isSocket = parts.path !== undefined;
  if (isSocket && (parts.host !== undefined || parts.port !== undefined)) {
    throw typeError(`The "${argument}" argument must have either a path or a host and port`);
  }
  // No default host: with a forgotten environment variable all nodes would be this machine.
  if (!isSocket && parts.host === undefined) {
    throw typeError(`The "${argument}" argument must have a url, a host or a path`);
  }
  const portNumber = isSocket ? undefined : (parts.port ?? DEFAULT_PORT);
  const username = parts.username || undefined;
  return {
    kind: 'redis',
    host: parts.host,
    port: portNumber,
    path: parts.path,
    username,
    // A named user always logs in; '' does for one that needs no password.
    password: parts.password || (username && ''),
    db: parts.db ?? 0,
    connectTimeout: parts.connectTimeout ?? 1000,
    clientName: parts.clientName ?? 'redsync',
    endpoint: parts.path ?? `${isIPv6(parts.host) ? `[${parts.host}]` : parts.host}:${portNumber}`,
  };
}

function readNode(argument, input) {
  if (typeof input === 'string') return toSpec(argument, readUrl(argument, input));
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw invalidType(argument, input, 'a URL or connection options', true);
  }
  return toSpec(argument, readOptions(argument, input));
}

/**
 * @typedef {object} NodeSpec
 * @property {'redis' | 'memory'} kind
 * @property {string} endpoint fit for logs: host:port, the socket's path, memory or memory:NAME
 * @property {string} [name] of a memory node that is shared within the process
 * @property {string} [host] @property {number} [port] @property {string} [path]
 * @property {string} [username] @property {string} [password] @property {number} [db]
 * @property {number} [connectTimeout] @property {string} [clientName]
 */

/**
 * @param {unknown} nodes one node or an array of them
 * @returns {readonly Readonly<NodeSpec>[]}
 */
function readNodes(nodes) {
  if (!Array.isArray(nodes)) return Object.freeze([readNode('nodes', nodes)]);
  const { length } = nodes;
  if (length < 1 || length > MAX_NODES) {
    throw outOfRange('nodes', nodes, `one node or an array of 1 to ${MAX_NODES}`, true);
  }
  return Object.freeze(Array.from({ length }, (_, i) => readNode(`nodes[${i}]`, nodes[i])));
}

module.exports = { readNodes };

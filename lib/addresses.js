'use strict';

const { isIPv6 } = require('node:net');

const { typeError, invalidType, outOfRange } = require('./errors.js');
const { readFields, integer, text } = require('./fields.js');

// Rules for what tells where a server is; see lib/nodes.js for why they show nothing.

const MAX_SEEDS = 64;
const SHOWN_SEEDS = 3;
const SECRET = { secret: true };

const HOST_NAME = /^[\w.-]{1,253}$/;
const ABSOLUTE_PATH = /^\/[^\0-\x1f\x7f]+$/;

const port = integer(1, 65535, SECRET);

/**
 * @param {RegExp} pattern
 * @param {string} expected completes "must be …"
 */
function matching(pattern, expected) {
  const isText = text(1, 1024, SECRET);
  return (argument, value) => {
    isText(argument, value);
    if (!pattern.test(value)) throw outOfRange(argument, value, expected, true);
    return value;
  };
}

const hostOrAddress = matching(HOST_NAME, 'a host name or an IP address, without a port');

/** @returns {string} IPv6 addresses without their brackets */
function host(argument, value) {
  const bare = typeof value === 'string' ? value.replace(/^\[(.*)\]$/, '$1') : value;
  return typeof bare === 'string' && isIPv6(bare) ? bare : hostOrAddress(argument, value);
}

// Absolute only, which also keeps a URL in the wrong option out of the endpoint and the logs.
const path = matching(ABSOLUTE_PATH, 'an absolute path without control characters');

const SEED_RULES = { __proto__: null, host, port };

/** Servers, each of which knows where the others are. */
function seeds(defaultPort) {
  const expected = `an array of 1 to ${MAX_SEEDS} objects with a host and, if need be, a port`;
  return (argument, value) => {
    if (!Array.isArray(value)) throw invalidType(argument, value, expected, true);
    const { length } = value;
    if (length < 1 || length > MAX_SEEDS) throw outOfRange(argument, value, expected);
    const readOne = (_, i) => readSeed(`${argument}[${i}]`, value[i], defaultPort);
    return Object.freeze(Array.from({ length }, readOne));
  };
}

function readSeed(argument, input, defaultPort) {
  const fields = readFields(argument, input, SEED_RULES, undefined, {
    ...SECRET,
    expected: 'an object with a host and, if need be, a port',
  });
  if (fields.host === undefined) throw typeError(`The "${argument}" argument must have a host`);
  return Object.freeze({ host: fields.host, port: fields.port ?? defaultPort });
}

/**
 * @param {readonly { host: string, port: number }[]} servers
 * @returns {string} fit for logs
 */
function showServers(servers) {
  const shown = servers
    .slice(0, SHOWN_SEEDS)
    .map((server) => `${isIPv6(server.host) ? `[${server.host}]` : server.host}:${server.port}`);
  return (servers.length > SHOWN_SEEDS ? [...shown, '...'] : shown).join(',');
}

/** Behind the name of a client, where it is one. */
const ONE_SERVER = /^(?:[\w-]+ )?(?:\[([^\]]+)\]|([\w.-]+)):(\d{1,5})$/;

/**
 * @param {string} endpoint as errors and counters show a node
 * @returns {{ address: string, port?: number } | undefined} none if it is not one server
 */
function serverOf(endpoint) {
  if (endpoint.startsWith('/')) return { address: endpoint };
  if (endpoint.startsWith('memory:')) return undefined;
  const [, bracketed, plain, port] = ONE_SERVER.exec(endpoint) ?? [];
  const address = bracketed ?? plain;
  return address === undefined ? undefined : { address, port: Number(port) };
}

module.exports = {
  HOST_NAME,
  MAX_SEEDS,
  matching,
  host,
  port,
  path,
  seeds,
  showServers,
  serverOf,
};

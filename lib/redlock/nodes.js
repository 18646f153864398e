'use strict';

const { invalidType, outOfRange } = require('../errors.js');

/**
 * @param {unknown} clients
 * @returns {Set<unknown>} as node-redlock has it: a client that is given twice is one node
 */
function readClients(clients) {
  const expected = 'an iterable of ioredis clients or URLs';
  // A string is an iterable of letters.
  if (typeof clients !== 'object' || typeof clients?.[Symbol.iterator] !== 'function') {
    throw invalidType('clients', clients, expected, true);
  }
  const all = new Set(clients);
  if (all.size === 0) throw outOfRange('clients', clients, 'at least one client', true);
  return all;
}

/**
 * What the engine takes for a client.
 *
 * @param {unknown} client
 * @param {number} index
 * @returns {import('../..').NodeInput}
 */
function nodeOf(client, index) {
  if (typeof client === 'string') return client;
  if (typeof client?.evalsha === 'function')
    return require('../adapters/ioredis.js').newPool(client);
  throw invalidType(`clients[${index}]`, client, 'an ioredis client or a URL', true);
}

module.exports = { nodeOf, readClients };

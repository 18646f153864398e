'use strict';

const { invalidType, outOfRange } = require('../lib/errors.js');

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
 * @returns {import('..').NodeInput}
 */
function nodeOf(client, index) {
  if (typeof client === 'string') return client;
  const error = invalidType(`clients[${index}]`, client, 'an ioredis client or a URL', true);
  if (typeof client !== 'object' || client === null) throw error;
  try {
    return require('../lib/adapters/ioredis.js').newPool(client);
  } catch {
    return useless(error);
  }
}

/**
 * A node that always fails: node-redlock does not look at its clients before it asks them, and
 * programs are tested with ones that they never use.
 */
function useless(error) {
  return {
    endpoint: 'no client',
    get() {
      throw error;
    },
  };
}

module.exports = { nodeOf, readClients };

'use strict';

const { read } = require('../fields.js');

// Clients are told apart by their methods: none of their packages is loaded for that.

const ADAPTERS = [
  ['redsync/valkey-glide', ['customCommand', 'invokeScript']],
  ['redsync/node-redis', ['evalSha', 'pTTL']],
  ['redsync/ioredis', ['evalsha', 'pttl', 'defineCommand']],
];

/**
 * @param {object} client
 * @returns {string | undefined} the module whose newPool() takes this client
 */
function adapterFor(client) {
  const isFunction = (key) => typeof read(client, key) === 'function';
  const [adapter] = ADAPTERS.find(([, methods]) => methods.every(isFunction)) ?? [];
  return adapter === 'redsync/ioredis' && isIovalkey(client) ? 'redsync/iovalkey' : adapter;
}

/** Its clusters do not differ from those of ioredis; and newPool() of either takes both. */
function isIovalkey(client) {
  return typeof read(client, 'clearSocketTimeout') === 'function';
}

module.exports = { adapterFor };

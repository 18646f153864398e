'use strict';

const { Redsync } = require('../../index.js');
const { newPool } = require('../../lib/adapters/ioredis.js');
const { closeClients, connectClients } = require('../clients.js');

const EXPIRY = 8000;

/** An adapter for redsync with these options, over ioredis with those. */
function redsyncOver(clientOptions, options) {
  let clients;
  let redsync;
  return {
    async connect(urls) {
      clients = await connectClients(urls, clientOptions);
      redsync = new Redsync(clients.map(newPool), options);
    },

    async cycle(key, whileHeld) {
      const lock = await redsync.newMutex(key, { expiry: EXPIRY }).lock();
      if (whileHeld) await whileHeld();
      await lock.unlock();
    },

    async close() {
      await redsync.close();
      closeClients(clients);
    },
  };
}

module.exports = { ...redsyncOver(), redsyncOver };

'use strict';

const { default: Redlock } = require('redlock');

const { EXPIRY, closeClients, connectClients } = require('../clients.js');

/** An adapter for node-redlock over ioredis with these options. */
function redlockOver(options) {
  let clients;
  let redlock;
  return {
    async connect(urls) {
      clients = await connectClients(urls, options);
      redlock = new Redlock(clients);
    },

    async cycle(key, whileHeld) {
      const lock = await redlock.acquire([key], EXPIRY);
      if (whileHeld) await whileHeld();
      await lock.release();
    },

    close: () => closeClients(clients),
  };
}

module.exports = { ...redlockOver(), redlockOver };

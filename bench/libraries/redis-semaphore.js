'use strict';

const { Mutex, RedlockMutex } = require('redis-semaphore');

const { EXPIRY, closeClients, connectClients } = require('../clients.js');

// It would start a timer for each lock to extend it; none of the others does so when told nothing.
const OPTIONS = { lockTimeout: EXPIRY, refreshInterval: 0 };

let clients;

module.exports = {
  async connect(urls) {
    clients = await connectClients(urls);
  },

  async cycle(key, whileHeld) {
    const mutex =
      clients.length === 1
        ? new Mutex(clients[0], key, OPTIONS)
        : new RedlockMutex(clients, key, OPTIONS);
    await mutex.acquire();
    if (whileHeld) await whileHeld();
    await mutex.release();
  },

  close: () => closeClients(clients),
};

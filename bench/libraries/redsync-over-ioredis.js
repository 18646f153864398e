'use strict';

const { Redsync } = require('../../index.js');
const { newPool } = require('../../lib/adapters/ioredis.js');
const { closeClients, connectClients } = require('../clients.js');

const EXPIRY = 8000;

let clients;
let redsync;

module.exports = {
  async connect(urls) {
    clients = await connectClients(urls, { enableAutoPipelining: true });
    redsync = new Redsync(clients.map(newPool));
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

'use strict';

const { default: Redlock } = require('redlock');

const { EXPIRY, closeClients, connectClients } = require('../clients.js');

let clients;
let redlock;

module.exports = {
  async connect(urls) {
    clients = await connectClients(urls, { enableAutoPipelining: true });
    redlock = new Redlock(clients);
  },

  async cycle(key, whileHeld) {
    const lock = await redlock.acquire([key], EXPIRY);
    if (whileHeld) await whileHeld();
    await lock.release();
  },

  close: () => closeClients(clients),
};

'use strict';

const { IoredisAdapter, createLock, createRedlock } = require('redlock-universal');

const { EXPIRY, closeClients, connectClients } = require('../clients.js');

let clients;
let adapters;

module.exports = {
  async connect(urls) {
    clients = await connectClients(urls);
    adapters = clients.map((client) => new IoredisAdapter(client));
  },

  async cycle(key, whileHeld) {
    const lock =
      adapters.length === 1
        ? createLock({ adapter: adapters[0], key, ttl: EXPIRY })
        : createRedlock({ adapters, key, ttl: EXPIRY });
    const handle = await lock.acquire();
    if (whileHeld) await whileHeld();
    await lock.release(handle);
  },

  close: () => closeClients(clients),
};

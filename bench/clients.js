'use strict';

// What the libraries that run over ioredis have in common.

const { once } = require('node:events');

const { Redis } = require('ioredis');

// Every library locks for as long as redsync does by default, in milliseconds.
const EXPIRY = 8000;

/** One connected client for each URL, with ioredis' own defaults unless told otherwise. */
function connectClients(urls, options = {}) {
  return Promise.all(
    urls.map(async (url) => {
      const client = new Redis(url, options);
      await once(client, 'ready');
      return client;
    }),
  );
}

function closeClients(clients) {
  for (const client of clients) client.disconnect();
}

module.exports = { EXPIRY, closeClients, connectClients };

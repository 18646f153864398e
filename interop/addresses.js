'use strict';

const { Redis } = require('ioredis');

/** @param {string} address host:port, which is what every library can be told in its own way */
function urlOf(address) {
  return `redis://${address}`;
}

/** @param {string[]} addresses */
function clientsOf(addresses) {
  return addresses.map((address) => new Redis(urlOf(address)));
}

module.exports = { clientsOf, urlOf };

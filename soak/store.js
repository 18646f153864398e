'use strict';

// A store that refuses late writers: it takes a write only with a fencing token that is no less than the last one.

const { RedisClient } = require('../tools/redis-client.js');

/** Answers 1 accepted, 0 refused, and keeps the tokens of what it has accepted in their order. */
const WRITE = `
local last = tonumber(redis.call('LINDEX', KEYS[1], -1) or 0)
if tonumber(ARGV[1]) < last then return 0 end
redis.call('RPUSH', KEYS[1], ARGV[1])
return 1`;

class Store {
  #client;

  /** @param {string} url redis://host:port */
  constructor(url) {
    const { hostname: host, port } = new URL(url);
    this.#client = new RedisClient({ host, port: Number(port) });
  }

  /** @returns {Promise<boolean>} whether it was accepted */
  async write(name, token) {
    return (await this.#client.command('EVAL', WRITE, '1', name, String(token))) === 1;
  }

  /** The tokens of all writes that were accepted, in their order. */
  async tokens(name) {
    return (await this.#client.command('LRANGE', name, '0', '-1')).map(Number);
  }

  close() {
    this.#client.close();
  }
}

module.exports = { Store };

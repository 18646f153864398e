'use strict';

// A Pool as a user could write it: connections that are taken out and given back, one command at a
// time on each, over a client that redsync knows nothing of. It has what redsync calls, and no more.

const { RedisClient } = require('../../tools/redis-client.js');

const SIZE = 4;

class HandWrittenPool {
  #address;
  #free = [];
  #made = 0;
  #waiting = [];
  #ended = false;
  /** What is out: a test can see that all comes back. */
  out = 0;

  constructor(address) {
    this.#address = address;
  }

  get endpoint() {
    return `${this.#address.host}:${this.#address.port}`;
  }

  async get(signal) {
    const client = await this.#take(signal);
    this.out++;
    return new HandWrittenConn(client, () => this.#giveBack(client));
  }

  #take(signal) {
    signal?.throwIfAborted();
    const free = this.#free.pop();
    if (free?.usable) return free;
    if (free !== undefined || this.#made < SIZE) {
      if (free === undefined) this.#made++;
      return new RedisClient(this.#address);
    }
    return new Promise((resolve, reject) => {
      const entry = { resolve };
      this.#waiting.push(entry);
      signal?.addEventListener(
        'abort',
        () => {
          this.#waiting = this.#waiting.filter((other) => other !== entry);
          reject(signal.reason);
        },
        { once: true },
      );
    });
  }

  #giveBack(client) {
    this.out--;
    const next = this.#waiting.shift();
    if (this.#ended) client.close();
    else if (next) next.resolve(client.usable ? client : new RedisClient(this.#address));
    else this.#free.push(client);
  }

  end() {
    this.#ended = true;
    for (const client of this.#free.splice(0)) client.close();
  }
}

class HandWrittenConn {
  #client;
  #giveBack;

  constructor(client, giveBack) {
    this.#client = client;
    this.#giveBack = giveBack;
  }

  /** For a test that sends something else. */
  get client() {
    return this.#client;
  }

  async setNX(name, value, expiry) {
    return (await this.#client.command('SET', name, value, 'NX', 'PX', expiry)) === 'OK';
  }

  async eval(script, keys, args) {
    const call = (command, text) =>
      this.#client.command(command, text, keys.length, ...keys, ...args);
    try {
      return await call('EVALSHA', script.sha1);
    } catch (error) {
      if (error.code !== 'NOSCRIPT') throw error;
      return call('EVAL', script.source);
    }
  }

  pttl(name) {
    return this.#client.command('PTTL', name);
  }

  close() {
    this.#giveBack();
  }
}

module.exports = { HandWrittenPool };

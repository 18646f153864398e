'use strict';

const { randomUUID } = require('node:crypto');
const { clearInterval, setInterval } = require('node:timers');

const native = require('./addon.js');
const calls = require('./calls.js');

const LONG = 2 ** 31 - 1;

/**
 * The clocks of nodes for tests, by the names of the nodes.
 * @type {Map<string, Clock>}
 */
const clocks = new Map();

/** A clock that can be moved on, and nodes in memory that know no other. */
class Clock {
  #ahead = 0;
  #clients = new Set();

  constructor() {
    this.number = native.newClock();
  }

  /** Milliseconds that it is ahead of the engine's. */
  get ahead() {
    return this.#ahead;
  }

  /** @returns {string} the URL of a new node */
  newNode() {
    const name = `test-${randomUUID()}`;
    clocks.set(name, this);
    return `memory:${name}`;
  }

  /** @param {import('./client.js').Client} client that has nodes of this clock */
  add(client) {
    this.#clients.add(new WeakRef(client));
  }

  /**
   * Moves on. Resolves when all that are affected know it: what is over is over, and whoever waits
   * for its loss has been told.
   *
   * @param {number} ms
   */
  async advance(ms) {
    this.#ahead += ms;
    calls.advance(this.number, this.#ahead);
    const told = [];
    for (const reference of this.#clients) {
      const client = reference.deref();
      if (client === undefined || client.isClosed) this.#clients.delete(reference);
      else told.push(client.catchUp());
    }
    const keepAlive = setInterval(() => {}, LONG);
    await Promise.all(told);
    clearInterval(keepAlive);
  }
}

/** @returns {Clock | undefined} */
function clockOf(name) {
  return clocks.get(name);
}

module.exports = { Clock, clockOf };

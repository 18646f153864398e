'use strict';

const { randomUUID } = require('node:crypto');
const { clearInterval, setInterval } = require('node:timers');

const native = require('./addon.js');
const calls = require('./calls.js');
const { MAX_INT } = require('./fields.js');

/**
 * The clocks of nodes for tests, by the names of the nodes.
 * @type {Map<string, Clock>}
 */
const clocks = new Map();

/** A clock that can be moved on, and nodes in memory that know no other. */
class Clock {
  /** Milliseconds that it is ahead of the engine's. */
  ahead = 0;
  #clients = new Set();

  constructor() {
    this.number = native.newClock();
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
    this.ahead += ms;
    calls.advance(this.number, this.ahead);
    const told = [];
    for (const reference of this.#clients) {
      const client = reference.deref();
      if (client === undefined || client.isClosed) this.#clients.delete(reference);
      else told.push(client.catchUp());
    }
    const keepAlive = setInterval(() => {}, MAX_INT);
    await Promise.all(told);
    clearInterval(keepAlive);
  }
}

/** @returns {Clock | undefined} */
function clockOf(name) {
  return clocks.get(name);
}

module.exports = { Clock, clockOf };

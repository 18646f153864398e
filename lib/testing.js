'use strict';

const { Clock } = require('./clocks.js');
const { typeError } = require('./errors.js');
const { MAX_INT, integer } = require('./fields.js');

const MAX_NODES = 64;

const readCount = integer(1, MAX_NODES);
const readMilliseconds = integer(0, MAX_INT);

/** The key to the constructor: only newClock() has it. */
const PRIVATE = Symbol('newClock');

class TestClock {
  #clock;

  constructor(key) {
    if (key !== PRIVATE) throw typeError('A TestClock is made by newClock()');
    this.#clock = new Clock();
  }

  nodes(count = 3) {
    return Array.from({ length: readCount('count', count) }, () => this.#clock.newNode());
  }

  async advance(ms) {
    await this.#clock.advance(readMilliseconds('ms', ms));
  }
}

function newClock() {
  return new TestClock(PRIVATE);
}

module.exports = { newClock };

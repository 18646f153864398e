'use strict';

const asyncDispose = Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose');

/** One successful acquisition; acts on its own hold only. */
class Lock {
  #mutex;
  #hold;

  constructor(mutex, hold) {
    this.#mutex = mutex;
    this.#hold = hold;
  }

  get mutex() {
    return this.#mutex;
  }

  get value() {
    return this.#hold.value;
  }

  get until() {
    return this.#hold.until;
  }

  get remaining() {
    return this.#hold.remaining;
  }

  get signal() {
    return this.#hold.signal;
  }

  extend(options) {
    return this.#hold.extend(options);
  }

  unlock(options) {
    return this.#hold.unlock(options);
  }

  letExpire() {
    this.#hold.letExpire();
  }

  async [asyncDispose]() {
    if (!this.#hold.isToBeReleased) return;
    try {
      await this.#hold.unlock();
    } catch {
      // What could not be released expires; `await using` must not replace the block's own error.
    }
  }
}

module.exports = { Lock, asyncDispose };

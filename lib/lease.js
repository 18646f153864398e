'use strict';

const calls = require('./calls.js');
const { ClosedError, LockLostError } = require('./errors.js');

/** By the numbers of src/binding/outbox.rs. */
const WHY = [
  'it has expired',
  'another holder has taken it',
  'it was deleted',
  'it was held for as long as maxHold allows',
  'the event loop did not turn for as long as maxStall allows',
  'the Redsync was closed',
];

const CLOSED = 5;

/** A hold that the engine keeps alive, or watches, so that its loss is told. */
class Lease {
  #number;
  #name;
  #controller;
  #error;

  /**
   * @param {number} number of the call that began it
   * @param {string} name
   */
  constructor(number, name) {
    this.#number = number;
    this.#name = name;
    calls.leases.set(number, this);
  }

  /** Aborts when the lock is lost. */
  get signal() {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#error !== undefined) this.#controller.abort(this.#error);
    }
    return this.#controller.signal;
  }

  get isLost() {
    return this.#error !== undefined;
  }

  /** When the lock is over, on the engine's clock; 0 when the engine no longer looks after it. */
  get until() {
    return calls.until(this.#number);
  }

  /** Called with the engine's reason; never after `end`. */
  lost(why) {
    const options = why === CLOSED ? { cause: new ClosedError() } : undefined;
    this.#error = new LockLostError(`lock ${JSON.stringify(this.#name)} is lost: ${WHY[why]}`, options);
    this.#controller?.abort(this.#error);
  }

  /** The lock is being released: nothing more is told. */
  end() {
    calls.leases.delete(this.#number);
  }
}

module.exports = { Lease, CLOSED };

'use strict';

const calls = require('./calls.js');
const { ClosedError, LockLostError } = require('./errors.js');

/** By the numbers of src/binding/outbox.rs. */
const REASONS = [
  'it has expired',
  'another holder has taken it',
  'it was deleted',
  'it was held for as long as maxHold allows',
  'the event loop did not turn for as long as maxStall allows',
  'the Redsync was closed',
];

const WHY = Object.freeze({ EXPIRED: 0, CLOSED: 5 });

/** A hold that the engine keeps alive, or watches, so that its loss is told. */
class Lease {
  #number;
  #name;
  #controller;
  #error;
  #until; // as it was when the lock was lost

  /**
   * @param {number | undefined} number of the call that began it; none if the engine knows nothing
   *   of it
   * @param {string} name
   */
  constructor(number, name) {
    this.#number = number;
    this.#name = name;
    if (number === undefined) this.#until = 0;
    else calls.beginLease(number, this);
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
    return this.#until ?? calls.until(this.#number);
  }

  /** Called with the engine's reason; never after `end`. */
  lost(why, until) {
    this.#until = until;
    const message = `lock ${JSON.stringify(this.#name)} is lost: ${REASONS[why]}`;
    const options = why === WHY.CLOSED ? { cause: new ClosedError() } : undefined;
    this.#error = new LockLostError(message, options);
    this.#controller?.abort(this.#error);
  }

  /** The lock is being released: nothing more is told. */
  end() {
    calls.endLease(this.#number);
  }
}

module.exports = { Lease, WHY };

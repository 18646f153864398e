'use strict';

const calls = require('./calls.js');
const { ClosedError, LockLostError } = require('./errors.js');
const { LOST } = require('./events.js');

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
  #target;
  #value;
  #firstUntil;
  #isOver = false;
  #controller;
  #error;
  #until; // as it was when the lock was lost

  /**
   * @param {number | undefined} number of the call that began it; none if the engine knows nothing
   *   of it
   * @param {import('./target.js').Target} target
   * @param {string} value
   * @param {number} [until] as it was when the lock was acquired, on the engine's clock
   */
  constructor(number, target, value, until) {
    this.#number = number;
    this.#target = target;
    this.#value = value;
    this.#firstUntil = until;
    if (number === undefined) {
      this.#until = 0;
      this.#isOver = true;
      return;
    }
    calls.beginLease(number, this);
    target.client.stats.hold();
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
    this.#number = undefined; // it is somebody else's by now
    const { names, client } = this.#target;
    const message = `lock ${JSON.stringify(names[0])} is lost: ${REASONS[why]}`;
    const options = why === WHY.CLOSED ? { cause: new ClosedError() } : undefined;
    this.#error = new LockLostError(message, options);
    client.stats.lose();
    this.#letGo();
    if (LOST.hasSubscribers) {
      const acquired = this.#firstUntil - this.#target.validity;
      const duration = client.now() - acquired;
      LOST.publish({ name: names[0], names, duration, error: this.#error });
    }
    this.#controller?.abort(this.#error);
  }

  /** The lock is being released: nothing more is told. */
  end() {
    if (this.#number === undefined) return;
    this.#until = this.until;
    calls.endLease(this.#number, this);
    this.#letGo();
  }

  /** After `end`: the engine has ended it, too. A lease that was not ended is left to its loss. */
  forget() {
    if (this.#number === undefined || !this.#isOver) return;
    calls.forgetLease(this.#number);
    this.#number = undefined;
  }

  /** It can be reached no more: if the lock is still kept alive, it is left to expire. */
  drop() {
    // The engine looks after it no more: its loss may be on its way, or it was released by its value
    // through another Mutex.
    if (this.until === 0) calls.drain();
    if (this.isLost) return;
    if (this.until === 0) {
      this.end();
      this.forget();
      return;
    }
    this.#target.letExpire(this.#value);
    const name = JSON.stringify(this.#target.names[0]);
    process.emitWarning(`lock ${name} was dropped without unlock(): it is left to expire`, {
      code: 'REDSYNC_LOCK_DROPPED',
    });
  }

  #letGo() {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#target.client.stats.letGo();
  }
}

module.exports = { Lease, WHY };

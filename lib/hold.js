'use strict';

const { OPERATION, OUTCOME, now } = require('./calls.js');
const { ExtendError } = require('./errors.js');
const { readCallOptions } = require('./options.js');

/** One acquisition: what a Lock acts on for ever, and its Mutex until the next one. */
class Hold {
  #target;
  #isOver = false; // unlock() was called: nothing extends it any more
  #until; // on the engine's clock
  #date; // the same by the wall clock, once somebody has asked

  /**
   * @param {import('./target.js').Target} target
   * @param {string} value
   * @param {number} [until] on the engine's clock
   */
  constructor(target, value, until) {
    this.#target = target;
    this.#until = until;
    this.value = value;
  }

  get isOver() {
    return this.#isOver;
  }

  get remaining() {
    return this.#until === undefined ? 0 : Math.max(0, this.#until - now());
  }

  get until() {
    if (this.#until === undefined) return undefined;
    this.#date ??= Date.now() + this.#until - now();
    return new Date(this.#date);
  }

  async unlock(options) {
    const { signal } = readCallOptions(options);
    signal?.throwIfAborted();
    const unlocking = this.#target.perform(OPERATION.UNLOCK, this.value, signal);
    this.#isOver = true;
    const outcome = await unlocking;
    if (outcome.kind === OUTCOME.DONE) return true;
    throw this.#target.failure(OPERATION.UNLOCK, outcome);
  }

  async extend(options) {
    const { signal } = readCallOptions(options);
    signal?.throwIfAborted();
    // To set the key again (setNXOnExtend) behind an unlock would leave it there for nobody.
    if (this.#isOver) {
      throw new ExtendError(`lock "${this.#target.names[0]}": already unlocked`, [], 0);
    }
    const outcome = await this.#target.perform(OPERATION.EXTEND, this.value, signal);
    if (outcome.kind !== OUTCOME.HELD) throw this.#target.failure(OPERATION.EXTEND, outcome);
    this.#until = outcome.number;
    this.#date = undefined;
    return true;
  }
}

module.exports = { Hold };

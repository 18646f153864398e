'use strict';

const { OPERATION, OUTCOME, now } = require('./calls.js');
const { ExtendError } = require('./errors.js');
const { CLOSED, Lease } = require('./lease.js');
const { readCallOptions } = require('./options.js');

/**
 * A lock that is kept alive for nobody: neither its Lock nor its Mutex can be reached any more. It is
 * not released, for whoever lost the handle may still be at work; it expires.
 */
const dropped = new FinalizationRegistry(({ target, value, lease }) => {
  if (lease.isLost) return;
  lease.end();
  target.endLease(value);
  const name = JSON.stringify(target.names[0]);
  process.emitWarning(`lock ${name} was dropped without unlock(): it is left to expire`, {
    code: 'REDSYNC_LOCK_DROPPED',
  });
});

/** One acquisition: what a Lock acts on for ever, and its Mutex until the next one. */
class Hold {
  #target;
  #until; // on the engine's clock, as far as it was told
  #date; // the same by the wall clock, once somebody has asked
  #lease; // if the engine keeps the lock alive, or watches it
  #isOver = false; // unlock() was called: nothing extends it any more

  /**
   * @param {import('./target.js').Target} target
   * @param {string} value
   * @param {number} [until] on the engine's clock
   * @param {Lease} [lease]
   */
  constructor(target, value, until, lease) {
    this.#target = target;
    this.#until = until;
    this.#lease = lease;
    this.value = value;
    if (lease !== undefined) dropped.register(this, { target, value, lease }, this);
  }

  get isOver() {
    return this.#isOver;
  }

  get remaining() {
    if (this.#isOver || this.#lease?.isLost) return 0;
    return Math.max(0, (this.#latestUntil() ?? 0) - now());
  }

  get until() {
    if (this.#latestUntil() === undefined) return undefined;
    this.#date ??= Date.now() + this.#until - now();
    return new Date(this.#date);
  }

  get signal() {
    if (this.#lease === undefined) {
      this.#lease = new Lease(this.#target.watch(this.value, this.#until), this.#target.names[0]);
      if (this.#target.client.isClosed) this.#lease.lost(CLOSED);
      if (this.#isOver) this.#lease.end();
    }
    return this.#lease.signal;
  }

  async unlock(options) {
    const { signal } = readCallOptions(options);
    signal?.throwIfAborted();
    const unlocking = this.#target.perform(OPERATION.UNLOCK, this.value, signal);
    if (!this.#isOver) this.#endLease();
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
    this.#extendTo(outcome.number);
    return true;
  }

  #endLease() {
    this.#latestUntil();
    this.#lease?.end();
    dropped.unregister(this);
  }

  /** With a lease the engine knows better, as long as it looks after the lock. */
  #latestUntil() {
    const until = this.#lease?.until ?? 0;
    if (until > 0) this.#extendTo(until);
    return this.#until;
  }

  #extendTo(until) {
    if (this.#until !== undefined && until <= this.#until) return;
    this.#until = until;
    this.#date = undefined;
  }
}

module.exports = { Hold };

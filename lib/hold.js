'use strict';

const { OPERATION, OUTCOME } = require('./calls.js');
const { ExtendError } = require('./errors.js');
const { EXTEND, UNLOCK } = require('./events.js');
const { Lease, WHY } = require('./lease.js');
const { readCallOptions } = require('./options.js');
const { throwIfAborted } = require('./signals.js');

/**
 * A lock that is kept alive for nobody: neither its Lock nor its Mutex can be reached any more. It is
 * not released, for whoever lost the handle may still be at work; it expires.
 */
const dropped = new FinalizationRegistry((lease) => lease.drop());

/** One acquisition: what a Lock acts on for ever, and its Mutex until the next one. */
class Hold {
  #target;
  #firstUntil; // as it was when it was acquired
  #until; // on the engine's clock, as far as it was told
  #date; // the same by the wall clock, once somebody has asked
  #lease; // if the engine keeps the lock alive, or watches it
  #isOver = false; // unlock() was called: nothing extends it any more
  #isLeft = false; // letExpire() was called: it is not for a block's end to release it

  /**
   * @param {import('./target.js').Target} target
   * @param {string} value
   * @param {number} [until] on the engine's clock
   * @param {Lease} [lease]
   */
  constructor(target, value, until, lease) {
    this.#target = target;
    this.#firstUntil = until;
    this.#until = until;
    this.#lease = lease;
    this.value = value;
    if (lease !== undefined) dropped.register(this, lease, this);
  }

  /** Is it for the end of a block to release? */
  get isToBeReleased() {
    return !this.#isOver && !this.#isLeft;
  }

  get remaining() {
    if (this.#isOver || this.#lease?.isLost) return 0;
    return Math.max(0, (this.#latestUntil() ?? 0) - this.#target.client.now());
  }

  get until() {
    if (this.#latestUntil() === undefined) return undefined;
    this.#date ??= Date.now() + this.#until - this.#target.client.now();
    return new Date(this.#date);
  }

  get signal() {
    this.#lease ??= this.#watch();
    return this.#lease.signal;
  }

  #watch() {
    const { client } = this.#target;
    if (!this.#isOver && !client.isClosed && this.remaining > 0) {
      const number = this.#target.watch(this.value, this.#until);
      return new Lease(number, this.#target, this.value, this.#firstUntil);
    }
    const lease = new Lease(undefined, this.#target, this.value, this.#firstUntil);
    if (!this.#isOver) lease.lost(client.isClosed ? WHY.CLOSED : WHY.EXPIRED, 0);
    return lease;
  }

  async unlock(options) {
    const { signal } = readCallOptions(options);
    throwIfAborted(signal);
    const began = this.#target.begin(UNLOCK);
    let outcome;
    try {
      const unlocking = this.#target.perform(OPERATION.UNLOCK, this.value, signal);
      if (!this.#isOver) this.#endLease();
      this.#isOver = true;
      outcome = await unlocking;
      if (outcome.kind !== OUTCOME.DONE) throw this.#target.failure(OPERATION.UNLOCK, outcome);
    } catch (error) {
      this.#target.end(UNLOCK, began, outcome, error);
      throw error;
    }
    this.#target.end(UNLOCK, began, outcome);
    return true;
  }

  /** Nothing extends it any more, unless extend() is called. */
  letExpire() {
    if (this.#isOver) return;
    this.#isLeft = true;
    dropped.unregister(this); // that it is left to expire is no news then
    this.#target.letExpire(this.value);
  }

  async extend(options) {
    const { signal } = readCallOptions(options);
    throwIfAborted(signal);
    const began = this.#target.begin(EXTEND);
    let outcome;
    try {
      this.#requireHeld();
      const operation = this.#isToAdopt ? OPERATION.ADOPT : OPERATION.EXTEND;
      outcome = await this.#target.perform(operation, this.value, signal);
      this.#readExtension(outcome);
    } catch (error) {
      this.#target.end(EXTEND, began, outcome, error);
      throw error;
    }
    this.#target.end(EXTEND, began, outcome);
    return true;
  }

  #requireHeld() {
    // To set the key again (setNXOnExtend) behind an unlock would leave it there for nobody.
    if (this.#isOver) throw this.#notExtended('unlock() was called');
    if (this.value === '') throw this.#notExtended('was never locked');
    // Whoever listens to its signal has been told, and may have left.
    if (this.#lease?.isLost && !this.#target.client.isClosed) throw this.#notExtended('was lost');
  }

  #readExtension(outcome) {
    if (outcome.kind !== OUTCOME.HELD) {
      this.#forgetRecreated();
      throw this.#target.failure(OPERATION.EXTEND, outcome);
    }
    if (outcome.lease !== undefined) this.#adopt(outcome.lease);
    const until = Math.max(outcome.number, this.#lease?.until ?? 0);
    if (until <= this.#target.client.now() || this.#lease?.isLost) throw this.#extendedTooLate();
    this.#extendTo(until);
  }

  /** Was it acquired elsewhere? The first extension tells whether it is held. */
  get #isAdopted() {
    return this.#firstUntil === undefined;
  }

  get #isToAdopt() {
    const isToBeKept = this.#target.settings.extension !== undefined;
    return isToBeKept && this.#isAdopted && this.#lease === undefined;
  }

  #adopt(lease) {
    // Released meanwhile, or extended by two calls at once.
    if (this.#isOver || this.#lease !== undefined) return lease.leave();
    this.#lease = lease;
    dropped.register(this, lease, this);
  }

  #extendedTooLate() {
    const what = 'extended, but over before it could be told: the event loop was blocked';
    // Whoever has the value of an adopted lock, too, may well have been told.
    if (this.#isAdopted) return this.#notExtended(what);
    this.#target.release(this.value);
    return this.#notExtended(`${what}. It is released`);
  }

  #notExtended(why) {
    return new ExtendError(`lock ${JSON.stringify(this.#target.names[0])}: ${why}`, [], 0);
  }

  /** A lock that is over, and that some nodes may store again all the same, is nobody's. */
  #forgetRecreated() {
    const isOver = this.#until !== undefined && this.remaining === 0;
    if (isOver && this.#target.settings.setNXOnExtend) this.#target.release(this.value);
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

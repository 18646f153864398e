'use strict';

const { beginningOf } = require('./auto-extend.js');
const calls = require('./calls.js');
const { ExtendError, LockExpiredError, ModeError } = require('./errors.js');
const { EXTEND, UNLOCK } = require('./events.js');
const { forgive, lookAfter } = require('./forgotten.js');
const { refuseMethods } = require('./guesses.js');
const { Lease, WHY } = require('./lease.js');
const { readCallOptions } = require('./options.js');
const { showAs } = require('./shown.js');
const { throwIfAborted } = require('./signals.js');
const { tokenOf } = require('./token.js');

const { OPERATION, OUTCOME } = calls;

const asyncDispose = Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose');

/**
 * A lock that is kept alive for nobody: neither the Lock nor its Mutex can be reached any more. It is
 * not released, for whoever lost the handle may still be at work; it expires.
 */
const dropped = new FinalizationRegistry((lease) => lease.drop());

const NEVER_LOCKED = 'was never locked by this Mutex';

/**
 * Asks the nodes whether a lock is still there.
 *
 * @type {(lock: Lock, options: import('..').CallOptions) => Promise<boolean>}
 */
let isValid;

/**
 * What a lock holds, as long as it is not released, lost or left to expire.
 *
 * @type {(lock: Lock) => import('./resource.js').Resource | undefined}
 */
let heldResource;

/**
 * What is shown of a lock. The value is not, for whoever has it can release the lock.
 *
 * @type {(lock: object) => { names: readonly string[], remaining: number, held: boolean | undefined } | undefined}
 */
let describe;

/** One acquisition. A Mutex acts on its latest; one that has never locked, on that of its `value`. */
class Lock {
  #mutex;
  #resource;
  #value;
  #firstUntil; // as it was when it was acquired; none if that was elsewhere
  #until; // on the engine's clock, as far as it was told
  #date; // the same by the wall clock, once somebody has asked
  #lease; // if the engine keeps the lock alive, or watches it
  #isOver = false; // unlock() was called: nothing extends it any more
  #isReleased = false; // unlock() has succeeded
  #isGivenUp = false; // it was over, and what an extension had stored is released, on some nodes perhaps later
  #isLeft = false; // letExpire() was called: it is not for a block's end to release it
  #isLookedAfter = false; // should it be forgotten: see lib/forgotten.js

  /** @type {import('./resource.js').TrackedCall} */
  static #unlocking = {
    event: UNLOCK,
    ask(lock, signal) {
      lock.#requireNotAtRest();
      const unlocking = lock.#resource.unlock(lock.#value, lock.#restsUntil, signal);
      lock.#end();
      return unlocking;
    },
    read(lock, outcome) {
      if (outcome.kind === OUTCOME.DONE) return (lock.#isReleased = true);
      throw lock.#resource.failure(OPERATION.UNLOCK, outcome, lock.#whyNothingIsHeld());
    },
    heldSince: (lock) => lock.#heldSince,
  };

  /** @type {import('./resource.js').TrackedCall} */
  static #extending = {
    event: EXTEND,
    ask(lock, signal) {
      lock.#requireHeld();
      return lock.#extend(signal);
    },
    read: (lock, outcome) => lock.#readExtension(outcome),
  };

  /** A node turns the value of a writer that a reader extends into that reader. */
  static #downgrading = {
    ...Lock.#extending,
    ask(lock, signal) {
      lock.#requireMode('downgrade()');
      lock.#requireHeld();
      // Already now: once a node has turned it, what a writer asks there is no longer granted.
      if (lock.mode === 'write') lock.#resource = lock.#resource.forReader();
      return lock.#extend(signal);
    },
  };

  static {
    heldResource = (lock) => (lock.#isLeft || lock.remaining === 0 ? undefined : lock.#resource);

    describe = (lock) => {
      if (!(#resource in lock)) return undefined;
      const { remaining } = lock;
      return { names: lock.#resource.names, remaining: Math.ceil(remaining), held: lock.#isHeld };
    };

    isValid = async (lock, options) => {
      const { signal } = readCallOptions(options);
      throwIfAborted(signal);
      if (lock.#isReleased) return false; // though the nodes may still store it
      const outcome = await lock.#resource.perform(OPERATION.VALID, lock.#value, signal);
      if (outcome.kind === OUTCOME.DONE) return outcome.number === 1;
      throw lock.#resource.failure(OPERATION.VALID, outcome);
    };
  }

  /**
   * @param {import('./mutex.js').Mutex} mutex
   * @param {import('./resource.js').Resource} resource
   * @param {string} value '' if nothing is locked
   * @param {number} [until] on the engine's clock
   * @param {Lease} [lease]
   */
  constructor(mutex, resource, value, until, lease) {
    this.#mutex = mutex;
    this.#resource = resource;
    this.#value = value;
    this.#firstUntil = until;
    this.#until = until;
    if (lease !== undefined) this.#take(lease);
    else if (until !== undefined) {
      resource.client.holds.add(until);
      this.#isLookedAfter = lookAfter(this, resource);
    }
  }

  get mutex() {
    return this.#mutex;
  }

  get value() {
    this.#forgive(); // whoever gets it may release the lock
    return this.#value;
  }

  get token() {
    return this.#resource.settings.fencing ? tokenOf(this.#value) : undefined;
  }

  get mode() {
    return this.#resource.settings.mode;
  }

  get until() {
    if (this.#latestUntil() === undefined) return undefined;
    this.#date ??= Date.now() + this.#until - this.#now();
    return new Date(this.#date);
  }

  get remaining() {
    if (this.#isOver || this.#lease?.isLost) return 0;
    return Math.max(0, (this.#latestUntil() ?? 0) - this.#now());
  }

  get signal() {
    if (this.#lease === undefined) {
      const lease = this.#watch();
      this.#countNoMore(); // the lease does: never neither
      this.#lease = lease;
    }
    return this.#lease.signal;
  }

  unlock(options) {
    return this.#resource.call(Lock.#unlocking, this, options);
  }

  extend(options) {
    return this.#resource.call(Lock.#extending, this, options);
  }

  async downgrade(options) {
    await this.#resource.call(Lock.#downgrading, this, options);
    return this;
  }

  async upgrade() {
    this.#requireMode('upgrade()');
    throw this.#modeError(
      'upgrade() does not exist: two readers who both wanted it would wait for each other for ever. ' +
        'Release it, and lock in mode "write"',
    );
  }

  /** Nothing extends it any more, unless extend() is called. */
  letExpire() {
    if (this.#isOver) return;
    this.#isLeft = true;
    this.#forgive();
    dropped.unregister(this); // that it is left to expire is no news then
    this.#resource.letExpire(this.#value);
  }

  async [asyncDispose]() {
    if (this.#isOver || this.#isLeft) return;
    try {
      await this.unlock();
    } catch {
      // What could not be released expires; `await using` must not replace the block's own error.
    }
  }

  /** As far as is known: of a lock that was acquired elsewhere nothing is, before it is extended. */
  get #isHeld() {
    const isUnknown = this.#value !== '' && !this.#isOver && this.until === undefined;
    return isUnknown ? undefined : this.remaining > 0;
  }

  #now() {
    return this.#resource.client.now();
  }

  #take(lease) {
    this.#lease = lease;
    dropped.register(this, lease, this);
  }

  /**
   * Since when this process has held it, on the clock of the locks. None if it was acquired elsewhere, or is held
   * no more: its time is told once.
   */
  get #heldSince() {
    if (this.#isAdopted || this.#isOver || this.#lease?.isLost) return undefined;
    return beginningOf(this.#firstUntil, this.#resource.settings);
  }

  /** Does it count among what its client holds? With a lease, that counts. */
  get #counts() {
    return this.#lease === undefined && !this.#isOver;
  }

  #countNoMore() {
    if (this.#counts && this.#until !== undefined) {
      this.#resource.client.holds.remove(this.#until);
    }
  }

  #watch() {
    const { client } = this.#resource;
    if (!this.#isOver && !client.isClosed && this.remaining > 0) {
      const number = calls.watch(client.number, this.#resource, this.#value, this.#until);
      return new Lease(number, this.#resource, this.#value, this.#firstUntil);
    }
    const lease = new Lease(undefined, this.#resource, this.#value, this.#firstUntil);
    if (!this.#isOver) lease.lost(client.isClosed ? WHY.CLOSED : WHY.EXPIRED, 0);
    return lease;
  }

  /** It is being released. */
  #end() {
    if (this.#isOver) return;
    this.#countNoMore();
    this.#isOver = true;
    this.#forgive();
    if (this.#lease === undefined) return;
    this.#lease.end();
    this.#latestUntil();
    dropped.unregister(this);
  }

  #forgive() {
    if (!this.#isLookedAfter) return;
    this.#isLookedAfter = false;
    forgive(this);
  }

  #extend(signal) {
    const operation = this.#isToAdopt ? OPERATION.ADOPT : OPERATION.EXTEND;
    return this.#resource.perform(operation, this.#value, signal);
  }

  #requireMode(method) {
    if (this.mode !== undefined) return;
    throw this.#modeError(`${method} is for a lock of mode "read" or "write"`);
  }

  #modeError(why) {
    return new ModeError(`lock ${JSON.stringify(this.#resource.names[0])}: ${why}`);
  }

  #requireHeld() {
    // To set the key again (setNXOnExtend) behind an unlock would leave it there for nobody.
    if (this.#isOver) throw this.#notExtended('unlock() was called');
    if (this.#value === '') throw this.#notExtended(NEVER_LOCKED);
    if (this.#isGivenUp) throw this.#notExtended('was over, and is released');
    // Whoever listens to its signal has been told, and may have left.
    if (this.#lease?.isLost && !this.#resource.client.isClosed) throw this.#notExtended('was lost');
  }

  /** Until when it keeps others off though it is released, on the engine's clock; 0 for no longer. */
  get #restsUntil() {
    const { settings } = this.#resource;
    if (settings.holdAtLeast === 0 || this.#isAdopted) return 0;
    return beginningOf(this.#firstUntil, settings) + settings.holdAtLeast;
  }

  /** The nodes would say again that they have released it. */
  #requireNotAtRest() {
    if (!this.#isReleased || this.#restsUntil <= this.#now()) return;
    const name = JSON.stringify(this.#resource.names[0]);
    throw new LockExpiredError(`lock ${name}: ${this.#whyNothingIsHeld()}`, [], 1);
  }

  /** What only this handle knows. */
  #whyNothingIsHeld() {
    if (this.#value === '') return NEVER_LOCKED;
    return this.#isReleased ? 'was released already, by this handle' : undefined;
  }

  /** Was it acquired elsewhere? The first extension tells whether it is held. */
  get #isAdopted() {
    return this.#firstUntil === undefined;
  }

  get #isToAdopt() {
    const isToBeKept = this.#resource.settings.extension !== undefined;
    return isToBeKept && this.#isAdopted && this.#lease === undefined;
  }

  #readExtension(outcome) {
    if (outcome.kind !== OUTCOME.HELD) {
      this.#forgetRecreated();
      throw this.#resource.failure(OPERATION.EXTEND, outcome);
    }
    if (outcome.lease !== undefined) this.#adopt(outcome.lease);
    const until = Math.max(outcome.number, this.#lease?.until ?? 0);
    const isLate = until <= this.#now() || this.#lease?.isLost;
    // Another extension may have failed meanwhile, whose release comes behind this one.
    if (isLate || this.#isGivenUp) throw this.#extendedTooLate();
    this.#extendTo(until);
    return true;
  }

  #adopt(lease) {
    // Released meanwhile, or extended by two calls at once.
    if (this.#isOver || this.#lease !== undefined) lease.leave();
    else this.#take(lease);
  }

  #extendedTooLate() {
    const what = 'extended, but over before it could be told: the event loop was blocked';
    // Whoever has the value of an adopted lock, too, may well have been told.
    if (this.#isAdopted) return this.#notExtended(what);
    this.#giveUp();
    return this.#notExtended(`${what}. It is released`);
  }

  #notExtended(why) {
    return new ExtendError(`lock ${JSON.stringify(this.#resource.names[0])}: ${why}`, [], 0);
  }

  /** A lock that is over, and that some nodes may store again all the same, is nobody's. */
  #forgetRecreated() {
    const isOver = this.#until !== undefined && this.remaining === 0;
    if (isOver && this.#resource.settings.setNXOnExtend) this.#giveUp();
  }

  #giveUp() {
    this.#isGivenUp = true;
    this.#resource.release(this.#value, this.#restsUntil);
  }

  /** With a lease the engine knows better, as long as it looks after the lock. */
  #latestUntil() {
    const until = this.#lease?.until ?? 0;
    if (until > 0) this.#extendTo(until);
    return this.#until;
  }

  #extendTo(until) {
    if (this.#until !== undefined && until <= this.#until) return;
    if (this.#counts) this.#resource.client.holds.add(until);
    this.#countNoMore();
    this.#until = until;
    this.#date = undefined;
  }
}

refuseMethods(Lock, {
  release: 'lock.unlock()',
});

showAs(Lock, describe);

module.exports = { Lock, asyncDispose, describe, heldResource, isValid };

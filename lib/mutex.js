'use strict';

const { OPERATION, OUTCOME } = require('./calls.js');
const { typeError } = require('./errors.js');
const { LOCK } = require('./events.js');
const { refuseMethods } = require('./guesses.js');
const { requireNoDeadlock, sharedHold } = require('./using.js');
const { Lock, describe, isValid } = require('./lock.js');
const { Resource } = require('./resource.js');
const { showAs } = require('./shown.js');

/** The key to the constructor: only newMutex() has it. */
const PRIVATE = Symbol('newMutex');

/**
 * Extends the lock whose value the mutex was made with.
 *
 * @type {(mutex: Mutex, options: import('..').CallOptions) => Promise<Lock>}
 */
let adopt;

/**
 * As its lock(), with a signal that was read.
 *
 * @type {(mutex: Mutex, signal?: AbortSignal) => Promise<Lock>}
 */
let acquire;

/**
 * The hold of this call chain that a reentrant mutex shares.
 *
 * @type {(mutex: Mutex) => import('./using.js').Hold | undefined}
 */
let holdToShare;

/** @type {(mutex: object) => object | undefined} what is shown of a mutex */
let describeMutex;

/** A name, or several, that one holder at a time can lock. */
class Mutex {
  #resource;
  #lock; // the latest, once there is one

  static #locking = Mutex.#acquisition(OPERATION.LOCK);
  static #tryLocking = Mutex.#acquisition(OPERATION.TRY_LOCK);

  /** @returns {import('./resource.js').TrackedCall} */
  static #acquisition(operation) {
    return {
      event: LOCK,
      ask(mutex, signal) {
        if (operation === OPERATION.LOCK) requireNoDeadlock(mutex.#resource);
        return mutex.#resource.perform(operation, '', signal);
      },
      read(mutex, outcome) {
        if (outcome.isHeld) return mutex.#hold(outcome);
        if (operation === OPERATION.TRY_LOCK && outcome.kind === OUTCOME.TAKEN) return null;
        throw mutex.#resource.failure(operation, outcome);
      },
    };
  }

  static {
    describeMutex = (mutex) => (#lock in mutex ? describe(mutex.#latest) : undefined);

    holdToShare = (mutex) => sharedHold(mutex.#resource);

    acquire = (mutex, signal) => mutex.#resource.track(Mutex.#locking, mutex, signal);

    adopt = async (mutex, options) => {
      const lock = mutex.#latest;
      await lock.extend(options);
      return lock;
    };
  }

  constructor(key, client, names, settings) {
    if (key !== PRIVATE) throw typeError('A Mutex is made by redsync.newMutex()');
    this.#resource = new Resource(client, names, settings);
  }

  get name() {
    return this.#resource.names[0];
  }

  get names() {
    return this.#resource.names;
  }

  get permits() {
    return this.#resource.settings.permits;
  }

  get mode() {
    return this.#resource.settings.mode;
  }

  get value() {
    return this.#latest.value;
  }

  get token() {
    return this.#latest.token;
  }

  get until() {
    return this.#latest.until;
  }

  lock(options) {
    return this.#resource.call(Mutex.#locking, this, options);
  }

  tryLock(options) {
    return this.#resource.call(Mutex.#tryLocking, this, options);
  }

  unlock(options) {
    return this.#latest.unlock(options);
  }

  extend(options) {
    return this.#latest.extend(options);
  }

  valid(options) {
    return isValid(this.#latest, options);
  }

  /** The latest lock; before the first, that of the option `value`. */
  get #latest() {
    this.#lock ??= new Lock(this, this.#resource, this.#resource.settings.value ?? '');
    return this.#lock;
  }

  #hold({ text: value, number: until, lease }) {
    this.#lock = new Lock(this, this.#resource, value, until, lease);
    return this.#lock;
  }
}

refuseMethods(Mutex, {
  acquire: 'mutex.lock()',
  tryAcquire: 'mutex.tryLock()',
  release: 'mutex.unlock()',
});

showAs(Mutex, describeMutex);

module.exports = { Mutex, PRIVATE, acquire, adopt, holdToShare };

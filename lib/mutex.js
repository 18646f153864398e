'use strict';

const { OPERATION, OUTCOME } = require('./calls.js');
const { typeError } = require('./errors.js');
const { LOCK } = require('./events.js');
const { Lock } = require('./lock.js');
const { readCallOptions } = require('./options.js');
const { throwIfAborted } = require('./signals.js');
const { Resource } = require('./resource.js');

/** The key to the constructor: only newMutex() has it. */
const PRIVATE = Symbol('newMutex');

/**
 * Extends the lock whose value the mutex was made with.
 *
 * @type {(mutex: Mutex, options: import('..').CallOptions) => Promise<Lock>}
 */
let adopt;

/** A name, or several, that one holder at a time can lock. */
class Mutex {
  #resource;
  #lock; // the latest

  static {
    adopt = async (mutex, options) => {
      const lock = mutex.#lock;
      await lock.extend(options);
      return lock;
    };
  }

  constructor(key, client, names, settings) {
    if (key !== PRIVATE) throw typeError('A Mutex is made by redsync.newMutex()');
    this.#resource = new Resource(client, names, settings);
    this.#lock = new Lock(this, this.#resource, settings.value ?? '');
  }

  get name() {
    return this.#resource.names[0];
  }

  get names() {
    return this.#resource.names;
  }

  get value() {
    return this.#lock.value;
  }

  get until() {
    return this.#lock.until;
  }

  lock(options) {
    return this.#acquire(OPERATION.LOCK, options);
  }

  tryLock(options) {
    return this.#acquire(OPERATION.TRY_LOCK, options);
  }

  unlock(options) {
    return this.#lock.unlock(options);
  }

  extend(options) {
    return this.#lock.extend(options);
  }

  async valid(options) {
    const { signal } = readCallOptions(options);
    throwIfAborted(signal);
    const outcome = await this.#resource.perform(OPERATION.VALID, this.value, signal);
    if (outcome.kind === OUTCOME.DONE) return outcome.number === 1;
    throw this.#resource.failure(OPERATION.VALID, outcome);
  }

  #acquire(operation, options) {
    const acquire = (signal) => this.#resource.perform(operation, '', signal);
    return this.#resource.track(LOCK, options, acquire, (outcome) => {
      if (outcome.isHeld) return this.#hold(outcome);
      if (operation === OPERATION.TRY_LOCK && outcome.kind === OUTCOME.TAKEN) return null;
      throw this.#resource.failure(operation, outcome);
    });
  }

  #hold({ text: value, number: until, lease }) {
    this.#lock = new Lock(this, this.#resource, value, until, lease);
    return this.#lock;
  }
}

module.exports = { Mutex, PRIVATE, adopt };

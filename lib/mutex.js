'use strict';

const { OPERATION, OUTCOME } = require('./calls.js');
const { typeError } = require('./errors.js');
const { LOCK } = require('./events.js');
const { Hold } = require('./hold.js');
const { Lock } = require('./lock.js');
const { readCallOptions } = require('./options.js');
const { throwIfAborted } = require('./signals.js');
const { Target } = require('./target.js');

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
  #target;
  #hold;

  static {
    adopt = async (mutex, options) => {
      await mutex.#hold.extend(options);
      return new Lock(mutex, mutex.#hold);
    };
  }

  constructor(key, client, names, keyPrefix, settings) {
    if (key !== PRIVATE) throw typeError('A Mutex is made by redsync.newMutex()');
    this.#target = new Target(client, names, keyPrefix, settings);
    this.#hold = new Hold(this.#target, settings.value ?? '');
  }

  get name() {
    return this.#target.names[0];
  }

  get names() {
    return this.#target.names;
  }

  get value() {
    return this.#hold.value;
  }

  get until() {
    return this.#hold.until;
  }

  lock(options) {
    return this.#acquire(OPERATION.LOCK, options);
  }

  tryLock(options) {
    return this.#acquire(OPERATION.TRY_LOCK, options);
  }

  unlock(options) {
    return this.#hold.unlock(options);
  }

  extend(options) {
    return this.#hold.extend(options);
  }

  async valid(options) {
    const { signal } = readCallOptions(options);
    throwIfAborted(signal);
    const outcome = await this.#target.perform(OPERATION.VALID, this.#hold.value, signal);
    if (outcome.kind === OUTCOME.DONE) return outcome.number === 1;
    throw this.#target.failure(OPERATION.VALID, outcome);
  }

  async #acquire(operation, options) {
    const { signal } = readCallOptions(options);
    throwIfAborted(signal);
    const began = this.#target.begin(LOCK);
    let outcome;
    try {
      outcome = await this.#target.perform(operation, '', signal);
      const isAnswer = operation === OPERATION.TRY_LOCK && outcome.kind === OUTCOME.TAKEN;
      if (!outcome.isHeld && !isAnswer) throw this.#target.failure(operation, outcome);
    } catch (error) {
      this.#target.end(LOCK, began, outcome, error);
      throw error;
    }
    this.#target.end(LOCK, began, outcome);
    return outcome.isHeld ? this.#held(outcome) : null;
  }

  #held({ text: value, number: until, lease }) {
    this.#hold = new Hold(this.#target, value, until, lease);
    return new Lock(this, this.#hold);
  }
}

module.exports = { Mutex, PRIVATE, adopt };

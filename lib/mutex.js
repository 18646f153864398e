'use strict';

const { OPERATION, OUTCOME } = require('./calls.js');
const { typeError } = require('./errors.js');
const { Hold } = require('./hold.js');
const { Lock } = require('./lock.js');
const { readCallOptions } = require('./options.js');
const { throwIfAborted } = require('./signals.js');
const { Target } = require('./target.js');

/** The key to the constructor: only newMutex() has it. */
const PRIVATE = Symbol('newMutex');

/** A name, or several, that one holder at a time can lock. */
class Mutex {
  #target;
  #hold;

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

  async lock(options) {
    const { signal } = readCallOptions(options);
    throwIfAborted(signal);
    const outcome = await this.#target.perform(OPERATION.LOCK, '', signal);
    if (outcome.kind === OUTCOME.HELD) return this.#held(outcome);
    throw this.#target.failure(OPERATION.LOCK, outcome);
  }

  async tryLock(options) {
    const { signal } = readCallOptions(options);
    throwIfAborted(signal);
    const outcome = await this.#target.perform(OPERATION.TRY_LOCK, '', signal);
    if (outcome.kind === OUTCOME.HELD) return this.#held(outcome);
    if (outcome.kind === OUTCOME.TAKEN) return null;
    throw this.#target.failure(OPERATION.TRY_LOCK, outcome);
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

  #held({ text: value, number: until, lease }) {
    this.#hold = new Hold(this.#target, value, until, lease);
    return new Lock(this, this.#hold);
  }
}

module.exports = { Mutex, PRIVATE };

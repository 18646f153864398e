'use strict';

const { OPERATION, letExpire } = require('./calls.js');
const { checkNames } = require('./conflicts.js');
const { ToldCall, newTrace } = require('./events.js');
const { failure } = require('./failures.js');
const { readCallOptions } = require('./options.js');
const { throwIfAborted } = require('./signals.js');
const { requireOneSlot, requireTags } = require('./slots.js');

/**
 * What differs between lock(), unlock() and extend(). It is made once, for closures would be made anew
 * with every call.
 *
 * @typedef {object} TrackedCall
 * @property {import('./events.js').CallChannels} event
 * @property {(caller: object, signal?: AbortSignal) => Promise<import('./client.js').Outcome>} ask
 * @property {(caller: object, outcome: import('./client.js').Outcome) => unknown} read gives what the
 *   caller gets, or throws
 * @property {(caller: object) => number | undefined} [heldSince] since when the caller has held what the
 *   call ends, on the clock of the locks
 */

/** What a mutex locks: names, on the nodes of a client, by the settings of the mutex. */
class Resource {
  /**
   * @param {import('./client.js').Client} client
   * @param {readonly string[]} names
   * @param {object} settings see lib/options.js
   */
  constructor(client, names, settings) {
    const { keyPrefix, clusters } = client;
    checkNames(names, settings);
    this.client = client;
    this.names = names;
    this.keys = keyPrefix === '' ? names : names.map((name) => keyPrefix + name);
    if (clusters.length > 0) {
      requireOneSlot(names, this.keys);
      const isPrefixed = clusters.some((node) => node.isPrefixed);
      if (settings.fencing || settings.mode !== undefined) {
        requireTags(names, this.keys, isPrefixed);
      }
    }
    this.settings = settings;
  }

  /** The same for a reader: what a writer turns into. */
  forReader() {
    const settings = { ...this.settings, mode: 'read', setNXOnExtend: false };
    return new Resource(this.client, this.names, settings);
  }

  /**
   * Performs a call of lock(), unlock() or extend() with the options that its caller gave.
   *
   * @param {TrackedCall} call
   * @param {object} caller the Mutex or Lock
   * @param {unknown} options of the call
   * @returns {Promise<unknown>}
   */
  call(call, caller, options) {
    let signal;
    try {
      ({ signal } = readCallOptions(options));
    } catch (error) {
      return Promise.reject(error);
    }
    return this.track(call, caller, signal);
  }

  /**
   * Performs such a call: it is counted, and whoever listens is told how it has ended.
   *
   * @param {TrackedCall} call
   * @param {object} caller the Mutex or Lock
   * @param {AbortSignal} [signal]
   */
  track(call, caller, signal) {
    const { traced } = call.event;
    // Node.js before 20.13 does not tell whether anybody listens.
    const isTraced = traced.hasSubscribers !== false && !signal?.aborted;
    if (!isTraced) return this.#make(call, caller, signal);
    const trace = newTrace(this);
    return traced.tracePromise(() => this.#make(call, caller, signal, trace), trace);
  }

  async #make({ event, ask, read, heldSince }, caller, signal, trace) {
    throwIfAborted(signal);
    const { stats } = this.client;
    stats.begin(event);
    const isTold = trace !== undefined || event.ended.hasSubscribers;
    const told = isTold ? new ToldCall(event, this, trace, heldSince?.(caller)) : undefined;
    let outcome;
    let error;
    try {
      outcome = await ask(caller, signal);
      return read(caller, outcome);
    } catch (reason) {
      error = reason;
      throw reason;
    } finally {
      stats.end(event, outcome, error);
      told?.end(outcome, error);
    }
  }

  /** Asks the engine for an operation on the lock of this value, or of none (''). */
  perform(operation, value, signal) {
    this.client.open(operation);
    return this.client.perform(operation, this, value, signal);
  }

  /**
   * Releases a lock.
   *
   * @param {string} value
   * @param {number} until when its keys expire, on the engine's clock; 0 for at once
   * @param {AbortSignal} [signal]
   */
  unlock(value, until, signal) {
    this.client.open(OPERATION.UNLOCK);
    return this.client.perform(OPERATION.UNLOCK, this, value, signal, until);
  }

  /** Releases what nobody holds, while the client is closed, too. Nobody waits for it. */
  release(value, until = 0) {
    this.client.perform(OPERATION.UNLOCK, this, value, undefined, until);
  }

  /**
   * Lets the engine extend the lock of this value no more.
   *
   * @param {string} value
   * @param {number} [lease] that it is not to be extended for; none for whoever looks after it
   */
  letExpire(value, lease) {
    const { client } = this;
    if (!client.isClosed) letExpire(client.number, this, value, lease);
  }

  /** The typed error of an outcome that is no success; `known` as in lib/failures.js. */
  failure(operation, outcome, known) {
    return failure(operation, outcome, this.names, this.client.nodes, known);
  }
}

module.exports = { Resource };

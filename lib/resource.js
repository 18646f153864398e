'use strict';

const calls = require('./calls.js');
const { publishCall } = require('./events.js');
const { failure } = require('./failures.js');
const { readCallOptions } = require('./options.js');
const { throwIfAborted } = require('./signals.js');
const { requireOneSlot } = require('./slots.js');

/** What a mutex locks: names, on the nodes of a client, by the settings of the mutex. */
class Resource {
  /**
   * @param {import('./client.js').Client} client
   * @param {readonly string[]} names
   * @param {object} settings see lib/options.js
   */
  constructor(client, names, settings) {
    const { keyPrefix, nodes } = client;
    this.client = client;
    this.names = names;
    this.keys = keyPrefix === '' ? names : names.map((name) => keyPrefix + name);
    if (nodes.some(({ isCluster }) => isCluster)) requireOneSlot(names, this.keys);
    this.settings = settings;
  }

  /**
   * Performs a call of lock(), unlock() or extend(): it is counted, and whoever listens is told how it
   * has ended.
   *
   * @template T
   * @param {import('node:diagnostics_channel').Channel} event
   * @param {unknown} options of the call
   * @param {(signal?: AbortSignal) => Promise<import('./client.js').Outcome>} ask
   * @param {(outcome: import('./client.js').Outcome) => T} read gives what the caller gets, or throws
   * @returns {Promise<T>}
   */
  async track(event, options, ask, read) {
    const { signal } = readCallOptions(options);
    throwIfAborted(signal);
    const { stats } = this.client;
    stats.begin(event);
    const began = event.hasSubscribers ? calls.now() : undefined;
    let outcome;
    let error;
    try {
      outcome = await ask(signal);
      return read(outcome);
    } catch (reason) {
      error = reason;
      throw reason;
    } finally {
      stats.end(event, outcome, error);
      if (began !== undefined) publishCall(event, this, calls.now() - began, outcome, error);
    }
  }

  /** Asks the engine for an operation on the lock of this value, or of none (''). See Client.begin(). */
  perform(operation, value, signal) {
    this.client.open();
    return this.#begin(operation, value, signal);
  }

  /** Releases what nobody holds, while the client is closed, too. Nobody waits for it. */
  release(value) {
    this.#begin(calls.OPERATION.UNLOCK, value);
  }

  #begin(operation, value, signal) {
    const { client } = this;
    const write = (call) => calls.call(operation, client.number, this, value, call);
    return client.begin(operation, this, signal, write);
  }

  /**
   * Lets the engine extend the lock of this value no more.
   *
   * @param {string} value
   * @param {number} [lease] that it is not to be extended for; none for whoever looks after it
   */
  letExpire(value, lease) {
    const { client } = this;
    if (!client.isClosed) calls.letExpire(client.number, this, value, lease);
  }

  /** The typed error of an outcome that is no success. */
  failure(operation, outcome) {
    return failure(operation, outcome, this.names, this.client.nodes);
  }
}

module.exports = { Resource };

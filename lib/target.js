'use strict';

const { validity } = require('./auto-extend.js');
const { now } = require('./calls.js');
const { publishCall } = require('./events.js');
const { failure } = require('./failures.js');
const { requireOneSlot } = require('./slots.js');

/** What a mutex locks, on which nodes, by which rules. */
class Target {
  /**
   * @param {import('./client.js').Client} client
   * @param {readonly string[]} names
   * @param {string} keyPrefix
   * @param {object} settings see lib/options.js
   */
  constructor(client, names, keyPrefix, settings) {
    this.client = client;
    this.names = names;
    this.keys = keyPrefix === '' ? names : names.map((name) => keyPrefix + name);
    if (client.nodes.some(({ isCluster }) => isCluster)) requireOneSlot(names, this.keys);
    this.settings = settings;
  }

  /**
   * @param {number} operation
   * @param {string} value the ownership value that it is about, '' for none
   * @param {AbortSignal} [signal]
   */
  perform(operation, value, signal) {
    return this.client.perform(operation, this, value, signal);
  }

  /**
   * Lets the engine tell when the lock of this value is over.
   *
   * @param {string} value
   * @param {number} until on the engine's clock
   * @returns {number} the lease
   */
  watch(value, until) {
    return this.client.watch(this, value, until);
  }

  /** Releases what nobody holds. Nobody waits for it. */
  release(value) {
    if (!this.client.isClosed) this.client.release(this, value);
  }

  /**
   * Lets the engine extend the lock of this value no more.
   *
   * @param {string} value
   * @param {number} [lease] that it is not to be extended for; none for whoever looks after it
   */
  letExpire(value, lease) {
    this.client.letExpire(this, value, lease);
  }

  /** How long a lock is valid that is acquired or extended now, in milliseconds. */
  get validity() {
    return validity({ ...this.settings, timeoutFactor: 0 });
  }

  /**
   * A call of lock(), unlock() or extend() begins.
   *
   * @param {import('node:diagnostics_channel').Channel} event
   * @returns {number | undefined} when, if somebody wants to be told how it ends
   */
  begin(event) {
    this.client.stats.begin(event);
    return event.hasSubscribers ? now() : undefined;
  }

  /**
   * It has ended.
   *
   * @param {import('node:diagnostics_channel').Channel} event
   * @param {number | undefined} began what `begin` gave
   * @param {import('./client.js').Outcome} [outcome]
   * @param {unknown} [error] what the caller is told, unless it has succeeded
   */
  end(event, began, outcome, error) {
    this.client.stats.end(event, outcome, error);
    if (began !== undefined) publishCall(event, this, now() - began, outcome, error);
  }

  /** The typed error of an outcome that is no success. */
  failure(operation, outcome) {
    return failure(operation, outcome, this.names, this.client.nodes);
  }
}

module.exports = { Target };

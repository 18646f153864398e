'use strict';

const { now } = require('../lib/calls.js');

/** What node-redlock's Lock does not tell: the settings of its acquisition, and when it is over. */
const details = new WeakMap();

/** Resources that are held. Made by acquire() and extend(), or by hand from what these have told. */
class Lock {
  /**
   * @param {import('./redlock.js').Redlock} redlock
   * @param {string[]} resources
   * @param {string} value
   * @param {readonly Promise<object>[]} attempts
   * @param {number} expiration on the wall clock
   */
  constructor(redlock, resources, value, attempts, expiration) {
    // Not shown by console.log(): the URLs of the nodes are in there.
    Object.defineProperty(this, 'redlock', { __proto__: null, value: redlock });
    this.resources = resources;
    this.value = value;
    this.attempts = attempts;
    this.expiration = expiration;
  }

  release() {
    return this.redlock.release(this);
  }

  extend(duration) {
    return this.redlock.extend(this, duration);
  }
}

/**
 * A lock that goes on with the settings it was acquired with.
 *
 * @param {Lock} lock
 * @param {object} settings
 */
function remember(lock, settings) {
  details.set(lock, { settings, until: now() + lock.expiration - Date.now() });
  return lock;
}

/** The settings it was acquired with; none if it was made by hand. */
function settingsOf(lock) {
  return details.get(lock)?.settings;
}

/** By both clocks: the wall clock may be set back, and `expiration` be changed by its owner. */
function isOver(lock) {
  const { until = Infinity } = details.get(lock) ?? {};
  return lock.expiration <= Date.now() || until <= now();
}

module.exports = { Lock, isOver, remember, settingsOf };

'use strict';

const { LockExpiredError, outOfRange } = require('../lib/errors.js');

// What node-redlock says, word for word: programs compare it. What has happened is in `cause`.

const NO_QUORUM = 'The operation was unable to achieve a quorum during its retry window.';
const OVER = 'Cannot extend an already-expired lock.';
const NOT_INTEGER = 'Duration must be an integer value in milliseconds.';

/** One node holds one of the resources for somebody else, or no longer for us. */
class ResourceLockedError extends Error {
  /**
   * @param {string} message
   * @param {ErrorOptions} [options]
   */
  constructor(message, options) {
    super(message, options);
    this.name = 'ResourceLockedError';
  }
}

/** No quorum, in any of the attempts. */
class ExecutionError extends Error {
  /**
   * @param {string} message
   * @param {readonly Promise<object>[]} attempts the votes of each, see votes.js
   * @param {ErrorOptions} [options]
   */
  constructor(message, attempts, options) {
    super(message, options);
    this.name = 'ExecutionError';
    this.attempts = attempts;
  }
}

/** @param {readonly Promise<object>[]} attempts */
function noQuorum(attempts, cause) {
  return new ExecutionError(NO_QUORUM, attempts, { cause });
}

/** A lock that is over cannot be extended. */
function isOverAlready() {
  const cause = new LockExpiredError('the lock is over', [], 0);
  return new ExecutionError(OVER, [], { cause });
}

/**
 * Nodes have all of the resources or none: the engine does not tell how many.
 *
 * @param {number} size how many there are
 * @param {Error} cause why the node voted against
 */
function notApplied(size, cause) {
  const message = `The operation was applied to: 0 of the ${size} requested resources.`;
  return new ResourceLockedError(message, { cause });
}

/** @param {unknown} duration */
function notInteger(duration) {
  const cause = outOfRange('duration', duration, 'an integer');
  return Object.assign(new RangeError(NOT_INTEGER, { cause }), { code: cause.code });
}

module.exports = {
  ExecutionError,
  ResourceLockedError,
  isOverAlready,
  noQuorum,
  notApplied,
  notInteger,
};

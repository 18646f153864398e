'use strict';

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
   * @param {readonly Promise<object>[]} attempts the votes of each, see lib/redlock/votes.js
   * @param {ErrorOptions} [options]
   */
  constructor(message, attempts, options) {
    super(message, options);
    this.name = 'ExecutionError';
    this.attempts = attempts;
  }
}

module.exports = { ExecutionError, ResourceLockedError };

'use strict';

/**
 * Tells people what is wrong, beside what the program itself prints.
 *
 * @param {string} message
 */
function complain(message) {
  process.stderr.write(`redsync: ${message}\n`);
}

module.exports = { complain };

'use strict';

/**
 * @param {number} size how many nodes there are
 * @returns {number} how many of them decide
 */
function quorumOf(size) {
  return Math.floor(size / 2) + 1;
}

module.exports = { quorumOf };

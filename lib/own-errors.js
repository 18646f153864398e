'use strict';

// What pools threw themselves, for the `thrown` of the errors that tell of it. It stays on this side:
// the engine is told in words of our own, for its words can hold what was sent, or a password.

/** So many are kept, the newest of the process. Only those of calls that end now are looked for. */
const KEPT = 1024;

const kept = new Array(KEPT);
let count = 0;

/**
 * @param {unknown} error
 * @returns {number} by which it is found for a while
 */
function keep(error) {
  kept[count % KEPT] = error;
  return count++;
}

/** @param {number} number */
function find(number) {
  return count - number <= KEPT ? kept[number % KEPT] : undefined;
}

/** There is no pool left that could have thrown one. */
function clear() {
  kept.fill(undefined);
}

module.exports = { keep, find, clear };

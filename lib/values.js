'use strict';

// Ownership values. One is what lets its holder unlock, so no error shows it.

const { outOfRange, rangeError } = require('./errors.js');
const { text } = require('./fields.js');
const { LENGTH: PERMIT_LENGTH, permitOf } = require('./permits.js');
const { LENGTH: TOKEN_LENGTH } = require('./token.js');

const MAX = 16 * 1024;

/** What a name has stored while others read it. Who released it by this would let a writer in among them. */
const READERS = '#readers';

/** A rule for values of at most so many bytes. */
const shorterThan = (max) => text(1, max, { secret: true });

const anyValue = shorterThan(MAX);

/**
 * A rule: see lib/fields.js.
 *
 * @param {string} argument
 * @param {unknown} value
 * @returns {string}
 */
function ownershipValue(argument, value) {
  if (anyValue(argument, value) !== READERS) return value;
  throw outOfRange(
    argument,
    value,
    `the value of one holder, and not "${READERS}" of all who read`,
  );
}

/** What comes behind a value: by which settings, what it is, and the rule that leaves room for it. */
const BEHIND = [
  [({ fencing }) => fencing, 'the fencing token', shorterThan(MAX - TOKEN_LENGTH)],
  [({ permits }) => permits > 1, 'the permit', shorterThan(MAX - PERMIT_LENGTH)],
];

/**
 * @param {unknown} value what the caller's `genValue` function returned, awaited
 * @param {{ fencing: boolean, permits: number }} settings
 * @returns {string}
 */
function checkGeneratedValue(value, settings) {
  const [, what, rule = ownershipValue] = BEHIND.find(([isSo]) => isSo(settings)) ?? [];
  const checked = rule('genValue()', value);
  if (what === undefined || !checked.includes('#')) return checked;
  throw outOfRange('genValue()', value, `without "#", since ${what} is put behind it`, true);
}

/**
 * A value tells which permit it is of: with too few of them that one would be looked for in vain.
 *
 * @param {{ value: string | undefined, permits: number }} settings
 */
function checkPermit({ value = '', permits }) {
  if (permits === 1) return; // a plain mutex, whose values are anybody's
  const permit = permitOf(value);
  if (permit >= 1 && permit <= permits) return;
  throw rangeError(
    `The "options.value" argument must be of one of the ${permits} permits that the mutex has. It is of another`,
  );
}

module.exports = { READERS, ownershipValue, checkGeneratedValue, checkPermit };

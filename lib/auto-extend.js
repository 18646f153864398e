'use strict';

const { outOfRange } = require('./errors.js');
const { DAY, countless, integer, readFields } = require('./fields.js');

const MAX_STALL = 60_000;

/** Milliseconds that the engine deducts from every validity: nodes count expiry in whole ones. */
const CLOCK_GRAIN = 2;

const RULES = {
  __proto__: null,
  interval: integer(1, DAY),
  maxHold: countless,
  maxStall: countless,
};
const HINTS = Object.freeze({ __proto__: null, expected: 'a boolean or an object' });

/**
 * The rule of the option `autoExtend`.
 *
 * @param {string} argument
 * @param {unknown} value
 */
function readAutoExtend(argument, value) {
  if (typeof value === 'boolean') return value;
  return readFields(argument, value, RULES, undefined, HINTS);
}

/** How long a lock is sure to be valid after a round that took as long as it may. */
function validity({ expiry, driftFactor, timeoutFactor }) {
  return expiry - expiry * driftFactor - CLOCK_GRAIN - expiry * timeoutFactor;
}

/** When the attempt began whose lock is valid until then. */
function beginningOf(until, { expiry, driftFactor }) {
  return until - validity({ expiry, driftFactor, timeoutFactor: 0 });
}

/**
 * How to extend a lock with these settings. It depends on the expiry, which is only known when all
 * options are merged.
 *
 * @param {object} settings
 * @returns {Readonly<{ interval: number, maxHold: number, maxStall: number }> | undefined}
 */
function extensionOf(settings) {
  const { autoExtend, expiry } = settings;
  if (autoExtend === false) return undefined;
  const given = autoExtend === true ? { __proto__: null } : autoExtend;
  const { interval = expiry / 3, maxHold = Infinity, maxStall = MAX_STALL } = given;
  if (interval >= validity(settings)) {
    const expected = `shorter than the validity of ${Math.floor(validity(settings))} ms`;
    throw outOfRange('options.autoExtend.interval', interval, expected);
  }
  return Object.freeze({ interval, maxHold, maxStall });
}

module.exports = { CLOCK_GRAIN, beginningOf, extensionOf, readAutoExtend, validity };

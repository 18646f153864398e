'use strict';

/**
 * For how long a server that has just started may remember less than it has granted.
 *
 * @param {{ quarantine: boolean | number, expiry: number }} settings
 * @returns {number} milliseconds; 0 for none
 */
function quarantineOf({ quarantine, expiry }) {
  return quarantine === true ? expiry : Number(quarantine);
}

/**
 * For how long it has to be up before it votes: see crates/engine/src/validity.rs.
 *
 * @param {{ quarantine: boolean | number, expiry: number, driftFactor: number }} settings
 */
function abstention(settings) {
  const quarantine = quarantineOf(settings);
  return quarantine === 0 ? 0 : quarantine * (1 + settings.driftFactor) + 1000;
}

module.exports = { quarantineOf, abstention };

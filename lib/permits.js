'use strict';

/** The most that may hold a name at once. */
const MAX = 1000;

/** What an ownership value tells behind its random part: `RANDOM#p=PERMIT`, but for the first. */
const PERMIT = /^[^#]*#p=(\d+)(?:#|$)/;

/** What it may take of a value, in bytes. */
const LENGTH = `#p=${MAX}`.length;

/**
 * The permit that an ownership value is of.
 *
 * @param {string} value
 * @returns {number} from 1 on, unless the value says otherwise
 */
function permitOf(value) {
  const digits = PERMIT.exec(value)?.[1];
  return digits === undefined ? 1 : Number(digits);
}

/**
 * Each permit is a lock of its own; the first is the one that a plain mutex of the name takes.
 *
 * @param {string} key what the name is in Redis
 * @param {number} permit
 */
function permitKey(key, permit) {
  return permit === 1 ? key : `${key}:permit:${permit}`;
}

/** What permitKey() makes of a later permit than the first. */
const PERMIT_KEY = /^(.+):permit:([1-9]\d{0,3})$/s;

/**
 * What a key may be: that of a name, or of one of its permits.
 *
 * @param {string} key
 * @returns {{ name: string, permit: number }}
 */
function readPermitKey(key) {
  const [, name, digits] = PERMIT_KEY.exec(key) ?? [];
  const permit = Number(digits);
  return permit > 1 && permit <= MAX ? { name, permit } : { name: key, permit: 1 };
}

module.exports = { MAX, LENGTH, permitOf, permitKey, readPermitKey };

'use strict';

// Who holds a lock, for people: it stands behind all else in a random ownership value, where the engine puts it. Nothing
// is decided by it, for anybody can write it.

const os = require('node:os');

const { invalidType, outOfRange } = require('./errors.js');

const MAX = 64;
const ALLOWED = `[\\w.:/-]{1,${MAX}}`;
const NAME = new RegExp(`^${ALLOWED}$`);

/** `RANDOM#o=OWNER@SINCE`, with another mark before it or not. As many digits make a date for sure. */
const MARK = new RegExp(`^[^#]+(?:#[pt]=\\d{1,16})?#o=(${ALLOWED})(?:@([\\da-z]{1,9}))?$`);
const RADIX = 36;

/**
 * A rule: see lib/fields.js.
 *
 * @param {string} argument
 * @param {unknown} value
 * @returns {string | false} false for none
 */
function owner(argument, value) {
  const expected = `a string of 1 to ${MAX} letters, digits and "_", ".", ":", "/", "-"`;
  if (value === false) return value;
  if (typeof value !== 'string') throw invalidType(argument, value, `${expected}, or false`);
  if (!NAME.test(value)) throw outOfRange(argument, value, expected);
  return value;
}

/** @returns {string} what stands for `owner` unless it is given */
function thisProcess() {
  return processName(hostname(), process.pid);
}

function hostname() {
  try {
    return os.hostname();
  } catch {
    return 'unknown'; // for Deno it takes a permission
  }
}

/**
 * @param {string} host whatever a machine calls itself
 * @param {number} pid
 */
function processName(host, pid) {
  const end = `:${pid}`;
  return host.replace(/[^\w.-]/gu, '-').slice(0, MAX - end.length) + end;
}

/**
 * What an ownership value says of its holder.
 *
 * @param {string} value anybody's
 * @returns {{ owner?: string, since?: Date }}
 */
function ownerOf(value) {
  const [, owner, digits] = MARK.exec(value) ?? [];
  return {
    ...(owner !== undefined && { owner }),
    ...(digits !== undefined && { since: new Date(parseInt(digits, RADIX)) }),
  };
}

module.exports = { owner, thisProcess, processName, ownerOf };

'use strict';

const { isProxy } = require('node:util/types');

const { typeError, invalidType, outOfRange } = require('./errors.js');
const { meantOptions } = require('./guesses.js');

/** In milliseconds. */
const DAY = 86_400_000;

/** Of 32 bits: the engine's, of Redis, and the longest that a timer of Node.js runs. */
const MAX_INT = 2 ** 31 - 1;

const ALL_SHOWN = Object.freeze({ secret: false, listed: undefined });

// A rule takes the argument's name and a value that is not undefined, and returns the value to
// use or throws: TypeError for the wrong kind of thing, RangeError for a value not allowed.

/**
 * @param {number} min
 * @param {number} max
 * @param {{ secret?: boolean, expected?: string }} [options] secret: strings that land here may be credentials;
 *   expected: what else there may be, with this
 */
function integer(min, max, options = ALL_SHOWN) {
  const { secret = false, expected = `an integer from ${min} to ${max}` } = options;
  return (argument, value) => {
    if (typeof value !== 'number') throw invalidType(argument, value, expected, secret);
    if (!Number.isInteger(value) || value < min || value > max) {
      throw outOfRange(argument, value, expected);
    }
    return value + 0; // turns -0 into 0
  };
}

/** As many as are wanted, or no limit. */
function countless(argument, value) {
  const expected = 'an integer from 1 to 9007199254740991, or Infinity';
  if (typeof value !== 'number') throw invalidType(argument, value, expected);
  const allowed = value === Infinity || (Number.isSafeInteger(value) && value >= 1);
  if (!allowed) throw outOfRange(argument, value, expected);
  return value;
}

/** A well-formed string of at most `max` bytes of UTF-8. */
function text(min, max, { secret } = ALL_SHOWN) {
  const expected = `a well-formed string of ${min} to ${max} bytes of UTF-8`;
  return (argument, value) => {
    if (typeof value !== 'string') throw invalidType(argument, value, expected, secret);
    // The length first: a huge string is turned down without being read.
    const fits = value.length >= min && value.length <= max && Buffer.byteLength(value) <= max;
    if (!fits || !value.isWellFormed()) throw outOfRange(argument, value, expected, secret);
    return value;
  };
}

function callable(argument, value) {
  if (typeof value !== 'function') throw invalidType(argument, value, 'a function');
  return value;
}

function boolean(argument, value) {
  if (typeof value !== 'boolean') throw invalidType(argument, value, 'a boolean');
  return value;
}

/**
 * What an object says under a key, by itself or by its class: its prototypes count, but not the one that
 * every object has, to which anybody can have added anything.
 *
 * @param {object} object
 * @param {string} key
 */
function read(object, key) {
  const common = commonPrototype(object);
  if (common === undefined || !Object.hasOwn(common, key)) return object[key];
  for (let holder = object; holder !== common; holder = Object.getPrototypeOf(holder)) {
    if (Object.hasOwn(holder, key)) return object[key];
  }
  return undefined;
}

/** Longer than any chain of prototypes; that of a proxy may have no end. */
const MAX_PROTOTYPES = 64;

/** The Object.prototype of an object, of whichever realm; `undefined` if it has none. */
function commonPrototype(object) {
  let last = object;
  for (let i = 0; i < MAX_PROTOTYPES; i++) {
    const prototype = Object.getPrototypeOf(last);
    if (prototype !== null) last = prototype;
    else return last !== object && Object.hasOwn(last, 'hasOwnProperty') ? last : undefined;
  }
  return undefined;
}

/**
 * All that a literal has to say, which is what nearly everybody gives: that is read in a fraction of the time
 * that an object takes whose class may have something to say, too.
 *
 * @param {object} object
 * @returns {string[] | undefined} its keys; `undefined` if it may be more than a literal
 */
function keysOfLiteral(object) {
  if (isProxy(object)) return undefined;
  const prototype = Object.getPrototypeOf(object);
  const isLiteral = prototype === Object.prototype || prototype === null;
  return isLiteral ? Object.getOwnPropertyNames(object) : undefined;
}

/**
 * What was given. It inherits nothing, so that nothing added to Object.prototype can pass for an option; an
 * object without any prototype would be slow.
 */
function Fields() {}
Fields.prototype = Object.freeze({ __proto__: null });

/**
 * Reads each of `keys` from `input` exactly once, as `read` does, and puts it through its rule.
 *
 * @param {string} argument
 * @param {unknown} input
 * @param {Record<string, Function>} rules
 * @param {readonly string[]} [keys] all that there is a rule for
 * @param {{ secret?: boolean, listed?: readonly string[], expected?: string, places?: Record<string, string>, isSignal?: (input: object) => boolean }} [hints]
 *   secret: keys of any other form than an identifier may be credentials; listed: the keys to
 *   suggest, if not all; expected: completes "must be …"; places: see lib/guesses.js; isSignal: is it an
 *   AbortSignal, and so no object with options?
 * @returns {Record<string, unknown>} what was given, and is not undefined
 */
function readFields(argument, input, rules, keys, hints = ALL_SHOWN) {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw notOptions(argument, input, hints);
  }
  const fields = new Fields();
  const own = keysOfLiteral(input);
  if (own !== undefined && unknownOf(own, rules, keys) === undefined) {
    for (const key of own) put(fields, argument, key, input[key], rules);
    return fields;
  }
  if (hints.isSignal?.(input)) {
    throw typeError(
      `The "${argument}" argument must be ${hints.expected}. Received an AbortSignal`,
    );
  }
  const all = keys ?? Object.keys(rules);
  const unknown = unknownOf(Object.keys(input), rules, keys);
  if (unknown !== undefined) throw unknownKey(argument, unknown, all, hints);
  for (const key of all) put(fields, argument, key, read(input, key), rules);
  return fields;
}

function unknownOf(given, rules, keys) {
  for (const key of given) {
    const isKnown = keys === undefined ? key in rules : keys.includes(key);
    if (!isKnown) return key;
  }
  return undefined;
}

function put(fields, argument, key, value, rules) {
  if (value !== undefined) fields[key] = rules[key](`${argument}.${key}`, value);
}

function notOptions(argument, input, { expected = 'an object', secret }) {
  return invalidType(argument, input, expected, secret);
}

function unknownKey(argument, key, all, { listed: known = all, secret, places }) {
  const plain = /^\w{1,40}$/.test(key);
  const shown = plain || !secret ? ` ${JSON.stringify(key.slice(0, 40))}` : '';
  const meant = plain ? meantOptions(key, known, places) : [];
  const hint = meant.length > 0 ? ` Did you mean ${meant.join(' or ')}?` : '';
  return typeError(
    `The "${argument}" argument has an unknown option${shown}.${hint} Known: ${known.join(', ')}`,
  );
}

module.exports = { DAY, MAX_INT, read, readFields, integer, countless, text, callable, boolean };

'use strict';

const { typeError, invalidType, outOfRange } = require('./errors.js');

const DAY = 86_400_000;
const KIB = 1024;
const MAX_NAMES = 64;
const CLOCK_GRAIN = 2; // ms that the engine deducts for the coarse expiry clock of Redis

// A rule takes the argument's name and a value that is not undefined, and returns the value to
// use or throws: TypeError for the wrong kind of thing, RangeError for a value not allowed.

/** @param {{ secret?: boolean }} [options] secret: strings that land here may be credentials */
function integer(min, max, { secret = false } = {}) {
  const expected = `an integer from ${min} to ${max}`;
  return (argument, value) => {
    if (typeof value !== 'number') throw invalidType(argument, value, expected, secret);
    if (!Number.isInteger(value) || value < min || value > max) {
      throw outOfRange(argument, value, expected);
    }
    return value + 0; // turns -0 into 0
  };
}

/** A well-formed string of at most `max` bytes of UTF-8. */
function text(min, max, { secret = false } = {}) {
  const expected = `a well-formed string of ${min} to ${max} bytes of UTF-8`;
  return (argument, value) => {
    if (typeof value !== 'string') throw invalidType(argument, value, expected, secret);
    // The length first: a huge string is turned down without being read.
    const fits = value.length >= min && value.length <= max && Buffer.byteLength(value) <= max;
    if (!fits || !value.isWellFormed()) throw outOfRange(argument, value, expected, secret);
    return value;
  };
}

function factor(argument, value) {
  const expected = 'a number greater than 0 and less than 1';
  if (typeof value !== 'number') throw invalidType(argument, value, expected);
  if (!(value > 0 && value < 1)) throw outOfRange(argument, value, expected);
  return value;
}

function tries(argument, value) {
  const expected = 'an integer from 1 to 9007199254740991, or Infinity';
  if (typeof value !== 'number') throw invalidType(argument, value, expected);
  const allowed = value === Infinity || (Number.isSafeInteger(value) && value >= 1);
  if (!allowed) throw outOfRange(argument, value, expected);
  return value;
}

const delay = integer(1, DAY);

function retryDelay(argument, value) {
  if (typeof value === 'function') return value;
  if (typeof value === 'number') return delay(argument, value);
  throw invalidType(argument, value, `an integer from 1 to ${DAY}, or a function`);
}

function callable(argument, value) {
  if (typeof value !== 'function') throw invalidType(argument, value, 'a function');
  return value;
}

function boolean(argument, value) {
  if (typeof value !== 'boolean') throw invalidType(argument, value, 'a boolean');
  return value;
}

function signal(argument, value) {
  if (!isSignal(value)) throw invalidType(argument, value, 'an AbortSignal');
  return value;
}

/** By shape, as Node.js itself does it: a signal of another realm or a polyfill will do. */
function isSignal(value) {
  if (typeof value !== 'object' || value === null) return false;
  return 'aborted' in value && typeof value.addEventListener === 'function';
}

// An ownership value is what lets its holder unlock, so no error shows it.
const ownershipValue = text(1, 16 * KIB, { secret: true });

const MUTEX_RULES = {
  __proto__: null,
  expiry: integer(1, DAY),
  tries,
  retryDelay,
  driftFactor: factor,
  timeoutFactor: factor,
  genValue: callable,
  value: ownershipValue,
  failFast: boolean,
  shufflePools: boolean,
  setNXOnExtend: boolean,
};

const REDSYNC_RULES = { __proto__: null, ...MUTEX_RULES, keyPrefix: text(0, KIB) };

const CALL_RULES = { __proto__: null, signal, timeout: integer(1, 2 ** 31 - 1) };

const DEFAULTS = Object.freeze({
  expiry: 8000,
  tries: 32,
  retryDelay: undefined, // the engine's own: random in [50, 250)
  driftFactor: 0.01,
  timeoutFactor: 0.05,
  genValue: undefined, // the engine's own
  value: undefined,
  failFast: false,
  shufflePools: false,
  setNXOnExtend: false,
});

const NO_CALL_OPTIONS = Object.freeze({ signal: undefined, timeout: undefined });
const SIGNAL_ONLY = Object.freeze(['signal']);

/**
 * Reads each of `keys` from `input` exactly once, inherited ones too, and puts it through its rule.
 * The result has no prototype, so that nothing added to Object.prototype can pass for an option.
 *
 * @param {string} argument
 * @param {unknown} input
 * @param {Record<string, Function>} rules
 * @param {readonly string[]} [keys]
 * @param {{ secret?: boolean, listed?: readonly string[] }} [options]
 *   secret: keys of any other form than an identifier may be credentials; listed: the keys to
 *   suggest, if not all
 */
function readFields(argument, input, rules, keys = Object.keys(rules), options = {}) {
  const { secret = false, listed = keys } = options;
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw invalidType(argument, input, 'an object', secret);
  }
  const unknown = Object.keys(input).find((key) => !keys.includes(key));
  if (unknown !== undefined) throw unknownKey(argument, unknown, listed, secret);

  const fields = { __proto__: null };
  for (const key of keys) {
    const value = input[key];
    fields[key] = value === undefined ? undefined : rules[key](`${argument}.${key}`, value);
  }
  return fields;
}

function unknownKey(argument, key, known, secret) {
  const plain = /^\w{1,40}$/.test(key);
  const shown = plain || !secret ? ` ${JSON.stringify(key.slice(0, 40))}` : '';
  const nearest = plain ? known.find((name) => isTypo(key.toLowerCase(), name.toLowerCase())) : '';
  const hint = nearest ? ` Did you mean "${nearest}"?` : '';
  return typeError(
    `The "${argument}" argument has an unknown option${shown}.${hint} Known: ${known.join(', ')}`,
  );
}

/** At most two edits apart; one for short words, where two would match nearly anything. */
function isTypo(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[b.length] <= (b.length < 5 ? 1 : 2);
}

/**
 * @param {unknown} input
 * @param {Readonly<typeof DEFAULTS>} [defaults] settings that stand for what `input` leaves out
 * @returns {Readonly<typeof DEFAULTS>}
 */
function readMutexOptions(input, defaults = DEFAULTS) {
  if (input === undefined) return defaults;
  return settle(readFields('options', input, MUTEX_RULES), defaults);
}

/**
 * @param {unknown} input
 * @returns {Readonly<{ keyPrefix: string, settings: Readonly<typeof DEFAULTS> }>}
 */
function readRedsyncOptions(input) {
  if (input === undefined) return Object.freeze({ keyPrefix: '', settings: DEFAULTS });
  const fields = readFields('options', input, REDSYNC_RULES);
  return Object.freeze({ keyPrefix: fields.keyPrefix ?? '', settings: settle(fields, DEFAULTS) });
}

function settle(fields, defaults) {
  const settings = { ...defaults };
  for (const key of Object.keys(DEFAULTS)) settings[key] = fields[key] ?? defaults[key];
  checkValidity(settings);
  return Object.freeze(settings);
}

/** Only the merged options can tell: the factors may come from the Redsync, the expiry not. */
function checkValidity({ expiry, driftFactor, timeoutFactor }) {
  const validity = expiry - expiry * driftFactor - CLOCK_GRAIN - expiry * timeoutFactor;
  if (validity > 0) return;
  const lost = `driftFactor ${driftFactor}, timeoutFactor ${timeoutFactor} and ${CLOCK_GRAIN} ms`;
  throw outOfRange('options.expiry', expiry, `long enough for ${lost} to leave some validity`);
}

const NAMES_EXPECTED = `a string or a non-empty array of at most ${MAX_NAMES} strings`;
const readName = text(1, KIB);

/**
 * @param {unknown} name one name, or several that are one lock
 * @returns {readonly string[]}
 */
function readNames(name) {
  if (typeof name === 'string') return Object.freeze([readName('name', name)]);
  if (!Array.isArray(name)) throw invalidType('name', name, NAMES_EXPECTED);
  const { length } = name;
  if (length < 1 || length > MAX_NAMES) throw outOfRange('name', name, NAMES_EXPECTED);

  const names = new Set();
  for (let i = 0; i < length; i++) {
    const each = readName(`name[${i}]`, name[i]);
    if (names.has(each)) throw outOfRange(`name[${i}]`, each, 'different from the names before it');
    names.add(each);
  }
  return Object.freeze([...names]);
}

/**
 * @param {unknown} input
 * @param {readonly ('signal' | 'timeout')[]} [keys] the options that this call knows
 * @returns {Readonly<{ signal: AbortSignal | undefined, timeout: number | undefined }>}
 */
function readCallOptions(input, keys = SIGNAL_ONLY) {
  if (input === undefined) return NO_CALL_OPTIONS;
  // lock(signal) for lock({ signal }) would otherwise pass, and could never be aborted.
  if (isSignal(input)) throw invalidType('options', input, `an object with ${keys.join(', ')}`);
  const fields = readFields('options', input, CALL_RULES, keys);
  return Object.freeze({ signal: fields.signal, timeout: fields.timeout });
}

/**
 * @param {unknown} value what the caller's `retryDelay` function returned
 * @returns {number}
 */
function checkRetryDelay(value) {
  const expected = `a number from 0 to ${DAY}`;
  if (typeof value !== 'number') throw invalidType('retryDelay()', value, expected);
  if (!(value >= 0 && value <= DAY)) throw outOfRange('retryDelay()', value, expected);
  return value + 0;
}

/**
 * @param {unknown} value what the caller's `genValue` function returned, awaited
 * @returns {string}
 */
function checkGeneratedValue(value) {
  return ownershipValue('genValue()', value);
}

module.exports = {
  readMutexOptions,
  readRedsyncOptions,
  readNames,
  readCallOptions,
  checkRetryDelay,
  checkGeneratedValue,
  readFields,
  integer,
  text,
};

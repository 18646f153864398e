'use strict';

const { CLOCK_GRAIN, extensionOf, readAutoExtend, validity } = require('./auto-extend.js');
const { invalidType, outOfRange, typeError } = require('./errors.js');
const {
  DAY,
  MAX_INT,
  boolean,
  callable,
  countless,
  integer,
  read,
  readFields,
  text,
} = require('./fields.js');
const { LENGTH: TOKEN_LENGTH } = require('./token.js');

const KIB = 1024;
const MAX_NAMES = 64;

function factor(argument, value) {
  const expected = 'a number greater than 0 and less than 1';
  if (typeof value !== 'number') throw invalidType(argument, value, expected);
  if (!(value > 0 && value < 1)) throw outOfRange(argument, value, expected);
  return value;
}

const delay = integer(1, DAY);

function retryDelay(argument, value) {
  if (typeof value === 'function') return value;
  if (typeof value === 'number') return delay(argument, value);
  throw invalidType(argument, value, `an integer from 1 to ${DAY}, or a function`);
}

const quarantineTime = integer(1, DAY);

function quarantine(argument, value) {
  if (typeof value === 'boolean') return value;
  if (typeof value === 'number') return quarantineTime(argument, value);
  throw invalidType(argument, value, `a boolean or an integer from 1 to ${DAY}`);
}

function signal(argument, value) {
  if (!isSignal(value)) throw invalidType(argument, value, 'an AbortSignal');
  return value;
}

/** By shape, as Node.js itself does it: a signal of another realm or a polyfill will do. */
function isSignal(value) {
  if (typeof value !== 'object' || value === null) return false;
  const isFunction = typeof read(value, 'addEventListener') === 'function';
  return isFunction && read(value, 'aborted') !== undefined;
}

/** lock(signal) for lock({ signal }) would otherwise pass, and could never be aborted. */
function refuseSignal(options, expected) {
  if (isSignal(options)) throw invalidType('options', options, expected);
}

// An ownership value is what lets its holder unlock, so no error shows it.
const ownershipValue = text(1, 16 * KIB, { secret: true });

/** One that becomes an ownership value with a fencing token behind it. */
const valueBeforeToken = text(1, 16 * KIB - TOKEN_LENGTH, { secret: true });

const MUTEX_RULES = {
  __proto__: null,
  expiry: integer(1, DAY),
  tries: countless,
  retryDelay,
  driftFactor: factor,
  timeoutFactor: factor,
  genValue: callable,
  value: ownershipValue,
  failFast: boolean,
  shufflePools: boolean,
  setNXOnExtend: boolean,
  autoExtend: readAutoExtend,
  fencing: boolean,
};

const REDSYNC_RULES = { __proto__: null, ...MUTEX_RULES, keyPrefix: text(0, KIB), quarantine };

const ACQUIRE_RULES = { __proto__: null, ...MUTEX_RULES, signal };

const CALL_RULES = { __proto__: null, signal, timeout: integer(1, MAX_INT) };

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
  autoExtend: false,
  extension: undefined, // what autoExtend comes to, with this expiry
  fencing: false,
  permits: 1,
  mode: undefined,
  quarantine: false, // of the Redsync
});

const NO_CALL_OPTIONS = Object.freeze({ signal: undefined, timeout: undefined });
const SIGNAL_ONLY = Object.freeze(['signal']);

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
  const defaults = { ...DEFAULTS, quarantine: fields.quarantine ?? DEFAULTS.quarantine };
  return Object.freeze({ keyPrefix: fields.keyPrefix ?? '', settings: settle(fields, defaults) });
}

/**
 * The settings of a mutex.
 *
 * @param {Record<string, unknown>} fields each past its rule already, or another's rule: node-redlock
 *   knows no longest expiry
 * @param {Readonly<typeof DEFAULTS>} [defaults]
 * @returns {Readonly<typeof DEFAULTS>}
 */
function settle(fields, defaults = DEFAULTS) {
  const settings = { ...defaults };
  for (const key of Object.keys(MUTEX_RULES)) settings[key] = fields[key] ?? defaults[key];
  checkValidity(settings);
  checkFencing(settings);
  settings.extension = extensionOf(settings);
  return Object.freeze(settings);
}

/** Only the merged options can tell: the factors may come from the Redsync, the expiry not. */
function checkValidity({ expiry, driftFactor, timeoutFactor }) {
  if (validity({ expiry, driftFactor, timeoutFactor }) > 0) return;
  const lost = `driftFactor ${driftFactor}, timeoutFactor ${timeoutFactor} and ${CLOCK_GRAIN} ms`;
  throw outOfRange('options.expiry', expiry, `long enough for ${lost} to leave some validity`);
}

/** A key that is stored again has no token that a node has granted. */
function checkFencing({ fencing, setNXOnExtend }) {
  if (!fencing || !setNXOnExtend) return;
  throw typeError(
    'The "options.fencing" argument must not be true with setNXOnExtend: what an extension stores ' +
      'again no node has granted to its token',
  );
}

/**
 * The options of acquire() and using(): those of a mutex, and the signal of its lock().
 *
 * @param {unknown} input
 * @param {Readonly<typeof DEFAULTS>} defaults
 * @returns {{ settings: Readonly<typeof DEFAULTS>, signal: AbortSignal | undefined }}
 */
function readAcquireOptions(input, defaults) {
  if (input === undefined) return { settings: defaults, signal: undefined };
  refuseSignal(input, 'an object with options');
  const fields = readFields('options', input, ACQUIRE_RULES);
  return { settings: settle(fields, defaults), signal: fields.signal };
}

/** The same settings, kept alive by default: what using() starts from. */
function autoExtended(settings) {
  if (settings.autoExtend) return settings;
  const extended = { ...settings, autoExtend: true };
  return Object.freeze({ ...extended, extension: extensionOf(extended) });
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
  refuseSignal(input, `an object with ${keys.join(', ')}`);
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
 * @param {{ fencing: boolean }} settings
 * @returns {string}
 */
function checkGeneratedValue(value, { fencing }) {
  const checked = (fencing ? valueBeforeToken : ownershipValue)('genValue()', value);
  if (!fencing || !checked.includes('#')) return checked;
  throw outOfRange(
    'genValue()',
    value,
    'without "#", since the fencing token is put behind it',
    true,
  );
}

module.exports = {
  settle,
  ownershipValue,
  readMutexOptions,
  readRedsyncOptions,
  readNames,
  readCallOptions,
  checkRetryDelay,
  checkGeneratedValue,
  readAcquireOptions,
  autoExtended,
};

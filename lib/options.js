'use strict';

const { CLOCK_GRAIN, extensionOf, readAutoExtend, validity } = require('./auto-extend.js');
const { checkConflicts } = require('./conflicts.js');
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
const { owner } = require('./owner.js');
const { MAX: MAX_PERMITS } = require('./permits.js');
const { checkPermit, ownershipValue } = require('./values.js');

const KIB = 1024;
const MAX_NAMES = 64;
const MAX_LISTED = 10_000;

function factor(argument, value) {
  const expected = 'a number greater than 0 and less than 1';
  if (typeof value !== 'number') throw invalidType(argument, value, expected);
  if (!(value > 0 && value < 1)) throw outOfRange(argument, value, expected);
  return value;
}

const SHORT_EXPIRY = 100;
let hasWarned = false; // once a process

const expiryTime = integer(1, DAY);

/** Whoever thinks in seconds gets a lock that is over before its holder has begun. */
function expiry(argument, value) {
  const ms = expiryTime(argument, value);
  if (ms < SHORT_EXPIRY && !hasWarned) {
    hasWarned = true;
    process.emitWarning(
      `"${argument}" is ${ms} milliseconds. Did you mean ${ms} seconds? Write ${ms}000`,
      {
        code: 'REDSYNC_SHORT_EXPIRY',
      },
    );
  }
  return ms;
}

function wait(argument, value) {
  const expected = `an integer from 0 to ${DAY}, or Infinity`;
  return value === Infinity ? value : integer(0, DAY, { expected })(argument, value);
}

function retryDelay(argument, value) {
  const expected = `an integer from 1 to ${DAY}, or a function`;
  return typeof value === 'function' ? value : integer(1, DAY, { expected })(argument, value);
}

function quarantine(argument, value) {
  const expected = `a boolean or an integer from 1 to ${DAY}`;
  return typeof value === 'boolean' ? value : integer(1, DAY, { expected })(argument, value);
}

function signal(argument, value) {
  if (isSignal(value)) return value;
  const isController =
    typeof value === 'object' && value !== null && isSignal(read(value, 'signal'));
  if (!isController) throw invalidType(argument, value, 'an AbortSignal');
  throw typeError(
    `The "${argument}" argument must be an AbortSignal, not its AbortController: give its signal`,
  );
}

/** Otherwise by shape, as Node.js itself does it: a signal of another realm or a polyfill will do. */
function isSignal(value) {
  if (typeof value !== 'object' || value === null) return false;
  if (Object.getPrototypeOf(value) === AbortSignal.prototype) return true;
  const isFunction = typeof read(value, 'addEventListener') === 'function';
  return isFunction && read(value, 'aborted') !== undefined;
}

/** How many may hold a name at once. */
const permitCount = integer(1, MAX_PERMITS);

function mode(argument, value) {
  const expected = '"read" or "write"';
  if (typeof value !== 'string') throw invalidType(argument, value, expected);
  if (value !== 'read' && value !== 'write') throw outOfRange(argument, value, expected);
  return value;
}

const MUTEX_RULES = {
  __proto__: null,
  expiry,
  tries: countless,
  wait,
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
  permits: permitCount,
  mode,
  holdAtLeast: integer(0, DAY),
  reentrant: boolean,
};

const REDSYNC_RULES = {
  __proto__: null,
  ...MUTEX_RULES,
  keyPrefix: text(0, KIB),
  owner,
  quarantine,
};

const ACQUIRE_RULES = { __proto__: null, ...MUTEX_RULES, signal };

const CALL_RULES = {
  __proto__: null,
  signal,
  timeout: integer(1, MAX_INT),
  permits: permitCount,
  drain: integer(0, DAY),
  limit: integer(1, MAX_LISTED),
};

const DEFAULTS = {
  expiry: 8000,
  tries: 32,
  wait: Infinity,
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
  holdAtLeast: 0,
  reentrant: false,
  quarantine: false, // of the Redsync
};

const NO_CALL_OPTIONS = Object.freeze({
  signal: undefined,
  timeout: undefined,
  permits: undefined,
  drain: undefined,
  limit: undefined,
});
const SIGNAL_ONLY = Object.freeze(['signal']);

/** Where the options belong that are given elsewhere by mistake. */
const PLACES = {
  __proto__: null,
  ...Object.fromEntries(Object.keys(REDSYNC_RULES).map((key) => [key, 'new Redsync()'])),
  ...Object.fromEntries(Object.keys(MUTEX_RULES).map((key) => [key, 'newMutex()'])),
  signal: 'lock()',
};

/** lock(signal) for lock({ signal }) would otherwise pass, and could never be aborted. */
const HINTS = { isSignal, places: PLACES };
const OF_A_MUTEX = {
  ...HINTS,
  expected: 'an object with options, such as { expiry: 5000 }',
};
const OF_A_REDSYNC = {
  ...HINTS,
  expected:
    "an object with options, such as { keyPrefix: 'lock:' } (several nodes are an array: new Redsync([url, url]))",
};
const OF_A_LOCK = {
  ...HINTS,
  expected: 'an object with signal (how long a lock lasts is the expiry of its mutex)',
};

/** @param {object} hints see lib/fields.js */
function readOptions(input, rules, keys, hints = OF_A_MUTEX) {
  return readFields('options', input, rules, keys, hints);
}

/**
 * @param {unknown} input
 * @param {Readonly<typeof DEFAULTS>} [defaults] settings that stand for what `input` leaves out
 * @returns {Readonly<typeof DEFAULTS>}
 */
function readMutexOptions(input, defaults = DEFAULTS) {
  if (input === undefined) return defaults;
  return settle(readOptions(input, MUTEX_RULES), defaults);
}

/**
 * The options of newSemaphore().
 *
 * @param {unknown} limit
 * @param {unknown} input
 * @param {Readonly<typeof DEFAULTS>} [defaults]
 * @returns {Readonly<typeof DEFAULTS>}
 */
function readSemaphoreOptions(limit, input = {}, defaults = DEFAULTS) {
  const permits = permitCount('limit', limit);
  const fields = readOptions(input, MUTEX_RULES);
  if (fields.permits !== undefined && fields.permits !== permits) {
    throw typeError(
      `The "options.permits" argument must not be another than limit, ${permits}. Received ${fields.permits}`,
    );
  }
  if ((fields.mode ?? defaults.mode) !== undefined) {
    throw typeError(
      'The "options.mode" argument must not be given for a semaphore: it has no readers and writers',
    );
  }
  return settle({ ...fields, permits }, defaults);
}

/**
 * The options of newReadWriteLock(), which is two mutexes.
 *
 * @param {unknown} input
 * @param {Readonly<typeof DEFAULTS>} [defaults]
 * @returns {Record<'read' | 'write', Readonly<typeof DEFAULTS>>}
 */
function readReadWriteOptions(input = {}, defaults = DEFAULTS) {
  const fields = readOptions(input, MUTEX_RULES);
  if (fields.mode !== undefined) {
    throw typeError(
      'The "options.mode" argument must not be given for a read-write lock: it is made in both modes',
    );
  }
  const inMode = (mode) => settle({ ...fields, mode }, defaults);
  return { read: inMode('read'), write: inMode('write') };
}

/**
 * @param {unknown} input
 * @returns {Readonly<{ keyPrefix: string, owner: string | false | undefined, settings: Readonly<typeof DEFAULTS> }>}
 */
function readRedsyncOptions(input) {
  if (input === undefined) {
    return Object.freeze({ keyPrefix: '', owner: undefined, settings: DEFAULTS });
  }
  if (typeof input === 'string') {
    // It may be the URL of a second node, with a password.
    throw invalidType('options', input, OF_A_REDSYNC.expected, true);
  }
  const fields = readOptions(input, REDSYNC_RULES, undefined, OF_A_REDSYNC);
  const defaults = { ...DEFAULTS, quarantine: fields.quarantine ?? DEFAULTS.quarantine };
  const { keyPrefix = '', owner } = fields;
  return Object.freeze({ keyPrefix, owner, settings: settle(fields, defaults) });
}

/**
 * The settings of a mutex.
 *
 * @param {Record<string, unknown>} fields each past its rule already, or another's rule: node-redlock
 *   knows no longest expiry; those of no mutex stay out
 * @param {Readonly<typeof DEFAULTS>} [defaults]
 * @returns {Readonly<typeof DEFAULTS>}
 */
function settle(fields, defaults = DEFAULTS) {
  // To freeze them, or to copy what is frozen, would cost ten times all the rest.
  const settings = { ...defaults };
  for (const key of Object.keys(fields)) {
    if (fields[key] !== undefined && key in MUTEX_RULES) settings[key] = fields[key];
  }
  // Who says how long does not mean how often.
  if (isGiven(fields, 'wait') && !isGiven(fields, 'tries')) settings.tries = Infinity;
  checkValidity(settings);
  checkRest(settings);
  checkConflicts(settings);
  checkPermit(settings);
  settings.extension = extensionOf(settings);
  return settings;
}

function isGiven(fields, key) {
  return Object.hasOwn(fields, key) && fields[key] !== undefined;
}

/** Only the merged options can tell: the factors may come from the Redsync, the expiry not. */
function checkValidity({ expiry, driftFactor, timeoutFactor }) {
  if (validity({ expiry, driftFactor, timeoutFactor }) > 0) return;
  const lost = `driftFactor ${driftFactor}, timeoutFactor ${timeoutFactor} and ${CLOCK_GRAIN} ms`;
  throw outOfRange('options.expiry', expiry, `long enough for ${lost} to leave some validity`);
}

/** What a holder leaves who is killed, or whom no node hears: it may not be gone before. */
function checkRest({ expiry, holdAtLeast }) {
  if (holdAtLeast <= expiry) return;
  const expected = `at most the expiry, ${expiry}: it is all that keeps others off when a release fails`;
  throw outOfRange('options.holdAtLeast', holdAtLeast, expected);
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
  const fields = readOptions(input, ACQUIRE_RULES);
  return { settings: settle(fields, defaults), signal: fields.signal };
}

/** What says how an acquisition ends, and why lead() has no use for it. */
const NOT_TO_LEAD = {
  tries: 'it campaigns until options.signal aborts',
  wait: 'it campaigns until options.signal aborts',
  value: 'it acquires its own lock',
  reentrant: 'it acquires its own lock',
};

/**
 * The options of lead(): those of acquire(), but for how long it tries.
 *
 * @param {unknown} input
 * @param {Readonly<typeof DEFAULTS>} defaults
 * @returns {{ settings: Readonly<typeof DEFAULTS>, signal: AbortSignal | undefined }}
 */
function readLeadOptions(input = {}, defaults = DEFAULTS) {
  const fields = readOptions(input, ACQUIRE_RULES);
  for (const [key, why] of Object.entries(NOT_TO_LEAD)) {
    if (fields[key] !== undefined) {
      throw typeError(`The "options.${key}" argument must not be given to lead(): ${why}`);
    }
  }
  const settings = settle({ ...fields, wait: Infinity }, defaults);
  return { settings, signal: fields.signal };
}

/** The same settings, kept alive by default: what using() starts from. */
function autoExtended(settings) {
  if (settings.autoExtend) return settings;
  const extended = { ...settings, autoExtend: true };
  extended.extension = extensionOf(extended);
  return extended;
}

const NAMES_EXPECTED = `a string or a non-empty array of at most ${MAX_NAMES} strings`;
const readName = text(1, KIB);

/**
 * @param {unknown} name one name, where there cannot be several
 * @returns {readonly [string]}
 */
function readOneName(name) {
  return Object.freeze([readName('name', name)]);
}

const readGlob = text(1, KIB);

/**
 * @param {unknown} pattern of names; none for all
 * @returns {string}
 */
function readPattern(pattern) {
  return pattern === undefined ? '*' : readGlob('pattern', pattern);
}

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
 * @param {readonly ('signal' | 'timeout' | 'permits' | 'drain' | 'limit')[]} [keys] the options that this call knows
 * @returns {{ signal?: AbortSignal, timeout?: number, permits?: number, drain?: number, limit?: number }}
 */
function readCallOptions(input, keys = SIGNAL_ONLY) {
  if (input === undefined) return NO_CALL_OPTIONS;
  const hints =
    keys === SIGNAL_ONLY ? OF_A_LOCK : { isSignal, expected: `an object with ${keys.join(', ')}` };
  const { signal, timeout, permits, drain, limit } = readOptions(input, CALL_RULES, keys, hints);
  return { signal, timeout, permits, drain, limit };
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

module.exports = {
  settle,
  readMutexOptions,
  readSemaphoreOptions,
  readReadWriteOptions,
  readRedsyncOptions,
  readNames,
  readOneName,
  readPattern,
  readCallOptions,
  checkRetryDelay,
  readAcquireOptions,
  readLeadOptions,
  autoExtended,
};

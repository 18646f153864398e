'use strict';

const { isProxy } = require('node:util/types');

const MAX_SHOWN = 40;

/** Own, visible in console.log, and not to be overwritten by whoever catches the error. */
function define(error, properties) {
  for (const [key, value] of Object.entries(properties)) {
    Object.defineProperty(error, key, { __proto__: null, value, enumerable: true });
  }
  return error;
}

/** The mark of each class, by the class. */
const marks = new Map();

/** Base of everything that redsync itself reports; `code` is stable, `message` is not. */
class RedsyncError extends Error {
  /**
   * @param {string} message
   * @param {string} code
   * @param {ErrorOptions} [options]
   */
  constructor(message, code, options) {
    super(message, options);
    define(this, { code });
  }

  /** An error of another copy of this package counts, too; a class of the application's knows its own only. */
  static [Symbol.hasInstance](value) {
    const mark = marks.get(this);
    if (mark === undefined) return Function.prototype[Symbol.hasInstance].call(this, value);
    return typeof value === 'object' && value !== null && value[mark] === true;
  }
}

/** One node stores somebody else's value under the name. */
class NodeTakenError extends RedsyncError {
  /**
   * @param {number} node index in the list of nodes
   * @param {string} endpoint
   * @param {boolean} [isEndless] the key was seen to have no expiry, which no lock lacks
   */
  constructor(node, endpoint, isEndless = false) {
    const what = isEndless
      ? 'lock is taken by a key that has no expiry: not a lock?'
      : 'lock is taken';
    super(`node ${node} (${endpoint}): ${what}`, 'ERR_NODE_TAKEN');
    define(this, { node });
  }
}

/** One node could not answer. */
class RedisError extends RedsyncError {
  /**
   * @param {number} node index in the list of nodes
   * @param {string} endpoint
   * @param {Error} cause
   */
  constructor(node, endpoint, cause) {
    super(`node ${node} (${endpoint}): ${cause.message}`, 'ERR_REDIS', { cause });
    define(this, { node });
  }
}

/** No quorum. */
class FailedError extends RedsyncError {
  /**
   * @param {string} message
   * @param {Iterable<NodeTakenError | RedisError>} errors one for each node that did not grant
   * @param {number} attempts
   * @param {string} [code] for subclasses
   */
  constructor(message, errors, attempts, code = 'ERR_LOCK_FAILED') {
    super(message, code);
    define(this, { errors: Object.freeze([...errors]), attempts });
  }
}

/** A quorum of nodes holds the lock for somebody else. */
class TakenError extends FailedError {
  constructor(message, errors, attempts) {
    super(message, errors, attempts, 'ERR_LOCK_TAKEN');
    const taken = this.errors.filter((error) => error instanceof NodeTakenError);
    define(this, { nodes: Object.freeze(taken.map((error) => error.node)) });
  }
}

/** No quorum re-armed the expiry. */
class ExtendError extends FailedError {
  constructor(message, errors, attempts) {
    super(message, errors, attempts, 'ERR_EXTEND_FAILED');
  }
}

/** There was nothing left to unlock. */
class LockExpiredError extends FailedError {
  constructor(message, errors, attempts) {
    super(message, errors, attempts, 'ERR_LOCK_EXPIRED');
  }
}

/** The lock ended without being released by its holder. */
class LockLostError extends RedsyncError {
  /**
   * @param {string} message
   * @param {ErrorOptions} [options]
   */
  constructor(message, options) {
    super(message, 'ERR_LOCK_LOST', options);
  }
}

/** The lock is of a mode in which this cannot be done. */
class ModeError extends RedsyncError {
  /** @param {string} message */
  constructor(message) {
    super(message, 'ERR_LOCK_MODE');
  }
}

/** The call chain holds what it would wait for. */
class DeadlockError extends RedsyncError {
  /** @param {string} message */
  constructor(message) {
    super(message, 'ERR_LOCK_DEADLOCK');
  }
}

/** The Redsync was closed. */
class ClosedError extends RedsyncError {
  constructor() {
    super('the Redsync is closed', 'ERR_CLOSED');
  }
}

const classes = {
  RedsyncError,
  NodeTakenError,
  RedisError,
  FailedError,
  TakenError,
  ExtendError,
  LockExpiredError,
  LockLostError,
  ModeError,
  DeadlockError,
  ClosedError,
};

for (const [name, Class] of Object.entries(classes)) {
  // On the prototype, as the built-in errors have it: an own `name` would be printed twice.
  const property = { __proto__: null, value: name, writable: true, configurable: true };
  Object.defineProperty(Class.prototype, 'name', property);
  // A package manager may install the package twice, and each copy has its own classes.
  const mark = Symbol.for(`redsync.${name}`);
  marks.set(Class, mark);
  Object.defineProperty(Class.prototype, mark, { __proto__: null, value: true });
}

// What a bad argument was, told without running any code of the caller and at a bounded length:
// objects by their type only, since even their constructor's name may be a getter.
const RENDERERS = {
  __proto__: null,
  string: (value) => `type string (${quote(value)})`,
  number: (value) => `type number (${showNumber(value)})`,
  bigint: (value) => (BigInt.asIntN(64, value) === value ? `type bigint (${value}n)` : 'a bigint'),
  boolean: (value) => `type boolean (${value})`,
  undefined: () => 'undefined',
  symbol: () => 'a symbol',
  function: () => 'a function',
  object: describeObject,
};

function quote(text) {
  return JSON.stringify(text.slice(0, MAX_SHOWN)) + (text.length > MAX_SHOWN ? '...' : '');
}

function showNumber(value) {
  return Object.is(value, -0) ? '-0' : `${value}`;
}

function describeObject(value) {
  if (value === null) return 'null';
  // Array.isArray() throws for a revoked proxy.
  return !isProxy(value) && Array.isArray(value) ? 'an array' : 'an object';
}

/** As RENDERERS, without the content: for values that may be a secret, or may hold one. */
function describeKind(value) {
  if (value === '') return 'an empty string';
  if (typeof value === 'object') return describeObject(value);
  if (value === undefined) return 'undefined';
  return `a ${typeof value}`;
}

// In a RangeError the type is right, so only the value is worth showing.
function showValue(value) {
  if (typeof value === 'string') return quote(value);
  if (describeObject(value) === 'an array') return `an array of ${value.length}`;
  return typeof value === 'number' ? showNumber(value) : describeKind(value);
}

/** `retryDelay()` is the result of the caller's function; anything else was an argument. */
function subject(argument) {
  return argument.endsWith('()') ? `The result of "${argument}"` : `The "${argument}" argument`;
}

/**
 * @param {string} message
 * @returns {TypeError & { code: 'ERR_INVALID_ARG_TYPE' }}
 */
function typeError(message) {
  return define(new TypeError(message), { code: 'ERR_INVALID_ARG_TYPE' });
}

/**
 * @param {string} message
 * @returns {RangeError & { code: 'ERR_OUT_OF_RANGE' }}
 */
function rangeError(message) {
  return define(new RangeError(message), { code: 'ERR_OUT_OF_RANGE' });
}

/**
 * @param {string} argument such as `options.expiry`; a trailing `()` means a function's result
 * @param {unknown} value what was given
 * @param {string} expected completes "must be …"
 * @param {boolean} [secret] tell the type of the value only
 */
function invalidType(argument, value, expected, secret = false) {
  const received = secret ? describeKind(value) : RENDERERS[typeof value](value);
  return typeError(`${subject(argument)} must be ${expected}. Received ${received}`);
}

/**
 * @param {string} argument such as `options.expiry`; a trailing `()` means a function's result
 * @param {unknown} value what was given
 * @param {string} expected completes "must be …"
 * @param {boolean} [secret] tell the type of the value only
 */
function outOfRange(argument, value, expected, secret = false) {
  const received = secret ? describeKind(value) : showValue(value);
  return rangeError(`${subject(argument)} must be ${expected}. Received ${received}`);
}

module.exports = { ...classes, typeError, rangeError, invalidType, outOfRange };

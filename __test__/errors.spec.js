'use strict';

const { inspect } = require('node:util');
const test = require('ava');

const errors = require('../lib/errors.js');
const { FailedError, NodeTakenError, RedisError, RedsyncError, TakenError } = errors;
const { invalidType, outOfRange } = errors;

const cause = new Error('connection refused');
const taken = new NodeTakenError(0, '127.0.0.1:6379');
const redis = new RedisError(1, '127.0.0.1:6380', cause);
const takenToo = new NodeTakenError(2, '127.0.0.1:6381');

// class, arguments, code, parent
const CLASSES = [
  ['RedsyncError', ['m', 'ERR_X'], 'ERR_X', 'RedsyncError'],
  ['NodeTakenError', [0, 'memory'], 'ERR_NODE_TAKEN', 'RedsyncError'],
  ['RedisError', [0, 'memory', cause], 'ERR_REDIS', 'RedsyncError'],
  ['FailedError', ['m', [redis], 1], 'ERR_LOCK_FAILED', 'RedsyncError'],
  ['TakenError', ['m', [taken], 1], 'ERR_LOCK_TAKEN', 'FailedError'],
  ['ExtendError', ['m', [redis], 1], 'ERR_EXTEND_FAILED', 'FailedError'],
  ['LockExpiredError', ['m', [redis], 1], 'ERR_LOCK_EXPIRED', 'FailedError'],
  ['LockLostError', ['m'], 'ERR_LOCK_LOST', 'RedsyncError'],
  ['ModeError', ['m'], 'ERR_LOCK_MODE', 'RedsyncError'],
  ['DeadlockError', ['m'], 'ERR_LOCK_DEADLOCK', 'RedsyncError'],
  ['ClosedError', [], 'ERR_CLOSED', 'RedsyncError'],
];

for (const [name, args, code, parent] of CLASSES) {
  test(`${name}: ${code}, extends ${parent}`, (t) => {
    const error = new errors[name](...args);
    t.true(error instanceof errors[parent] && error instanceof RedsyncError);
    t.true(error instanceof Error);
    t.is(error.code, code);
    t.is(error.name, name);
    t.false(Object.hasOwn(error, 'name'));
    t.true(error.stack.startsWith(`${name}: ${error.message}\n`));
    t.throws(
      () => {
        error.code = 'other';
      },
      { instanceOf: TypeError },
    );
  });
}

test('what an error has to say is listed, and its name is as that of any error', (t) => {
  t.deepEqual(Object.keys(redis), ['code', 'node']);
  const nameOf = ({ prototype }) => ({ ...Object.getOwnPropertyDescriptor(prototype, 'name') });
  t.deepEqual(nameOf(RedisError), { ...nameOf(TypeError), value: 'RedisError' });
});

test('node errors tell which node and why', (t) => {
  t.is(taken.message, 'node 0 (127.0.0.1:6379): lock is taken');
  const endless = new NodeTakenError(0, 'memory', true);
  t.is(endless.message, 'node 0 (memory): lock is taken by a key that has no expiry: not a lock?');
  t.is(redis.message, 'node 1 (127.0.0.1:6380): connection refused');
  t.is(redis.node, 1);
  t.is(redis.cause, cause);
  t.true(inspect(redis).includes('[cause]'));
});

test('FailedError keeps a frozen copy of its errors', (t) => {
  const given = [taken, redis];
  const error = new FailedError('m', given, 3);
  given.pop();
  t.deepEqual([...error.errors], [taken, redis]);
  t.true(Object.isFrozen(error.errors));
  t.is(error.attempts, 3);
});

test('TakenError.nodes are the indexes of the nodes that are taken', (t) => {
  const error = new TakenError('m', [taken, redis, takenToo], 1);
  t.deepEqual([...error.nodes], [0, 2]);
  t.true(Object.isFrozen(error.nodes));
});

function trap() {
  throw new Error('ran code of the caller');
}

const hostile = {
  toString: trap,
  valueOf: trap,
  toJSON: trap,
  get constructor() {
    return trap();
  },
  get [Symbol.toStringTag]() {
    return trap();
  },
  get [Symbol.toPrimitive]() {
    return trap();
  },
  [inspect.custom]: trap,
};
const traps = new Proxy({}, { get: () => trap });
const revoked = Proxy.revocable([], {});
revoked.revoke();

// label, value, how invalidType() and how outOfRange() end
const RECEIVED = [
  ['undefined', undefined, 'undefined', 'undefined'],
  ['null', null, 'null', 'null'],
  ['boolean', true, 'type boolean (true)', 'a boolean'],
  ['integer', -1, 'type number (-1)', '-1'],
  ['minus zero', -0, 'type number (-0)', '-0'],
  ['NaN', NaN, 'type number (NaN)', 'NaN'],
  ['Infinity', Infinity, 'type number (Infinity)', 'Infinity'],
  ['bigint', 5n, 'type bigint (5n)', 'a bigint'],
  ['huge bigint', 1n << 100_000n, 'a bigint', 'a bigint'],
  ['string', 'a', 'type string ("a")', '"a"'],
  ['quotes', 'a"\n', 'type string ("a\\"\\n")', '"a\\"\\n"'],
  ['lone surrogate', '\ud800', 'type string ("\\ud800")', '"\\ud800"'],
  ['40 characters', 'x'.repeat(40), `type string ("${'x'.repeat(40)}")`, `"${'x'.repeat(40)}"`],
  [
    'a huge string',
    'x'.repeat(10_000_000),
    `type string ("${'x'.repeat(40)}"...)`,
    `"${'x'.repeat(40)}"...`,
  ],
  ['symbol', Symbol('secret'), 'a symbol', 'a symbol'],
  ['function', trap, 'a function', 'a function'],
  ['class', class Foo {}, 'a function', 'a function'],
  ['array', [1, 2], 'an array', 'an array of 2'],
  ['object', { a: 1 }, 'an object', 'an object'],
  ['instance', new Date(0), 'an object', 'an object'],
  ['hostile object', hostile, 'an object', 'an object'],
  ['proxy', traps, 'an object', 'an object'],
  [
    'proxy of an array',
    new Proxy([], { get: trap, getPrototypeOf: trap }),
    'an object',
    'an object',
  ],
  ['revoked proxy', revoked.proxy, 'an object', 'an object'],
];

for (const [label, value, type, range] of RECEIVED) {
  test(`received ${label}`, (t) => {
    const typeError = invalidType('options.x', value, 'a thing');
    t.true(typeError instanceof TypeError);
    t.is(typeError.code, 'ERR_INVALID_ARG_TYPE');
    t.is(typeError.message, `The "options.x" argument must be a thing. Received ${type}`);

    const rangeError = outOfRange('options.x', value, 'a thing');
    t.true(rangeError instanceof RangeError);
    t.is(rangeError.code, 'ERR_OUT_OF_RANGE');
    t.is(rangeError.message, `The "options.x" argument must be a thing. Received ${range}`);
  });

  test(`received ${label} as a secret: the type at most`, (t) => {
    const kind = value === undefined || value === null || /^an? /.test(type);
    const expected = kind ? type : `a ${typeof value}`;
    for (const make of [invalidType, outOfRange]) {
      const { message } = make('x', value, 'a thing', true);
      t.is(message, `The "x" argument must be a thing. Received ${expected}`);
    }
  });
}

test('received an empty string as a secret', (t) => {
  const { message } = outOfRange('x', '', 'a thing', true);
  t.is(message, 'The "x" argument must be a thing. Received an empty string');
});

test('results of functions are named as such', (t) => {
  const { message } = outOfRange('retryDelay()', -1, 'positive');
  t.is(message, 'The result of "retryDelay()" must be positive. Received -1');
});

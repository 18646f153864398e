'use strict';

const { inspect } = require('node:util');
const { createContext, runInContext } = require('node:vm');
const test = require('ava');

const { Redsync } = require('../index.js');
const { beginningOf } = require('../lib/auto-extend.js');
const options = require('../lib/options.js');
const { readMutexOptions, readRedsyncOptions, readNames, readCallOptions } = options;
const { readNodes } = require('../lib/nodes.js');
const { abstention } = require('../lib/quarantine.js');
const { tokenOf } = require('../lib/token.js');
const { checkGeneratedValue } = require('../lib/values.js');
const { autoExtended, checkRetryDelay, readAcquireOptions, readLeadOptions } = options;
const { readPattern, readReadWriteOptions, readSemaphoreOptions } = options;

const DAY = 86_400_000;
const KIB = 1024;
const { MAX_SAFE_INTEGER } = Number;
const TYPE = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };
const RANGE = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };
const fn = () => 'v';

const DEFAULTS = {
  expiry: 8000,
  tries: 32,
  wait: Infinity,
  retryDelay: undefined,
  driftFactor: 0.01,
  timeoutFactor: 0.05,
  genValue: undefined,
  value: undefined,
  failFast: false,
  shufflePools: false,
  setNXOnExtend: false,
  autoExtend: false,
  extension: undefined,
  fencing: false,
  permits: 1,
  mode: undefined,
  holdAtLeast: 0,
  reentrant: false,
  quarantine: false,
};

/** Options of the Redsync that a mutex does not know. */
const OF_REDSYNC = ['keyPrefix', 'owner', 'quarantine'];

function label(value) {
  return inspect(value, { depth: 0, maxStringLength: 10, maxArrayLength: 2 }).replace(/\s+/g, ' ');
}

/** The error names the argument and is of bounded length. */
function throws(t, run, expectation, argument) {
  const error = t.throws(run, expectation);
  t.true(error.message.includes(`"${argument}"`), error.message);
  t.true(error.message.length < 400, error.message);
  return error;
}

function counting(fields) {
  const reads = {};
  const input = {};
  for (const [key, value] of Object.entries(fields)) {
    Object.defineProperty(input, key, {
      enumerable: true,
      get() {
        reads[key] = (reads[key] ?? 0) + 1;
        // What comes after the first read would not have passed.
        return reads[key] === 1 ? value : Symbol('changed');
      },
    });
  }
  return { input, reads };
}

// --- mutex options

test('go-redsync’s defaults', (t) => {
  t.deepEqual(readMutexOptions(undefined), DEFAULTS);
  t.deepEqual(readMutexOptions({}), DEFAULTS);
  const ofRedsync = { keyPrefix: '', owner: undefined, settings: DEFAULTS };
  t.deepEqual(readRedsyncOptions(undefined), ofRedsync);
  t.deepEqual(readRedsyncOptions({}), ofRedsync);
});

const GOOD = {
  expiry: [3, 8000, DAY],
  tries: [1, 32, Number.MAX_SAFE_INTEGER, Infinity],
  wait: [0, 1, 30_000, DAY, Infinity],
  retryDelay: [1, 200, DAY, fn, class {}],
  driftFactor: [Number.MIN_VALUE, 0.01, 0.5],
  timeoutFactor: [Number.MIN_VALUE, 0.05, 0.5],
  genValue: [fn, async () => 'v'],
  value: ['v', '\0', 'x'.repeat(16 * KIB), 'ü'.repeat(8 * KIB), '😀'],
  failFast: [true, false],
  shufflePools: [true, false],
  setNXOnExtend: [true, false],
  autoExtend: [false],
  fencing: [true, false],
  permits: [1, 2, 1000],
  mode: ['read', 'write'],
  holdAtLeast: [0, 1, 8000],
  reentrant: [true, false],
  quarantine: [true, false, 1, 8000, DAY],
};

for (const [key, values] of Object.entries(GOOD)) {
  for (const value of values) {
    test(`${key}: ${label(value)} is allowed`, (t) => {
      const expected = { ...DEFAULTS, ...(key === 'wait' && { tries: Infinity }), [key]: value };
      t.deepEqual(readRedsyncOptions({ [key]: value }).settings, expected);
      if (OF_REDSYNC.includes(key)) return;
      t.deepEqual(readMutexOptions({ [key]: value }), expected);
    });
  }
  test(`${key}: undefined is the default`, (t) => {
    t.deepEqual(readRedsyncOptions({ [key]: undefined }).settings, DEFAULTS);
    if (OF_REDSYNC.includes(key)) return;
    t.deepEqual(readMutexOptions({ [key]: undefined }), DEFAULTS);
  });
}

const NO_NUMBERS = [null, '1', true, 1n, Symbol('1'), {}, [], [1], new Number(1)];
const NO_POSITIVE_INTEGERS = [NaN, 0, -0, -1, 1.5, -Infinity, 1e-9];
const NO_FACTORS = [NaN, 0, -0, -0.1, 1, 2, Infinity, -Infinity];
const NO_STRINGS = [null, 1, true, 1n, Symbol('v'), {}, [], ['v'], new String('v'), fn];
const ILL_FORMED = ['\ud800', 'a\udc00b', '\udc00\ud800'];
const NO_BOOLEANS = [null, 0, 1, 'true', '', {}, [], new Boolean(true), fn];

const BAD_TYPE = {
  expiry: [...NO_NUMBERS, fn],
  tries: [...NO_NUMBERS, fn],
  wait: [...NO_NUMBERS, fn],
  retryDelay: NO_NUMBERS,
  driftFactor: [...NO_NUMBERS, fn],
  timeoutFactor: [...NO_NUMBERS, fn],
  genValue: [...NO_NUMBERS, 1],
  value: NO_STRINGS,
  failFast: NO_BOOLEANS,
  shufflePools: NO_BOOLEANS,
  setNXOnExtend: NO_BOOLEANS,
  autoExtend: [null, 0, 1, 'true', '', 1n, Symbol('1'), fn, []],
  fencing: NO_BOOLEANS,
  permits: [...NO_NUMBERS, fn],
  mode: NO_STRINGS,
  holdAtLeast: [...NO_NUMBERS, fn],
  reentrant: NO_BOOLEANS,
  quarantine: [null, '1', 'true', '', 1n, Symbol('1'), {}, [], [1], new Number(1), fn],
  keyPrefix: NO_STRINGS,
  owner: NO_STRINGS,
};

const BAD_RANGE = {
  expiry: [...NO_POSITIVE_INTEGERS, Infinity, DAY + 1, 2 ** 53, 1e300],
  tries: [...NO_POSITIVE_INTEGERS, 2 ** 53],
  wait: [NaN, -1, 1.5, -Infinity, 1e-9, DAY + 1, 2 ** 53],
  retryDelay: [...NO_POSITIVE_INTEGERS, Infinity, DAY + 1],
  driftFactor: NO_FACTORS,
  timeoutFactor: NO_FACTORS,
  value: [
    '',
    'x'.repeat(16 * KIB + 1),
    'ü'.repeat(8 * KIB + 1),
    'x'.repeat(5e7),
    ...ILL_FORMED,
    '#readers',
  ],
  permits: [...NO_POSITIVE_INTEGERS, Infinity, 1001, 2 ** 32 + 1],
  mode: ['', 'Read', 'READ', 'r', 'read ', 'shared', 'write\0', 'constructor'],
  holdAtLeast: [NaN, -1, 1.5, -Infinity, Infinity, 1e-9, 8001, DAY + 1],
  quarantine: [...NO_POSITIVE_INTEGERS, Infinity, DAY + 1],
  keyPrefix: ['x'.repeat(KIB + 1), 'ü'.repeat(KIB), ...ILL_FORMED],
  owner: [
    '',
    ...['x'.repeat(65), 'x'.repeat(5e7), 'me#t=5', 'me@home', 'me you', 'mé', 'me\n', 'me\0'],
    ...ILL_FORMED,
  ],
};

const AN_INTEGER = /an integer from 1 to 86400000/;
const A_FACTOR = /a number greater than 0 and less than 1/;
const A_BOOLEAN = /a boolean/;

/** What each must be, as its errors say. */
const MUST_BE = {
  expiry: AN_INTEGER,
  tries: /an integer from 1 to 9007199254740991, or Infinity/,
  wait: /an integer from 0 to 86400000, or Infinity/,
  retryDelay: /an integer from 1 to 86400000, or a function/,
  driftFactor: A_FACTOR,
  timeoutFactor: A_FACTOR,
  genValue: /a function/,
  value:
    /a well-formed string of 1 to 16384 bytes of UTF-8|the value of one holder, and not "#readers" of all who read/,
  failFast: A_BOOLEAN,
  shufflePools: A_BOOLEAN,
  setNXOnExtend: A_BOOLEAN,
  autoExtend: /a boolean or an object/,
  fencing: A_BOOLEAN,
  permits: /an integer from 1 to 1000/,
  mode: /"read" or "write"/,
  holdAtLeast:
    /an integer from 0 to 86400000|at most the expiry, 8000: it is all that keeps others off when a release fails/,
  reentrant: A_BOOLEAN,
  quarantine: /a boolean or an integer from 1 to 86400000/,
  keyPrefix: /a well-formed string of 0 to 1024 bytes of UTF-8/,
  owner: /a string of 1 to 64 letters, digits and "_", "\.", ":", "\/", "-"(?:, or false)?/,
};

for (const [table, expectation] of [
  [BAD_TYPE, TYPE],
  [BAD_RANGE, RANGE],
]) {
  for (const [key, values] of Object.entries(table)) {
    for (const [i, value] of values.entries()) {
      test(`${key}: ${label(value)} is a ${expectation.instanceOf.name} (${i})`, (t) => {
        const input = { [key]: value };
        const { source } = MUST_BE[key];
        const { message } = throws(
          t,
          () => readRedsyncOptions(input),
          expectation,
          `options.${key}`,
        );
        t.regex(
          message,
          new RegExp(`^The "options\\.${key}" argument must be (?:${source})\\. Received `),
        );
        if (OF_REDSYNC.includes(key)) return;
        throws(t, () => readMutexOptions(input), expectation, `options.${key}`);
      });
    }
  }
}

test('errors name the value', (t) => {
  t.throws(() => readMutexOptions({ expiry: -1 }), {
    message: 'The "options.expiry" argument must be an integer from 1 to 86400000. Received -1',
  });
  t.throws(() => readMutexOptions({ tries: '7' }), { message: /Received type string \("7"\)$/ });
});

test.serial('whoever thinks in seconds is warned, once', (t) => {
  const file = require.resolve('../lib/options.js');
  const { [file]: loaded } = require.cache;
  const { emitWarning } = process;
  const told = [];
  delete require.cache[file];
  process.emitWarning = (...args) => told.push(args);
  try {
    const { readMutexOptions: read } = require('../lib/options.js');
    for (const expiry of [100, 99, 98]) read({ expiry });
  } finally {
    process.emitWarning = emitWarning;
    require.cache[file] = loaded;
  }
  const text = '"options.expiry" is 99 milliseconds. Did you mean 99 seconds? Write 99000';
  t.deepEqual(told, [[text, { code: 'REDSYNC_SHORT_EXPIRY' }]]);
});

for (const value of ['hunter2\ud800', 'hunter2'.repeat(5000), ['hunter2'], { hunter2: 1 }]) {
  test(`an ownership value is in no error: ${label(value)}`, (t) => {
    const thrown = [
      t.throws(() => readMutexOptions({ value })),
      t.throws(() => checkGeneratedValue(value, { fencing: false })),
      t.throws(() => checkGeneratedValue(value, { fencing: true })),
    ];
    for (const error of thrown) t.false(inspect(error).includes('hunter2'));
  });
}

test('who says how long to wait does not mean how often, unless both are said', (t) => {
  const limits = (input, defaults) => {
    const { tries, wait } = readMutexOptions(input, defaults && readMutexOptions(defaults));
    return { tries, wait };
  };
  t.deepEqual(limits({ wait: 50 }), { tries: Infinity, wait: 50 });
  t.deepEqual(limits({ wait: 50, tries: 2 }), { tries: 2, wait: 50 });
  t.deepEqual(limits({ wait: 50 }, { tries: 2 }), { tries: Infinity, wait: 50 });
  t.deepEqual(limits({ tries: 2 }, { wait: 50 }), { tries: 2, wait: 50 });
  t.deepEqual(limits({}, { wait: 50 }), { tries: Infinity, wait: 50 });
});

// expiry, driftFactor, timeoutFactor, allowed
const COMBINATIONS = [
  [1, 0.01, 0.05, false],
  [2, 0.01, 0.05, false],
  [3, 0.01, 0.05, true],
  [8000, 0.5, 0.5, false],
  [8000, 0.6, 0.5, false],
  [8000, 0.4, 0.5, true],
  [4, 0.25, 0.25, false], // exactly nothing left
  [5, 0.25, 0.25, true],
  [DAY, 0.999, 0.0009, true],
];

for (const [expiry, driftFactor, timeoutFactor, allowed] of COMBINATIONS) {
  test(`validity of ${expiry} - ${driftFactor} - ${timeoutFactor}: ${allowed}`, (t) => {
    const all = { expiry, driftFactor, timeoutFactor };
    if (allowed) {
      t.deepEqual(readMutexOptions(all), { ...DEFAULTS, ...all });
      t.deepEqual(readRedsyncOptions(all).settings, { ...DEFAULTS, ...all });
    } else {
      throws(t, () => readMutexOptions(all), RANGE, 'options.expiry');
      throws(t, () => readRedsyncOptions(all), RANGE, 'options.expiry');
    }
  });
}

test('validity is checked after merging with the defaults', (t) => {
  const { settings } = readRedsyncOptions({ driftFactor: 0.9 });
  throws(t, () => readMutexOptions({ expiry: 20 }, settings), RANGE, 'options.expiry');
  t.notThrows(() => readMutexOptions({ expiry: 20, driftFactor: 0.1 }, settings));
});

test('defaults of the Redsync hold unless overridden', (t) => {
  const { keyPrefix, settings } = readRedsyncOptions({
    keyPrefix: 'k:',
    tries: 3,
    failFast: true,
    genValue: fn,
  });
  t.is(keyPrefix, 'k:');
  t.is(readMutexOptions(undefined, settings), settings);
  t.deepEqual(readMutexOptions({ tries: 4, failFast: false, genValue: undefined }, settings), {
    ...DEFAULTS,
    tries: 4,
    genValue: fn,
  });
  for (const key of OF_REDSYNC) {
    throws(t, () => readMutexOptions({ [key]: undefined }, settings), TYPE, 'options');
  }
});

// --- fencing and quarantine

test('fencing of the Redsync holds for its mutexes unless overridden', (t) => {
  const { settings } = readRedsyncOptions({ fencing: true });
  t.true(readMutexOptions({ tries: 3 }, settings).fencing);
  t.true(readMutexOptions({ fencing: undefined }, settings).fencing);
  t.false(readMutexOptions({ fencing: false }, settings).fencing);
  t.true(readMutexOptions({ fencing: true }).fencing);
  t.true(readAcquireOptions({ tries: 3 }, settings).settings.fencing);
  t.true(autoExtended(settings).fencing);
});

test('fencing does not go with setNXOnExtend, wherever the two come from', (t) => {
  const both = { fencing: true, setNXOnExtend: true };
  const { settings: fenced } = readRedsyncOptions({ fencing: true });
  const { settings: mending } = readRedsyncOptions({ setNXOnExtend: true });
  const refused = [
    () => readMutexOptions(both),
    () => readRedsyncOptions(both),
    () => readAcquire(both),
    () => readMutexOptions({ setNXOnExtend: true }, fenced),
    () => readMutexOptions({ fencing: true }, mending),
    () => readAcquireOptions({ fencing: true }, mending),
  ];
  for (const read of refused) {
    const { message } = throws(t, read, TYPE, 'options.fencing');
    t.regex(message, /setNXOnExtend/);
  }
  t.notThrows(() => readMutexOptions({ fencing: false, setNXOnExtend: true }, fenced));
  t.notThrows(() => readMutexOptions({ fencing: true, setNXOnExtend: false }, mending));
});

test('holdAtLeast is at most the expiry, wherever the two come from', (t) => {
  const { settings } = readRedsyncOptions({ expiry: 60_000, holdAtLeast: 30_000 });
  const refused = [
    () => readMutexOptions({ expiry: 1000, holdAtLeast: 1001 }),
    () => readRedsyncOptions({ holdAtLeast: 8001 }),
    () => readMutexOptions({ expiry: 29_999 }, settings),
    () => readAcquireOptions({ holdAtLeast: 60_001 }, settings),
    () => readLeadOptions({ expiry: 1000 }, settings),
  ];
  for (const read of refused) {
    const { message } = throws(t, read, RANGE, 'options.holdAtLeast');
    t.regex(message, /at most the expiry, \d+: /);
  }
  t.is(readMutexOptions({ expiry: 1000, holdAtLeast: 1000 }).holdAtLeast, 1000);
  t.is(readMutexOptions({ expiry: 1000, holdAtLeast: 0 }, settings).holdAtLeast, 0);
});

test('holdAtLeast goes neither with a mode nor with a value', (t) => {
  const { settings } = readRedsyncOptions({ holdAtLeast: 1000 });
  const why = {
    mode: 'readers keep no reader off, and a writer may become one',
    value:
      'when another process has acquired its lock is not known here. Give 0 to release it at once',
  };
  for (const other of [{ mode: 'read' }, { mode: 'write' }, { value: 'v' }]) {
    const [key] = Object.keys(other);
    const refused = [
      () => readMutexOptions({ ...other, holdAtLeast: 1 }),
      () => readMutexOptions(other, settings),
      () => readAcquireOptions(other, settings),
    ];
    for (const read of refused) {
      const { message } = throws(t, read, TYPE, 'options.holdAtLeast');
      t.true(message.endsWith(`with a ${key}: ${why[key]}`), message);
    }
    t.like(readMutexOptions({ ...other, holdAtLeast: 0 }, settings), other);
  }
  throws(t, () => readReadWriteOptions({}, settings), TYPE, 'options.holdAtLeast');
});

test('lead() campaigns without end, whatever the Redsync says', (t) => {
  const { settings } = readRedsyncOptions({ tries: 2, wait: 5, expiry: 900 });
  const { signal } = new AbortController();
  const read = readLeadOptions({ signal, holdAtLeast: 7 }, settings);
  t.is(read.signal, signal);
  t.like(read.settings, { tries: Infinity, wait: Infinity, expiry: 900, holdAtLeast: 7 });
  t.like(readLeadOptions(undefined, settings).settings, { tries: Infinity, wait: Infinity });
  for (const [key, value] of Object.entries({ tries: 1, wait: 1, value: 'v', reentrant: false })) {
    const { message } = throws(
      t,
      () => readLeadOptions({ [key]: value }, settings),
      TYPE,
      `options.${key}`,
    );
    t.regex(message, /must not be given to lead\(\): it /);
  }
});

test('the quarantine of the Redsync is that of its mutexes, which cannot have another', (t) => {
  for (const quarantine of [true, 5000]) {
    const { settings } = readRedsyncOptions({ quarantine, expiry: 3000 });
    t.is(readMutexOptions({ expiry: 400 }, settings).quarantine, quarantine);
    t.is(readAcquireOptions({ expiry: 400 }, settings).settings.quarantine, quarantine);
    for (const read of [readMutexOptions, readAcquireOptions]) {
      const { message } = throws(t, () => read({ quarantine: false }, settings), TYPE, 'options');
      t.regex(message, /unknown option "quarantine"/);
    }
  }
});

// quarantine, expiry, driftFactor, how long a server has to be up
const ABSTENTIONS = [
  [false, 8000, 0.01, 0],
  [true, 8000, 0.01, 9080],
  [true, 10_000, 0.01, 11_100],
  [5000, 8000, 0.01, 6050],
  [20_000, 100, 0.5, 31_000],
  [1, 8000, 0.01, 1001.01],
];

for (const [quarantine, expiry, driftFactor, expected] of ABSTENTIONS) {
  test(`quarantine: ${quarantine} with ${expiry} and ${driftFactor} is ${expected} ms`, (t) => {
    const { settings } = readRedsyncOptions({ quarantine, expiry, driftFactor });
    t.true(Math.abs(abstention(settings) - expected) < 1e-6, `${abstention(settings)}`);
  });
}

test('quarantine has no meaning for a Pool', (t) => {
  const pool = { get: () => {}, endpoint: 'p' };
  for (const quarantine of [true, 1000]) {
    const make = () => new Redsync(['memory:', pool], { quarantine });
    const { message } = throws(t, make, TYPE, 'options.quarantine');
    t.regex(message, /nodes\[1\], which is a Pool/);
    t.notThrows(() => new Redsync(['memory:', 'redis://127.0.0.1:1'], { quarantine }));
  }
  for (const quarantine of [false, undefined]) {
    t.notThrows(() => new Redsync(['memory:', pool], { quarantine }));
  }
});

test('on a Redis Cluster a name with fencing has a slot that another key can be put in', (t) => {
  const redsync = new Redsync('redis+cluster://127.0.0.1:1', { fencing: true });
  const tagged = new Redsync('redis+cluster://127.0.0.1:1', { fencing: true, keyPrefix: '{k}' });
  for (const name of ['a', 'a{b', '{t}a', 'a{t}b}', ['{t}a', '{t}b']]) {
    t.notThrows(() => redsync.newMutex(name), `${name}`);
  }
  for (const name of ['a}', '{}a', 'a}{b', '}']) {
    const { message } = throws(t, () => redsync.newMutex(name), TYPE, 'name');
    t.true(message.includes(`${JSON.stringify(name)} has no slot`), message);
    t.notThrows(() => redsync.newMutex(name, { fencing: false }));
    t.notThrows(() => tagged.newMutex(name));
    t.notThrows(() => new Redsync('memory:', { fencing: true }).newMutex(name));
  }
});

test('with fencing no name of a lock is where another keeps its last token', (t) => {
  const redsync = new Redsync('memory:');
  const long = 'x'.repeat(100);
  for (const [name, fence, shown] of [
    ['job', 'job:fence', 'job:fence'],
    ['job', '{job}:fence', '{job}:fence'],
    [long, `${long}:fence`, long.slice(0, 80)],
  ]) {
    const make = (fencing) => redsync.newMutex([name, fence], { fencing });
    const { message } = throws(t, () => make(true), TYPE, 'name');
    t.true(message.includes(` must not have "${shown}" with fencing: `), message);
    t.deepEqual(make(false).names, [name, fence]);
  }
});

test('what genValue makes leaves room for a token behind it', (t) => {
  const fencing = true;
  const longest = 16 * KIB - '#t=1790000000000000'.length;
  for (const value of ['v', '\0', 'x'.repeat(longest), '😀']) {
    t.is(checkGeneratedValue(value, { fencing }), value);
  }
  for (const value of ['#', 'a#t=5', 'x'.repeat(longest + 1), ...BAD_RANGE.value]) {
    throws(t, () => checkGeneratedValue(value, { fencing }), RANGE, 'genValue()');
  }
  const { message } = t.throws(() => checkGeneratedValue('hunter2#', { fencing }));
  t.notRegex(message, /hunter2/);
  t.regex(message, /without "#", since the fencing token is put behind it/);
});

// value, its token
const VALUES = [
  ['', undefined],
  ['koTMG+2KhAPWA46OuAl+qw==', undefined],
  ['koTMG+2KhAPWA46OuAl+qw==#t=1790000000000000', 1_790_000_000_000_000],
  ['v#t=1', 1],
  ['#t=5', 5],
  ['v#t=5#o=host:1', 5],
  [`v#t=${MAX_SAFE_INTEGER}`, MAX_SAFE_INTEGER],
  [`v#t=${MAX_SAFE_INTEGER + 1}`, undefined],
  ['v#t=9999999999999999', undefined],
  ['v#t=17900000000000000', undefined],
  ['v#t=0', undefined],
  ['v#t=', undefined],
  ['v#t=-5', undefined],
  ['v#t=1e3', undefined],
  ['v#t=5x', undefined],
  ['v#t=5 ', undefined],
  ['v#o=host:1#t=5', undefined],
  ['vt=5', undefined],
];

for (const [value, token] of VALUES) {
  test(`the token of ${JSON.stringify(value)} is ${token}`, (t) => {
    t.is(tokenOf(value), token);
    if (value === '') return;
    const redsync = new Redsync('memory:');
    t.is(redsync.newMutex('a', { fencing: true, value }).token, token);
    t.is(redsync.newMutex('a', { value }).token, undefined);
  });
}

// --- autoExtend

const MAX_STALL = 60_000;
const THIRD = { interval: 8000 / 3, maxHold: Infinity, maxStall: MAX_STALL };

// autoExtend, what it comes to
const GOOD_EXTENSIONS = [
  [true, THIRD],
  [{}, THIRD],
  [Object.create({ interval: 5 }), { ...THIRD, interval: 5 }],
  [{ interval: undefined, maxHold: undefined, maxStall: undefined }, THIRD],
  [{ interval: 1 }, { ...THIRD, interval: 1 }],
  [{ interval: 7517 }, { ...THIRD, interval: 7517 }],
  [
    { maxHold: 1, maxStall: 1 },
    { ...THIRD, maxHold: 1, maxStall: 1 },
  ],
  [
    { maxHold: MAX_SAFE_INTEGER, maxStall: Infinity },
    { ...THIRD, maxHold: MAX_SAFE_INTEGER, maxStall: Infinity },
  ],
];

for (const [i, [autoExtend, extension]] of GOOD_EXTENSIONS.entries()) {
  test(`autoExtend: ${label(autoExtend)} is allowed (${i})`, (t) => {
    const results = [
      readMutexOptions({ autoExtend }),
      readRedsyncOptions({ autoExtend }).settings,
      readAcquire({ autoExtend }).settings,
    ];
    for (const settings of results) t.deepEqual({ ...settings.extension }, extension);
    t.true(Object.isFrozen(results[0].extension));
  });
}

const BAD_EXTENSIONS = [
  [TYPE, { interval: [...NO_NUMBERS, fn], maxHold: [...NO_NUMBERS], maxStall: [...NO_NUMBERS] }],
  // 8000 - 80 - 2 - 400: after a round that took as long as it may, this is what is left.
  [
    RANGE,
    {
      interval: [...NO_POSITIVE_INTEGERS, Infinity, 7518, 8000, DAY + 1],
      maxHold: [...NO_POSITIVE_INTEGERS, 2 ** 53],
      maxStall: [...NO_POSITIVE_INTEGERS, 2 ** 53],
    },
  ],
];

for (const [expectation, table] of BAD_EXTENSIONS) {
  for (const [key, values] of Object.entries(table)) {
    for (const [i, value] of values.entries()) {
      const { name } = expectation.instanceOf;
      test(`autoExtend.${key}: ${label(value)} is a ${name} (${i})`, (t) => {
        const input = { autoExtend: { [key]: value } };
        for (const read of [readMutexOptions, readRedsyncOptions, readAcquire]) {
          throws(t, () => read(input), expectation, `options.autoExtend.${key}`);
        }
      });
    }
  }
}

for (const [key, nearest] of [['intervall', 'interval'], ['maxhold', 'maxHold'], ['every']]) {
  test(`unknown option autoExtend.${key}`, (t) => {
    const read = () => readMutexOptions({ autoExtend: { [key]: 1 } });
    const { message } = throws(t, read, TYPE, 'options.autoExtend');
    t.is(/Did you mean "(\w+)"/.exec(message)?.[1], nearest);
    t.regex(message, /Known: interval, maxHold, maxStall$/);
  });
}

test('the fields of autoExtend are read once', (t) => {
  const { input: autoExtend, reads } = counting({ interval: 5, maxHold: 6, maxStall: 7 });
  const { extension } = readMutexOptions({ autoExtend });
  t.deepEqual({ ...extension }, { interval: 5, maxHold: 6, maxStall: 7 });
  t.deepEqual(reads, { interval: 1, maxHold: 1, maxStall: 1 });
});

test('what autoExtend of the Redsync comes to depends on the expiry of the mutex', (t) => {
  const { settings } = readRedsyncOptions({ autoExtend: true });
  t.is(readMutexOptions({ expiry: 300 }, settings).extension.interval, 100);
  t.is(readMutexOptions({ expiry: 300, autoExtend: false }, settings).extension, undefined);

  const { settings: fixed } = readRedsyncOptions({ autoExtend: { interval: 2000, maxHold: 5 } });
  t.deepEqual(
    { ...readMutexOptions({ expiry: 9000 }, fixed).extension },
    { interval: 2000, maxHold: 5, maxStall: MAX_STALL },
  );
  const read = () => readMutexOptions({ expiry: 2000 }, fixed);
  throws(t, read, RANGE, 'options.autoExtend.interval');
  t.notThrows(() => readMutexOptions({ expiry: 2000, autoExtend: { interval: 500 } }, fixed));
});

test.serial('of autoExtend: true nothing is taken from Object.prototype', (t) => {
  for (const key of ['interval', 'maxHold', 'maxStall']) {
    const act = () => ({ ...readMutexOptions({ autoExtend: true }).extension });
    t.deepEqual(polluting(globalThis, key, 7, act), THIRD);
  }
});

test('an attempt began before what its lock is valid for, the drift and a grain', (t) => {
  t.is(beginningOf(10_000, { expiry: 8000, driftFactor: 0.01, timeoutFactor: 0.05 }), 2082);
});

test('an interval that suits the expiry may not suit the factors', (t) => {
  const autoExtend = { interval: 4000 };
  t.notThrows(() => readMutexOptions({ autoExtend }));
  const read = () => readMutexOptions({ autoExtend, timeoutFactor: 0.5 });
  throws(t, read, RANGE, 'options.autoExtend.interval');
});

test('using() keeps the lock alive unless told how', (t) => {
  t.deepEqual({ ...autoExtended(readMutexOptions()).extension }, THIRD);
  t.deepEqual({ ...autoExtended(readMutexOptions({ autoExtend: false })).extension }, THIRD);
  const settings = readMutexOptions({ autoExtend: { interval: 5 } });
  t.is(autoExtended(settings), settings);
  t.false(readMutexOptions().autoExtend);
});

test('acquire() and using() take the options of a mutex and a signal', (t) => {
  const { signal } = new AbortController();
  const defaults = readRedsyncOptions({ tries: 3 }).settings;
  t.deepEqual(readAcquireOptions(undefined, defaults), { settings: defaults, signal: undefined });
  const { settings, signal: read } = readAcquireOptions({ expiry: 900, signal }, defaults);
  t.is(read, signal);
  t.deepEqual(settings, { ...DEFAULTS, tries: 3, expiry: 900 });
  throws(t, () => readAcquireOptions({ signal: true }, defaults), TYPE, 'options.signal');
  throws(t, () => readAcquireOptions({ keyPrefix: 'k' }, defaults), TYPE, 'options');
  throws(t, () => readAcquireOptions({ timeout: 5 }, defaults), TYPE, 'options');
});

test('settings are copies', (t) => {
  const input = { tries: 2 };
  const { settings } = readRedsyncOptions(input);
  input.tries = 3;
  t.is(settings.tries, 2);
  t.is(readMutexOptions({ tries: 4 }, settings).tries, 4);
  t.true(autoExtended(settings).autoExtend);
  t.deepEqual(settings, { ...DEFAULTS, tries: 2 });
  t.deepEqual(readMutexOptions(), DEFAULTS);
});

// --- the options object

const NO_OBJECTS = [null, 1, 'a', true, 1n, Symbol('a'), [], [{}], fn];
const readAcquire = (input) => readAcquireOptions(input, readMutexOptions());
const READERS = { readMutexOptions, readRedsyncOptions, readCallOptions, readAcquire };

for (const [name, read] of Object.entries(READERS)) {
  for (const value of NO_OBJECTS) {
    test(`${name}(${label(value)}) is a TypeError`, (t) => {
      throws(t, () => read(value), TYPE, 'options');
    });
  }
}

const UNKNOWN = [
  ['tires', 'tries'],
  ['Expiry', 'expiry'],
  ['setNxOnExtend', 'setNXOnExtend'],
  ['retryDelays', 'retryDelay'],
  ['autoextend', 'autoExtend'],
  ['fenceing', 'fencing'],
  ['Fencing', 'fencing'],
  ['permit', 'permits'],
  ['mod', 'mode'],
  ['ttl', 'expiry'],
  ['__proto__'],
  ['constructor'],
  ['toString'],
  [''],
  ['x'.repeat(1e6)],
  ['\ud800"\n'],
];

for (const [key, nearest] of UNKNOWN) {
  test(`unknown option ${label(key)}`, (t) => {
    const input = Object.fromEntries([[key, undefined]]);
    for (const read of Object.values(READERS)) {
      const { message } = throws(t, () => read(input), TYPE, 'options');
      t.true(message.includes(JSON.stringify(key.slice(0, 40))));
    }
    const { message } = t.throws(() => readMutexOptions(input));
    t.regex(
      message,
      /Known: expiry, tries, .*setNXOnExtend, autoExtend, fencing, permits, mode, holdAtLeast, reentrant$/,
    );
    t.is(/Did you mean "(\w+)"/.exec(message)?.[1], nearest);
  });
}

test('the Redsync knows quarantine, and what was most likely meant', (t) => {
  for (const key of ['quarentine', 'Quarantine', 'quarantined']) {
    const { message } = throws(t, () => readRedsyncOptions({ [key]: true }), TYPE, 'options');
    t.regex(message, /Did you mean "quarantine"\? Known: .*, keyPrefix, owner, quarantine$/);
  }
});

test('every option is read once, and what it becomes later is not seen', (t) => {
  const { extension: derived, ...fields } = {
    ...DEFAULTS,
    retryDelay: 5,
    genValue: fn,
    value: 'v',
    keyPrefix: 'k',
    owner: 'me',
  };
  const { input, reads } = counting(fields);
  const {
    keyPrefix,
    owner,
    settings: { extension, ...settings },
  } = readRedsyncOptions(input);
  t.deepEqual({ ...settings, keyPrefix, owner }, fields);
  t.is(extension, derived);
  t.deepEqual(new Set(Object.values(reads)), new Set([1]));
  t.is(Object.keys(reads).length, 20);
});

test('a throwing getter propagates', (t) => {
  const thrown = new Error('mine');
  const input = {
    get tries() {
      throw thrown;
    },
  };
  t.is(
    t.throws(() => readMutexOptions(input)),
    thrown,
  );
  const deny = new Proxy(
    {},
    {
      get: () => {
        throw thrown;
      },
    },
  );
  t.is(
    t.throws(() => readMutexOptions(deny)),
    thrown,
  );
});

test('inherited options count, so class instances and Object.create() work', (t) => {
  t.is(readMutexOptions(Object.create({ tries: 5 })).tries, 5);
  t.is(readMutexOptions(Object.assign(Object.create(null), { tries: 6 })).tries, 6);
  t.throws(() => readMutexOptions(Object.create({ tries: 0 })), RANGE);
});

test('a transparent proxy works', (t) => {
  t.is(readMutexOptions(new Proxy({ tries: 5 }, {})).tries, 5);
});

test('a proxy may have more to say than its keys', (t) => {
  const input = new Proxy({ tries: 5 }, { get: (o, key) => (key === 'expiry' ? 4000 : o[key]) });
  t.like(readMutexOptions(input), { tries: 5, expiry: 4000 });
});

test('of a literal all counts that is its own, whether or not a loop finds it', (t) => {
  const hidden = (input, key, value) => Object.defineProperty(input, key, { value });
  t.like(readMutexOptions(hidden({ expiry: 4000 }, 'tries', 5)), { tries: 5, expiry: 4000 });
  t.throws(() => readMutexOptions(hidden({}, 'tries', 0)), RANGE);
  t.is(readMutexOptions(hidden({ tries: 5 }, 'mine', 1)).tries, 5);
  t.is(readMutexOptions({ tries: 5, [Symbol('mine')]: 1 }).tries, 5);
});

test('of options of which one is unknown, none is read', (t) => {
  for (const read of Object.values(READERS)) {
    const { input, reads } = counting({ signal: undefined, tries: 5, expiry: 4000, ttl: 1 });
    throws(t, () => read(input), TYPE, 'options');
    t.deepEqual(reads, {});
  }
});

/** Every option of the reader, as its own error lists them. */
function known(read) {
  try {
    read({ 'no option': 1 });
  } catch ({ message }) {
    return /Known: (.*)$/.exec(message)[1].split(', ');
  }
  throw new Error('an unknown option was taken');
}

function polluting(realm, key, value, act) {
  Object.defineProperty(realm.Object.prototype, key, {
    value,
    configurable: true,
    enumerable: true,
    writable: true,
  });
  try {
    return act();
  } finally {
    delete realm.Object.prototype[key];
  }
}

const PEM = '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n';
const POLLUTION = {
  ...Object.fromEntries(Object.entries(GOOD).map(([key, values]) => [key, values[0]])),
  autoExtend: true,
  keyPrefix: 'evil',
  owner: 'evil',
  signal: new AbortController().signal,
  timeout: 5,
  interval: 7,
  maxHold: 7,
  maxStall: 7,
  url: 'redis://evil',
  host: 'evil',
  port: 7,
  path: '/evil',
  username: 'evil',
  password: 'evil',
  db: 7,
  tls: true,
  sentinels: [{ host: 'evil' }],
  masterName: 'evil',
  sentinelUsername: 'evil',
  sentinelPassword: 'evil',
  cluster: [{ host: 'evil' }],
  connectTimeout: 7,
  clientName: 'evil',
  ca: PEM,
  fingerprint256: 'AB'.repeat(32),
  cert: PEM,
  key: PEM,
  servername: 'evil',
};

const pool = { get: () => {} };
const keyed = { key: PEM, cert: PEM };
const READ_FROM = [
  ['newMutex()', readMutexOptions, {}],
  ['newMutex() with autoExtend', readMutexOptions, { autoExtend: {} }],
  ['autoExtend', (autoExtend) => readMutexOptions({ autoExtend }), {}],
  ['a Redsync', readRedsyncOptions, {}],
  ['newMutex() with wait', readMutexOptions, { wait: 5 }],
  ['newSemaphore()', (input) => readSemaphoreOptions(2, input), {}],
  ['newSemaphore() with wait', (input) => readSemaphoreOptions(2, input), { wait: 5 }],
  ['newReadWriteLock()', readReadWriteOptions, {}],
  ['newReadWriteLock() with wait', readReadWriteOptions, { wait: 5 }],
  ['acquire()', (input) => readAcquireOptions(input, readMutexOptions()), {}],
  ['lead()', (input) => readLeadOptions(input, readMutexOptions()), {}],
  ['a call', readCallOptions, {}],
  ['a call with a timeout', (input) => readCallOptions(input, ['signal', 'timeout']), {}],
  ['a node', readNodes, { host: 'a' }],
  ['a node by URL', readNodes, { url: 'redis://a' }],
  ['a master', readNodes, { sentinels: [{ host: 'a' }], masterName: 'm' }],
  ['a cluster', readNodes, { cluster: [{ host: 'a' }] }],
  ['a seed', (seed) => readNodes({ cluster: [seed] }), { host: 'a' }],
  ['tls', (tls) => readNodes({ host: 'a', tls }), {}],
  ['tls with a key', (tls) => readNodes({ host: 'a', tls }), keyed],
];

for (const [what, read, input] of READ_FROM) {
  test.serial(`no option of ${what} is taken from Object.prototype`, (t) => {
    const expected = read(input);
    const fields = known(read);
    t.true(fields.length > 0);
    for (const field of [
      ...fields,
      'rejectUnauthorized',
      'secret',
      'listed',
      'get',
      'set',
      'aborted',
    ]) {
      const value = POLLUTION[field] ?? fn;
      if (fields.includes(field)) t.true(field in POLLUTION, field);
      t.deepEqual(
        polluting(globalThis, field, value, () => read(input)),
        expected,
        field,
      );
      // The option itself counts, polluted or not.
      if (!Object.hasOwn(input, field)) continue;
      t.deepEqual(
        polluting(globalThis, field, 0, () => read(input)),
        expected,
        field,
      );
    }
    // An object of another realm has another Object.prototype.
    const realm = createContext();
    const { Object: Theirs } = runInContext('({ Object })', realm);
    const foreign = Theirs.assign(runInContext('({})', realm), input);
    for (const field of fields) {
      const value = POLLUTION[field];
      const act = () => read(foreign);
      t.deepEqual(
        polluting({ Object: Theirs }, field, value, act),
        expected,
        `${field}, elsewhere`,
      );
    }
  });
}

test.serial('neither is what a pool says of itself, or what a client is told by', (t) => {
  const expected = readNodes(pool);
  for (const [field, value] of [
    ['endpoint', 'evil'],
    ['isCluster', true],
  ]) {
    t.deepEqual(
      polluting(globalThis, field, value, () => readNodes(pool)),
      expected,
      field,
    );
  }
  for (const field of ['get', 'set', 'sendCommand', 'duplicate', 'clearSocketTimeout']) {
    const act = () => readNodes({ host: 'a' });
    t.deepEqual(polluting(globalThis, field, fn, act), act(), field);
  }
});

test.serial('what a class says counts, also while Object.prototype is polluted', (t) => {
  class Options {
    get tries() {
      return 5;
    }
  }
  class More extends Options {
    expiry = 4000;
  }
  const act = () => readMutexOptions(new More());
  t.like(act(), { tries: 5, expiry: 4000 });
  t.like(polluting(globalThis, 'tries', 9, act), { tries: 5, expiry: 4000 });
  t.like(polluting(globalThis, 'expiry', 9, act), { tries: 5, expiry: 4000 });
  const bare = Object.create(Object.assign(Object.create(null), { tries: 6 }));
  t.is(polluting(globalThis, 'tries', 9, () => readMutexOptions(bare)).tries, 6);
});

test('a proxy without an end of prototypes is no endless loop', (t) => {
  const endless = new Proxy({}, { getPrototypeOf: () => endless });
  t.deepEqual(readMutexOptions(endless), readMutexOptions({}));
});

// --- names

const GOOD_NAMES = [
  ['a', ['a']],
  ['x'.repeat(KIB), ['x'.repeat(KIB)]],
  ['ü'.repeat(KIB / 2), ['ü'.repeat(KIB / 2)]],
  ['\0', ['\0']],
  ['😀', ['😀']],
  [['a'], ['a']],
  [
    ['b', 'a'],
    ['b', 'a'],
  ],
  [Array.from({ length: 64 }, (_, i) => `${i}`), Array.from({ length: 64 }, (_, i) => `${i}`)],
];

for (const [name, expected] of GOOD_NAMES) {
  test(`name ${label(name)} is allowed`, (t) => {
    const names = readNames(name);
    t.deepEqual([...names], expected);
    t.true(Object.isFrozen(names));
    t.not(names, name);
  });
}

const BAD_NAMES = [
  ...[undefined, null, 1, true, {}, new Set(['a']), { 0: 'a', length: 1 }, fn, Symbol('a')].map(
    (name) => [name, TYPE, 'name'],
  ),
  ['', RANGE, 'name'],
  ['x'.repeat(KIB + 1), RANGE, 'name'],
  ['ü'.repeat(KIB), RANGE, 'name'],
  ['x'.repeat(5e7), RANGE, 'name'],
  ...ILL_FORMED.map((name) => [name, RANGE, 'name']),
  [[], RANGE, 'name'],
  [new Array(65).fill('a'), RANGE, 'name'],
  [new Array(2 ** 32 - 1), RANGE, 'name'],
  [['a', 1], TYPE, 'name[1]'],
  [['a', ['b']], TYPE, 'name[1]'],
  [['a', null], TYPE, 'name[1]'],
  [new Array(2), TYPE, 'name[0]'],
  [['a', 'b', ''], RANGE, 'name[2]'],
  [['a', 'b', '\ud800'], RANGE, 'name[2]'],
  [['a', 'b', 'a'], RANGE, 'name[2]'],
];

for (const [i, [name, expectation, argument]] of BAD_NAMES.entries()) {
  test(`name ${label(name)} is a ${expectation.instanceOf.name} (${i})`, (t) => {
    throws(t, () => readNames(name), expectation, argument);
  });
}

test('each name is read once', (t) => {
  const { input, reads } = counting({ 0: 'a', 1: 'b' });
  const array = Object.defineProperties([], Object.getOwnPropertyDescriptors(input));
  t.deepEqual([...readNames(array)], ['a', 'b']);
  t.deepEqual(reads, { 0: 1, 1: 1 });
});

test('a pattern is a name with wildcards, and all names unless it is given', (t) => {
  t.is(readPattern(undefined), '*');
  t.is(readPattern('a*'), 'a*');
  throws(t, () => readPattern(null), TYPE, 'pattern');
  throws(t, () => readPattern(''), RANGE, 'pattern');
  throws(t, () => readPattern('x'.repeat(KIB + 1)), RANGE, 'pattern');
});

// --- call options

const CALL_OPTIONS = ['signal', 'timeout', 'permits', 'drain', 'limit'];

test('call options', (t) => {
  const { signal } = new AbortController();
  const both = ['signal', 'timeout'];
  const none = Object.fromEntries(CALL_OPTIONS.map((key) => [key, undefined]));
  t.deepEqual(readCallOptions(undefined), none);
  t.deepEqual(readCallOptions({}), none);
  t.is(readCallOptions({ signal }).signal, signal);
  t.is(readCallOptions({ signal, timeout: 5 }, both).timeout, 5);
  t.is(readCallOptions({ timeout: 2 ** 31 - 1 }, ['timeout']).timeout, 2 ** 31 - 1);
  throws(t, () => readCallOptions({ timeout: 5 }), TYPE, 'options');
  throws(t, () => readCallOptions({ signal }, ['timeout']), TYPE, 'options');
});

test('call options are read once', (t) => {
  const { signal } = new AbortController();
  const all = { signal, timeout: 7, permits: 3, drain: 0, limit: 9 };
  const { input, reads } = counting(all);
  t.deepEqual(readCallOptions(input, CALL_OPTIONS), all);
  t.deepEqual(reads, { signal: 1, timeout: 1, permits: 1, drain: 1, limit: 1 });
});

test('a signal that is passed for the options is a TypeError', (t) => {
  throws(t, () => readCallOptions(new AbortController().signal), TYPE, 'options');
  throws(t, () => readAcquire(new AbortController().signal), TYPE, 'options');
});

test('signals of another realm will do', (t) => {
  const signal = runInContext(
    '({ aborted: false, addEventListener() {}, removeEventListener() {} })',
    createContext(),
  );
  t.is(readCallOptions({ signal }).signal, signal);
});

const NO_SIGNALS = [
  ...[null, true, 'abort', fn, {}, []],
  ...[new AbortController(), { aborted: false }, new EventTarget()],
];
for (const signal of NO_SIGNALS) {
  test(`signal: ${label(signal)} is a TypeError`, (t) => {
    throws(t, () => readCallOptions({ signal }), TYPE, 'options.signal');
  });
}

for (const timeout of [...NO_NUMBERS, fn]) {
  test(`timeout: ${label(timeout)} is a TypeError`, (t) => {
    throws(t, () => readCallOptions({ timeout }, ['timeout']), TYPE, 'options.timeout');
  });
}

for (const timeout of [...NO_POSITIVE_INTEGERS, Infinity, 2 ** 31]) {
  test(`timeout: ${label(timeout)} is a RangeError`, (t) => {
    throws(t, () => readCallOptions({ timeout }, ['timeout']), RANGE, 'options.timeout');
  });
}

// --- what the caller's functions return

const RESULTS = [
  [
    checkRetryDelay,
    'retryDelay()',
    [0, 0.5, 1, DAY],
    [...NO_NUMBERS, undefined, Promise.resolve(1)],
    [NaN, -1, -0.1, Infinity, -Infinity, DAY + 1],
  ],
  [
    (value) => checkGeneratedValue(value, { fencing: false }),
    'genValue()',
    [...GOOD.value, 'a#t=5'],
    [...NO_STRINGS, undefined, Promise.resolve('v')],
    BAD_RANGE.value,
  ],
];

for (const [check, argument, good, types, ranges] of RESULTS) {
  for (const value of good) {
    test(`${argument} -> ${label(value)} is allowed`, (t) => t.is(check(value), value));
  }
  for (const [values, expectation] of [
    [types, TYPE],
    [ranges, RANGE],
  ]) {
    for (const [i, value] of values.entries()) {
      test(`${argument} -> ${label(value)} is a ${expectation.instanceOf.name} (${i})`, (t) => {
        throws(t, () => check(value), expectation, argument);
      });
    }
  }
}

test('-0 does not get through as a delay', (t) => {
  t.is(checkRetryDelay(-0), 0);
  t.is(readMutexOptions({ wait: -0 }).wait, 0);
});

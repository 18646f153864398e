'use strict';

// What may be given together with `permits` and `mode`, and what is told of the rest, before any I/O.

const test = require('ava');

const { ModeError, Redsync } = require('../index.js');
const { permitKey, permitOf, readPermitKey } = require('../lib/permits.js');
const { checkGeneratedValue } = require('../lib/values.js');
const { rejection } = require('./helpers/async.js');
const { deadUrl } = require('./helpers/servers.js');

const TYPE = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };
const RANGE = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };
const KIB = 1024;

/** Whoever asked a node would wait for it. */
let silent;
test.before(async () => {
  silent = await deadUrl();
});

const open = (options) => new Redsync(silent, options);

// title, options of the Redsync, name, options of the mutex, argument, reason
const CONFLICTS = [
  ['permits with several names', {}, ['a', 'b'], { permits: 2 }, 'name', /has one permit/],
  ['permits of the Redsync with several names', { permits: 2 }, ['a', 'b'], {}, 'name', /one name/],
  [
    'permits with mode read',
    {},
    'a',
    { permits: 2, mode: 'read' },
    'options.permits',
    /any number/,
  ],
  ['permits with mode write', {}, 'a', { permits: 2, mode: 'write' }, 'options.permits', /alone/],
  [
    'permits of the Redsync with a mode',
    { permits: 2 },
    'a',
    { mode: 'read' },
    'options.permits',
    /mode/,
  ],
  [
    'a mode of the Redsync with permits',
    { mode: 'write' },
    'a',
    { permits: 2 },
    'options.permits',
    /mode/,
  ],
  ['mode read with several names', {}, ['a', 'b'], { mode: 'read' }, 'name', /beside each name/],
  [
    'mode write with several names',
    {},
    ['a', 'b'],
    { mode: 'write' },
    'name',
    /one name with a mode/,
  ],
  [
    'fencing with permits',
    {},
    'a',
    { fencing: true, permits: 2 },
    'options.fencing',
    /no token of one is the last/,
  ],
  [
    'fencing of the Redsync with permits',
    { fencing: true },
    'a',
    { permits: 2 },
    'options.fencing',
    /permits/,
  ],
  [
    'fencing with mode read',
    {},
    'a',
    { fencing: true, mode: 'read' },
    'options.fencing',
    /goes with mode "write"/,
  ],
  [
    'fencing of the Redsync with mode read',
    { fencing: true },
    'a',
    { mode: 'read' },
    'options.fencing',
    /mode/,
  ],
  [
    'setNXOnExtend with mode read',
    {},
    'a',
    { setNXOnExtend: true, mode: 'read' },
    'options.setNXOnExtend',
    /before a writer/,
  ],
  [
    'setNXOnExtend of the Redsync with mode read',
    { setNXOnExtend: true },
    'a',
    { mode: 'read' },
    'options.setNXOnExtend',
    /mode/,
  ],
];

for (const [title, defaults, name, options, argument, reason] of CONFLICTS) {
  test(`${title} is a TypeError that says why`, async (t) => {
    const redsync = open(defaults);
    const routine = () => t.fail('it ran');
    for (const error of [
      t.throws(() => redsync.newMutex(name, options), TYPE),
      await t.throwsAsync(redsync.acquire(name, options), TYPE),
      await t.throwsAsync(redsync.using(name, options, routine), TYPE),
    ]) {
      t.true(error.message.startsWith(`The "${argument}" argument must`), error.message);
      t.regex(error.message, reason);
    }
  });
}

test('what contradicts itself in the Redsync is refused there', (t) => {
  for (const options of [
    { permits: 2, mode: 'read' },
    { permits: 2, fencing: true },
    { mode: 'read', fencing: true },
    { mode: 'read', setNXOnExtend: true },
  ]) {
    t.throws(() => open(options), TYPE);
  }
});

test('what goes together', (t) => {
  const redsync = open();
  for (const [name, options] of [
    [['a', 'b'], { permits: 1 }],
    ['a', { permits: 1, mode: 'read' }],
    ['a', { permits: 1, fencing: true }],
    ['a', { permits: 2, setNXOnExtend: true }],
    ['a', { permits: 1000, autoExtend: true, failFast: true, shufflePools: true }],
    ['a', { mode: 'write', fencing: true }],
    ['a', { mode: 'write', setNXOnExtend: true }],
    ['a', { mode: 'read', autoExtend: true }],
  ]) {
    t.notThrows(() => redsync.newMutex(name, options), JSON.stringify(options));
  }
  const defaults = { permits: 3, fencing: false };
  t.notThrows(() => open(defaults).newMutex(['a', 'b'], { permits: 1 }));
  t.notThrows(() => open(defaults).newMutex('a', { permits: 1, fencing: true }));
});

test('a mutex tells its permits and its mode', (t) => {
  const redsync = open();
  const plain = redsync.newMutex('a');
  t.deepEqual([plain.permits, plain.mode], [1, undefined]);
  t.is(redsync.newMutex('a', { permits: 7 }).permits, 7);
  t.is(open({ permits: 4 }).newMutex('a').permits, 4);
  for (const mode of ['read', 'write']) t.is(redsync.newMutex('a', { mode }).mode, mode);
  t.throws(() => (plain.permits = 2), { instanceOf: TypeError });
  t.throws(() => (plain.mode = 'read'), { instanceOf: TypeError });
});

// --- newSemaphore

test('a semaphore is a mutex of so many permits', (t) => {
  const redsync = open({ expiry: 500 });
  for (const limit of [1, 5, 1000]) {
    const semaphore = redsync.newSemaphore('a', limit);
    t.deepEqual([semaphore.name, semaphore.permits, semaphore.mode], ['a', limit, undefined]);
  }
  t.is(redsync.newSemaphore('a', 3, { tries: 1 }).permits, 3);
  t.is(redsync.newSemaphore('a', 3, { permits: 3 }).permits, 3);
  t.is(open({ permits: 9 }).newSemaphore('a', 3).permits, 3);
});

for (const limit of [undefined, null, '5', 5n, true, {}, [5], () => 5, Symbol('5')]) {
  test(`a limit of ${String(limit)} (${typeof limit}) is a TypeError`, (t) => {
    const { message } = t.throws(() => open().newSemaphore('a', limit), TYPE);
    t.regex(message, /^The "limit" argument must be an integer from 1 to 1000\. Received/);
  });
}

for (const limit of [0, -1, 1.5, NaN, Infinity, 1001, 2 ** 53]) {
  test(`a limit of ${limit} is a RangeError`, (t) => {
    const { message } = t.throws(() => open().newSemaphore('a', limit), RANGE);
    t.regex(message, /^The "limit" argument must be an integer from 1 to 1000\. Received/);
  });
}

test('permits that contradict the limit are a TypeError', (t) => {
  const { message } = t.throws(() => open().newSemaphore('a', 3, { permits: 4 }), TYPE);
  t.regex(message, /"options\.permits".*limit, 3\. Received 4$/);
});

test('a semaphore has no mode, wherever it comes from', (t) => {
  for (const limit of [1, 3]) {
    for (const mode of ['read', 'write']) {
      t.throws(() => open().newSemaphore('a', limit, { mode }), TYPE);
      t.throws(() => open({ mode }).newSemaphore('a', limit), TYPE);
    }
  }
  const { message } = t.throws(() => open().newSemaphore('a', 1, { mode: 'read' }), TYPE);
  t.regex(message, /"options\.mode".*no readers and writers/);
});

// --- newReadWriteLock

test('a read-write lock is two mutexes of one name', (t) => {
  const lock = open().newReadWriteLock('a', { expiry: 500 });
  t.true(Object.isFrozen(lock));
  t.deepEqual(Object.keys(lock), ['read', 'write']);
  t.deepEqual([lock.read.name, lock.read.mode], ['a', 'read']);
  t.deepEqual([lock.write.name, lock.write.mode], ['a', 'write']);
  t.notThrows(() => open().newReadWriteLock('a', { permits: 1, mode: undefined }));
});

test('a read-write lock has both modes, and no permits', (t) => {
  for (const mode of ['read', 'write']) {
    const { message } = t.throws(() => open().newReadWriteLock('a', { mode }), TYPE);
    t.regex(message, /"options\.mode".*both modes/);
  }
  t.throws(() => open().newReadWriteLock('a', { permits: 2 }), TYPE);
  t.throws(() => open({ permits: 2 }).newReadWriteLock('a'), TYPE);
  t.throws(() => open().newReadWriteLock('a', { fencing: true }), TYPE);
  t.throws(() => open().newReadWriteLock('a', { mode: 'both' }), RANGE);
});

for (const make of ['newSemaphore', 'newReadWriteLock']) {
  test(`${make}() takes one name, and options of a mutex`, (t) => {
    const redsync = open();
    const made = (name, options) =>
      make === 'newSemaphore'
        ? redsync.newSemaphore(name, 2, options)
        : redsync[make](name, options);
    for (const name of [['a'], ['a', 'b'], undefined, null, 5]) {
      const { message } = t.throws(() => made(name), TYPE);
      t.true(message.startsWith('The "name" argument must be a well-formed string'), message);
    }
    t.throws(() => made(''), RANGE);
    for (const options of [null, 5, 'a', []]) t.throws(() => made('a', options), TYPE);
    t.throws(() => made('a', { keyPrefix: 'k' }), { ...TYPE, message: /unknown option/ });
    t.throws(() => made('a', { expiry: 0 }), RANGE);
  });
}

test('options are read once', (t) => {
  let reads = 0;
  const options = {
    get permits() {
      reads += 1;
      return reads === 1 ? 1 : 'changed';
    },
  };
  open().newReadWriteLock('a', options);
  t.is(reads, 1);
});

// --- values

// value, its permit
const VALUES = [
  ['', 1],
  ['koTMG+2KhAPWA46OuAl+qw==', 1],
  ['koTMG+2KhAPWA46OuAl+qw==#p=2', 2],
  ['v#p=1000', 1000],
  ['v#p=3#o=host:1', 3],
  ['v#p=3x', 1],
  ['v#p=', 1],
  ['v#p=-3', 1],
  ['v#o=host#p=3', 1],
  ['v#t=5', 1],
];

for (const [value, permit] of VALUES) {
  test(`the permit of ${JSON.stringify(value)} is ${permit}`, (t) => t.is(permitOf(value), permit));
}

test('each permit has a key of its own, the first the one of the name', (t) => {
  t.is(permitKey('a', 1), 'a');
  t.is(permitKey('a', 2), 'a:permit:2');
  t.is(permitKey('k:a', 1000), 'k:a:permit:1000');
});

// key, the name and the permit that it is of
const KEYS = [
  ['a:permit:2', 'a', 2],
  ['a:permit:12', 'a', 12],
  ['a:permit:999', 'a', 999],
  ['a:permit:1000', 'a', 1000],
  ['a\nb:permit:3', 'a\nb', 3],
  ['a:permit:2:permit:3', 'a:permit:2', 3],
  ...['a', 'a:permit:', 'a:permit:0', 'a:permit:1', 'a:permit:02', 'a:permit:1001'].map(itself),
  ...['a:permit:2 ', 'a:permit:x', 'a:permit:2x', ':permit:2'].map(itself),
];

function itself(key) {
  return [key, key, 1];
}

for (const [key, name, permit] of KEYS) {
  test(`the key ${JSON.stringify(key)} is of permit ${permit}`, (t) => {
    t.deepEqual(readPermitKey(key), { name, permit });
  });
}

test('a value of a permit that the mutex does not have is a RangeError', (t) => {
  const redsync = open();
  for (const value of [
    'hunter2#p=9',
    'hunter2#p=6',
    'hunter2#p=0',
    `hunter2#p=${'9'.repeat(400)}`,
  ]) {
    const { message } = t.throws(() => redsync.newMutex('a', { permits: 5, value }), RANGE);
    t.regex(message, /^The "options\.value" argument must be of one of the 5 permits/);
    t.notRegex(message, /hunter2/);
    t.throws(() => redsync.newSemaphore('a', 5, { value }), RANGE);
  }
  for (const value of ['v', 'v#p=2', 'v#p=5']) {
    t.is(redsync.newMutex('a', { permits: 5, value }).value, value);
  }
  // A plain mutex takes any value: it is its caller's.
  t.notThrows(() => redsync.newMutex('a', { value: 'v#p=9' }));
});

test('what genValue makes leaves room for a permit behind it', (t) => {
  const settings = { fencing: false, permits: 2 };
  const longest = 16 * KIB - '#p=1000'.length;
  for (const value of ['v', 'x'.repeat(longest)]) t.is(checkGeneratedValue(value, settings), value);
  for (const value of ['#', 'a#p=1', '#readers', 'x'.repeat(longest + 1), '']) {
    const { message } = t.throws(() => checkGeneratedValue(value, settings), RANGE);
    t.true(message.startsWith('The result of "genValue()" must be'), message);
  }
  const { message } = t.throws(() => checkGeneratedValue('hunter2#', settings), RANGE);
  t.regex(message, /without "#", since the permit is put behind it/);
  t.notRegex(message, /hunter2/);
  t.is(checkGeneratedValue('a#p=1', { fencing: false, permits: 1 }), 'a#p=1');
});

test('what stands for all who read is nobody’s value', (t) => {
  // A release by it would let a writer in among them.
  const value = '#readers';
  for (const options of [{}, { mode: 'read' }, { mode: 'write' }, { permits: 3 }]) {
    const { message } = t.throws(() => open().newMutex('a', { ...options, value }), RANGE);
    t.regex(message, /"options\.value".*of all who read/);
    if (options.permits) continue;
    t.throws(() => checkGeneratedValue(value, { fencing: false, permits: 1, ...options }), RANGE);
  }
});

// --- clusters

test('on a Redis Cluster a name with a mode has a slot that other keys can be put in', (t) => {
  const redsync = new Redsync('redis+cluster://127.0.0.1:1');
  for (const mode of ['read', 'write']) {
    for (const name of ['a', '{t}a', 'a{t}b}']) {
      t.notThrows(() => redsync.newMutex(name, { mode }), name);
    }
    for (const name of ['a}', '{}a', '}']) {
      const { message } = t.throws(() => redsync.newMutex(name, { mode }), TYPE);
      t.true(message.includes(`${JSON.stringify(name)} has no slot`), message);
    }
  }
  for (const name of ['a', 'a}', '{}a']) {
    t.notThrows(() => redsync.newSemaphore(name, 3), 'each permit is a lock of its own');
  }
});

// --- locks

const held = (t, options) => {
  const redsync = new Redsync('memory:');
  t.teardown(() => redsync.close());
  return redsync.acquire('a', options);
};

test('upgrade() says why it does not exist', async (t) => {
  const lock = await held(t);
  const error = await rejection(lock.upgrade());
  t.true(error instanceof ModeError);
  t.is(error.code, 'ERR_LOCK_MODE');
  t.regex(error.message, /^lock "a": upgrade\(\) is for a lock of mode "read" or "write"$/);
  t.true(await lock.unlock());
});

test('downgrade() is for a lock of mode write', async (t) => {
  const lock = await held(t);
  t.is(lock.mode, undefined);
  const error = await rejection(lock.downgrade());
  t.true(error instanceof ModeError);
  t.regex(error.message, /^lock "a": downgrade\(\) is for a lock of mode "read" or "write"$/);
  t.true(await lock.extend(), 'it is what it was');
  t.true(await lock.unlock());
});

// --- inspect

for (const permits of [null, '3', 0, 1001, 1.5]) {
  test(`inspect() of ${JSON.stringify(permits)} permits is refused`, async (t) => {
    const error = await rejection(open().inspect('a', { permits }));
    t.is(error instanceof (typeof permits === 'number' ? RangeError : TypeError), true);
    t.regex(error.message, /"options\.permits" argument must be an integer from 1 to 1000/);
  });
}

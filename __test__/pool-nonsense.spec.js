'use strict';

// Pools that answer nonsense, or keep no promise of a promise: they are nodes that have failed, and no
// other Redsync of the process notices.

const test = require('ava');

const { FailedError, Redsync } = require('../index.js');
const calls = require('../lib/calls.js');
const { SCRIPTS } = require('../lib/scripts.js');
const { rejection, until } = require('./helpers/async.js');
const { believed } = require('./helpers/believed.js');

const PATIENT = { expiry: 20_000, timeoutFactor: 0.5, tries: 1 };
const HASTY = { expiry: 20_000, timeoutFactor: 0.01, tries: 1 };

function open(t, nodes, options = PATIENT) {
  const redsync = new Redsync(nodes, options);
  t.teardown(() => redsync.close());
  return redsync;
}

/** A pool in this process that does all as it should, but for these methods of its connections. */
function memoryPool(methods = {}) {
  const stored = new Map();
  const store = (key, value, expiry) => stored.set(key, { value, end: Date.now() + expiry });
  const honest = {
    async setNX(key, value, expiry) {
      return !stored.has(key) && Boolean(store(key, value, expiry));
    },
    async eval({ sha1 }, keys, [value, expiry]) {
      const there = keys.map((key) => stored.get(key)?.value);
      if (sha1 === SCRIPTS.inspect.sha1) {
        const found = stored.get(keys[0]);
        return found ? `${found.end - Date.now()} ${found.value}` : null;
      }
      if (sha1 === SCRIPTS.acquire.sha1) {
        if (there.some((other) => other !== undefined)) return 0;
        for (const key of keys) store(key, value, expiry);
        return 1;
      }
      if (there.some((other) => other !== undefined && other !== value)) return 0;
      if (there.includes(undefined)) return -1;
      if (sha1 === SCRIPTS.release.sha1) for (const key of keys) stored.delete(key);
      return 1;
    },
    async pttl() {
      return -2;
    },
    close() {},
  };
  const pool = { methods, stored, get: () => ({ ...honest, ...pool.methods }) };
  return pool;
}

test('a pool in this process is as good as any', async (t) => {
  const pool = memoryPool();
  const redsync = open(t, pool);
  t.is((await believed(redsync))[0].status, 'up');
  const lock = await redsync.newMutex('name').lock();
  t.is(await redsync.newMutex('name').tryLock(), null);
  t.is((await redsync.inspect('name'))[0].value, lock.value);
  t.true(await lock.extend());
  t.true(await lock.unlock());
  await until(() => pool.stored.size === 0);
});

/** All is well with a Redsync that has nothing to do with these pools. */
async function unharmed(t, act) {
  const other = open(t, 'memory:');
  const locking = [];
  for (let i = 0; i < 400; i++) {
    locking.push(other.newMutex(`name ${i}`).lock());
    if (i % 20 === 0) act();
    if (i % 7 === 0) await new Promise(setImmediate);
  }
  const locks = await Promise.all(locking);
  t.deepEqual(
    await Promise.all(locks.map((lock) => lock.unlock())),
    locks.map(() => true),
  );
}

for (const [title, replies] of Object.entries({
  'halves of a character': ['5200 \ud83d', '\ude00', '\ud83d', '5200 \ude00'],
  'texts without an end': ['5200 '.padEnd(1e6, 'x'), `${'9'.repeat(1e5)} x`, 'x'.repeat(1e6)],
  'texts that say nothing': ['', ' ', 'x', '5200', '-', '1e3 x', '1\tx', '5200\nx'],
})) {
  test(`what a pool has found is bounded and well-formed: ${title}`, async (t) => {
    const redsyncs = replies.map((reply) => open(t, memoryPool({ eval: async () => reply })));
    const inspecting = [];
    const inspect = () => redsyncs.forEach((each) => inspecting.push(each.inspect('name')));
    await unharmed(t, inspect);
    for (const [found] of await Promise.all(inspecting)) {
      if (found.status === 'held') {
        t.true(found.value.isWellFormed() && found.value.length <= 16_384);
      } else {
        t.is(found.error?.cause.code, 'EPROTO');
      }
    }
  });
}

test('what crosses to the engine is made well-formed, whatever it is', async (t) => {
  const other = open(t, 'memory:');
  const locking = other.newMutex('before').lock();
  calls.answerPool(0, 0, 0, calls.VOTE.FAILED, 'E\ud83d', '\ude00');
  calls.answer(0, 0, '\ud83d');
  calls.answer(0, 0, '\ude00');
  const lock = await other.newMutex('after').lock();
  t.true(await lock.unlock());
  t.true(await (await locking).unlock());
});

const boom = () => {
  throw new Error('boom');
};
const trap = new Proxy({}, new Proxy({}, { get: () => boom }));
const unreadable = { toString: boom, valueOf: boom, [Symbol.toPrimitive]: boom };
const odd = (own) => Object.defineProperties(Promise.resolve(true), own);

// What a method may give back instead of a promise of an answer.
const NONSENSE = {
  'a trap': () => trap,
  'a promise of a trap': () => ({
    then: (resolve) => resolve({ then: undefined, toString: boom }),
  }),
  'something that is not text': async () => unreadable,
  'a symbol': () => Symbol('x'),
  'a function': () => boom,
  'a buffer that lies': async () => Object.assign(Buffer.from('1'), { toString: boom }),
  'a promise of another kind': () => odd({ constructor: { get: boom } }),
  'a promise whose then() throws': () => odd({ then: { value: boom } }),
  'a promise whose then() cannot be read': () => odd({ then: { get: boom } }),
  'a promise that settles twice': () =>
    odd({
      then: {
        value: (resolve, reject) => {
          resolve({});
          reject(new Error('x'));
          resolve({});
        },
      },
    }),
  'a thenable that throws': () => ({ then: boom }),
  'a thenable that settles and throws': () => ({
    then(resolve) {
      resolve({});
      boom();
    },
  }),
  'a thenable that settles twice': () => ({
    then(resolve, reject) {
      resolve({});
      reject(new Error('x'));
      resolve(true);
    },
  }),
  'a thenable that cannot be read': () => ({
    get then() {
      return boom();
    },
  }),
  'a thenable that can be read once': () => {
    let reads = 0;
    return {
      get then() {
        return reads++ === 0 ? (resolve) => resolve({}) : boom();
      },
    };
  },
  'a thenable that never settles': () => ({ then() {} }),
};

for (const [title, give] of Object.entries(NONSENSE)) {
  for (const method of ['setNX', 'eval', 'pttl', 'get']) {
    test.serial(
      `a pool that gives nonsense is a node that has failed: ${method}() gives ${title}`,
      async (t) => {
        const pool = memoryPool();
        const redsync = open(t, pool, HASTY);
        await believed(redsync);
        const held = await open(t, pool).newMutex('held').lock();
        if (method === 'get') pool.get = give;
        else pool.methods = { [method]: give };
        const ask = () =>
          Promise.allSettled([
            redsync.newMutex('name').lock(),
            redsync.newMutex(['one', 'two']).lock(),
            redsync.newMutex('held', { value: held.value }).valid(),
            redsync.health({ timeout: 50 }),
            redsync.inspect('held', { timeout: 50 }),
          ]);
        let last;
        await unharmed(t, () => {
          last = ask();
        });
        for (const { reason } of await last)
          t.true(reason === undefined || reason instanceof FailedError);
        await redsync.close();
      },
    );
  }
}

test('close() of a connection may do what it likes', async (t) => {
  for (const close of [...Object.values(NONSENSE), boom, async () => boom(), () => null]) {
    const redsync = open(t, memoryPool({ close }));
    t.is((await believed(redsync))[0].status, 'up');
    const lock = await redsync.newMutex('name').lock();
    t.true(await lock.extend());
    t.true(await lock.unlock());
  }
});

test('an answer that comes twice is one answer', async (t) => {
  const twice = (value, other) => () =>
    odd({
      then: {
        value: (resolve) => {
          resolve(value);
          resolve(other);
        },
      },
    });
  const pool = memoryPool();
  let closed = 0;
  const redsync = open(t, pool);
  await believed(redsync);
  pool.methods = {
    eval: twice(1, 0),
    close: () => {
      closed++;
    },
  };
  const mutex = redsync.newMutex('name', { value: 'mine' });
  for (let i = 1; i <= 10; i++) {
    await rejection(mutex.valid()).catch(() => {});
    t.is(closed, i);
  }
});

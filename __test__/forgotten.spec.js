'use strict';

// A lock that nobody keeps alive, and that is garbage before unlock() was called, is warned of once.

const test = require('ava');

const { endedWell, startProcess } = require('./helpers/processes.js');

const NODE_ARGS = ['--expose-gc', '--no-warnings'];

/** Runs `take(redsync)` in a program of its own, drops what it gives, and tells what that is warned of. */
async function warnings(t, take, { count = 1, expects } = {}) {
  const body = async (file, take, count, expects) => {
    const { Redsync } = require(file);
    const { setTimeout: delay } = require('node:timers/promises');
    const warnings = [];
    process.on('warning', ({ code, message }) => warnings.push(`${code} ${message}`));
    const redsync = new Redsync('memory:', { expiry: 600_000 });
    // A function of the spec, which came as text.
    const takeOne = (0, eval)(`(${take})`);
    for (let i = 0; i < count; i++) await takeOne(redsync, i);
    // A collection that has found one has found all before it: this one is to be found in any case.
    let isCollected = false;
    const registry = new FinalizationRegistry(() => (isCollected = true));
    registry.register({}, undefined);
    for (let i = 0; i < 5 || !isCollected || (expects && warnings.length === 0); i++) {
      globalThis.gc();
      await delay(10);
    }
    console.log(JSON.stringify(warnings));
  };
  const args = [String(take), count, expects ?? false];
  const result = await startProcess({ nodeArgs: NODE_ARGS }, body, ...args).ended;
  endedWell(t, result);
  return JSON.parse(result.stdout);
}

const warning = (name) =>
  `REDSYNC_LOCK_DROPPED lock "${name}" was dropped without unlock(): others wait until it expires. ` +
  'If that is meant, call letExpire()';

const FORGOTTEN = {
  'by lock()': (redsync) => redsync.newMutex('job').lock(),
  'by tryLock()': (redsync) => redsync.newMutex('job').tryLock(),
  'by acquire()': (redsync) => redsync.acquire('job'),
  'and extended': async (redsync) => (await redsync.acquire('job')).extend(),
  'as one of several permits': (redsync) => redsync.newSemaphore('job', 2).lock(),
  'by a reader': (redsync) => redsync.newReadWriteLock('job').read.lock(),
  'with its signal read': async (redsync) => (await redsync.acquire('job')).signal.aborted,
};

for (const [title, take] of Object.entries(FORGOTTEN)) {
  test.serial(`a lock that is forgotten is warned of: taken ${title}`, async (t) => {
    t.deepEqual(await warnings(t, take, { expects: true }), [warning('job')]);
  });
}

const NOT_FORGOTTEN = {
  'unlock()': async (redsync) => (await redsync.acquire('job')).unlock(),
  'unlock() of the mutex': async (redsync) => {
    const mutex = redsync.newMutex('job');
    await mutex.lock();
    await mutex.unlock();
  },
  'letExpire()': async (redsync) => (await redsync.acquire('job')).letExpire(),
  'its value was handed on': async (redsync) => (await redsync.acquire('job')).value,
  'the value of the mutex was handed on': async (redsync) => {
    const mutex = redsync.newMutex('job');
    await mutex.lock();
    return mutex.value;
  },
  'using()': (redsync) => redsync.using('job', () => {}),
  'the Redsync was closed': async (redsync) => {
    await redsync.acquire('job');
    await redsync.close();
  },
  'it was acquired elsewhere': async (redsync) => {
    const { value } = await redsync.acquire('job');
    await redsync.newMutex('job', { value }).extend();
  },
  'the Mutex is kept': async (redsync) => {
    globalThis.kept = redsync.newMutex('job');
    await globalThis.kept.lock();
  },
};

for (const [title, take] of Object.entries(NOT_FORGOTTEN)) {
  test.serial(`what was not forgotten is not warned of: ${title}`, async (t) => {
    t.deepEqual(await warnings(t, take), []);
  });
}

test.serial('there is one warning a process', async (t) => {
  const take = (redsync, i) => redsync.acquire(`job ${i}`);
  const all = await warnings(t, take, { count: 100, expects: true });
  t.is(all.length, 1);
  t.regex(all[0], /^REDSYNC_LOCK_DROPPED lock "job \d+" was dropped/);
});

test.serial('one that is forgotten in turns with others is found soon', async (t) => {
  for (const period of [2, 4, 8, 16]) {
    const take = `async (redsync, i) => {
      const lock = await redsync.acquire('job ' + i);
      if (i % ${period} !== ${period - 1}) await lock.unlock();
    }`;
    const [first] = await warnings(t, take, { count: 17 * period, expects: true });
    t.regex(first, /^REDSYNC_LOCK_DROPPED/, `one of ${period}`);
  }
});

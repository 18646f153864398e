'use strict';

const test = require('ava');
const typescript = require('@tsd/typescript');

const { ClosedError, ExtendError, LockLostError, TakenError } = require('../index.js');
const { delay, rejection, until } = require('./helpers/async.js');
const { KEPT, overBackends } = require('./helpers/backends.js');
const { endedWell, startProcess } = require('./helpers/processes.js');

const eachBackend = overBackends(test, { sizes: [1, 3] });
const onRedis = ({ kind }) => kind === 'redis';

/** How late the news of a loss may be on a busy machine. */
const LATE = 300;

const extendError = { instanceOf: ExtendError, code: 'ERR_EXTEND_FAILED' };
const expired = { code: 'ERR_LOCK_EXPIRED' };
const taken = { instanceOf: TakenError, code: 'ERR_LOCK_TAKEN' };

/** Resolves when the lock's signal aborts, with how late that is. */
function lateness(lock) {
  const { signal } = lock;
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(Date.now() - lock.until), { once: true });
  });
}

eachBackend('it aborts when the time of the lock is over', async (t, backend) => {
  const lock = await backend.connect(t).newMutex(backend.name(), { expiry: 400 }).lock();
  const { signal } = lock;
  t.is(lock.signal, signal);
  t.false(signal.aborted);
  const late = await lateness(lock);
  t.true(late <= LATE, `told ${late} ms late`);
  t.true(late >= -50, `told ${-late} ms early`);
  t.true(signal.reason instanceof LockLostError);
  t.is(signal.reason.code, 'ERR_LOCK_LOST');
  t.is(signal.reason.message, `lock "${lock.mutex.name}" is lost: it has expired`);
  t.is(lock.remaining, 0);
});

for (const who of ['lock', 'mutex']) {
  eachBackend(`it moves on with ${who}.extend()`, async (t, backend) => {
    const lock = await backend.connect(t).newMutex(backend.name(), { expiry: 600 }).lock();
    const { signal } = lock;
    const late = lateness(lock);
    const first = lock.until.getTime();
    while (Date.now() < first + 600) {
      t.true(await (who === 'lock' ? lock : lock.mutex).extend());
      await delay(100);
    }
    t.false(signal.aborted);
    t.true((await late) <= LATE, `told ${await late} ms late`);
    t.true(lock.until > first + 400);
  });
}

eachBackend('it never aborts after unlock()', async (t, backend) => {
  const redsync = backend.connect(t, { expiry: 300 });
  const before = await redsync.newMutex(backend.name()).lock();
  const after = await redsync.newMutex(backend.name()).lock();
  const kept = await redsync.newMutex(backend.name(), { autoExtend: true }).lock();
  const signals = [before.signal, kept.signal];
  for (const lock of [before, after, kept]) t.true(await lock.unlock());
  // Read for the first time when there is nothing left to lose.
  signals.push(after.signal, kept.signal);
  await until(() => Date.now() > kept.until.getTime() + 200);
  signals.push(before.signal, after.signal);
  t.false(signals.some((signal) => signal.aborted));
});

eachBackend('it never aborts once unlock() was called', async (t, backend) => {
  const lock = await backend.connect(t).newMutex(backend.name(), { expiry: 300 }).lock();
  const { signal } = lock;
  const removed = backend.removeEverywhere(lock.mutex.name, lock.value);
  // Whoever comes first.
  const error = await lock.unlock().catch((reason) => reason);
  t.true(error === true || error.code === expired.code);
  await removed;
  await until(() => Date.now() > lock.until.getTime() + 200);
  t.false(signal.aborted);
});

eachBackend('it does not abort when the news comes after unlock()', async (t, backend) => {
  const lock = await backend.connect(t).newMutex(backend.name(), { expiry: 300 }).lock();
  const { signal } = lock;
  await delay(50); // it is watched
  // The news is there, and waits for this to end.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
  await t.throwsAsync(lock.unlock(), expired);
  await delay(50);
  t.false(signal.aborted);
});

eachBackend('read after the loss, it is aborted already', async (t, backend) => {
  const redsync = backend.connect(t, { expiry: 300 });
  const lock = await redsync.newMutex(backend.name()).lock();
  const autoExtend = { interval: 50, maxHold: 1 };
  const kept = await redsync.newMutex(backend.name(), { autoExtend }).lock();
  await until(() => lock.remaining === 0 && kept.remaining === 0);
  t.true(lock.signal.aborted);
  t.regex(lock.signal.reason.message, /it has expired$/);
  await until(() => kept.signal.aborted);
  t.regex(kept.signal.reason.message, /maxHold/);
});

eachBackend('read after close(), it says so', async (t, backend) => {
  const redsync = backend.connect(t, { expiry: 60_000 });
  const lock = await redsync.newMutex(backend.name()).lock();
  const released = await redsync.newMutex(backend.name()).lock();
  await released.unlock();
  await redsync.close();
  t.true(lock.signal.aborted);
  t.true(lock.signal.reason instanceof LockLostError);
  t.true(lock.signal.reason.cause instanceof ClosedError);
  t.false(released.signal.aborted);
});

eachBackend('a release that close() refuses leaves the lock readable', async (t, backend) => {
  const redsync = backend.connect(t, { expiry: 60_000 });
  const lock = await redsync.newMutex(backend.name()).lock();
  const { signal } = lock;
  const closing = redsync.close();
  t.true((await rejection(lock.unlock())) instanceof ClosedError);
  t.true(lock.remaining >= 0);
  t.true(lock.until instanceof Date);
  await closing;
  t.true(signal.reason.cause instanceof ClosedError);
  t.is(lock.remaining, 0);
});

eachBackend('a lock that was lost is not extended', async (t, backend) => {
  const name = backend.name();
  const mutex = backend.connect(t).newMutex(name, { expiry: 300, setNXOnExtend: true });
  const lock = await mutex.lock();
  await lateness(lock);
  await until(() => backend.isFreeEverywhere(name));
  await t.throwsAsync(lock.extend(), extendError);
  await t.throwsAsync(mutex.extend(), extendError);
  t.true(await backend.isFreeEverywhere(name), 'not stored again');
  await t.throwsAsync(lock.unlock(), expired);
});

eachBackend('a listener that throws costs nobody else his news', async (t, backend) => {
  const redsync = backend.connect(t, { expiry: 300 });
  const locks = await Promise.all([1, 2].map(() => redsync.newMutex(backend.name()).lock()));
  const losses = locks.map(lateness);
  // Reported to the process, as of any EventTarget; here it only has to be kept from ava.
  const uncaught = [];
  const listeners = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (error) => uncaught.push(error.message));
  locks[0].signal.addEventListener('abort', () => {
    throw new Error('theirs');
  });
  await Promise.all(losses);
  await until(() => uncaught.length > 0);
  process.removeAllListeners('uncaughtException');
  for (const listener of listeners) process.on('uncaughtException', listener);
  t.deepEqual(uncaught, ['theirs']);
});

// --- a Lock acts on its own hold only

for (const [title, isRead, options] of [
  ['', false, {}],
  [' whose signal was read', true, {}],
  [' that was kept alive', true, { autoExtend: { interval: 100, maxHold: 1 } }],
  [' that may be stored again', false, { setNXOnExtend: true }],
]) {
  eachBackend(`an old Lock${title} never touches somebody else's hold`, async (t, backend) => {
    const name = backend.name();
    const mutex = backend.connect(t).newMutex(name, { expiry: 400, ...options });
    const old = await mutex.lock();
    if (isRead) t.false(old.signal.aborted);
    await until(() => backend.isFreeEverywhere(name));
    const other = await backend.connect(t).newMutex(name).lock();
    await t.throwsAsync(old.extend(), extendError);
    await t.throwsAsync(old.unlock(), taken);
    await t.throwsAsync(old.unlock(), taken);
    await old[Symbol.asyncDispose]();
    t.true(await backend.isHeldEverywhere(name, other.value));
    t.true(await other.unlock());
  });

  eachBackend(`an old Lock${title} never touches the next of its Mutex`, async (t, backend) => {
    const name = backend.name();
    const mutex = backend.connect(t).newMutex(name, { expiry: 500, ...options });
    const old = await mutex.lock();
    if (isRead) t.false(old.signal.aborted);
    await until(() => backend.isFreeEverywhere(name));
    const next = await mutex.lock();
    const { signal } = next;
    const { until: validity } = next;
    await t.throwsAsync(old.extend(), extendError);
    await t.throwsAsync(old.unlock(), taken);
    t.deepEqual(next.until, validity);
    t.false(signal.aborted);
    t.is(mutex.value, next.value);
    t.true(await backend.isHeldEverywhere(name, next.value));
    t.true(await next.unlock());
    t.false(signal.aborted);
  });
}

eachBackend('an old Lock does not end the lease of the next', async (t, backend) => {
  const name = backend.name();
  const mutex = backend.connect(t).newMutex(name, { expiry: KEPT, autoExtend: true });
  const old = await mutex.lock();
  await old.unlock();
  const next = await mutex.lock();
  await t.throwsAsync(old.unlock(), taken);
  const first = next.until;
  await until(() => next.until > first.getTime() + KEPT);
  t.false(next.signal.aborted);
  t.false(old.signal.aborted);
  t.true(await next.unlock());
});

// --- await using

const SOURCE = `
  async function main(file: string, urls: string[]): Promise<void> {
    const { Redsync } = require(file);
    await using redsync = new Redsync(urls, { timeoutFactor: 0.5, tries: 1 });
    const free = async () => {
      const lock = await redsync.newMutex('name').tryLock();
      await lock?.unlock();
      return lock !== null;
    };

    {
      await using lock = await redsync.newMutex('name').lock();
      console.log('held', !await free(), lock.remaining > 0);
    }
    console.log('released', await free());

    try {
      await using lock = await redsync.newMutex('name').lock();
      throw new Error('mine');
    } catch (error) {
      console.log('thrown', error.message, await free());
    }

    // What cannot be released is no error of the block, nor does it replace one.
    {
      await using lock = await redsync.newMutex('name').lock();
      await redsync.newMutex('name', { value: lock.value }).unlock();
    }
    try {
      await using lock = await redsync.acquire('name', { autoExtend: true });
      await redsync.newMutex('name', { value: lock.value }).unlock();
      throw new Error('mine');
    } catch (error) {
      console.log('thrown', error.message);
    }
    {
      await using nothing = await redsync.newMutex('name').tryLock();
      await using none = await redsync.newMutex('name').tryLock();
      console.log('none', none);
    }
    console.log('released', await free());
  }
`;

eachBackend(
  'await using, as TypeScript writes it for older engines',
  async (t, backend) => {
    const { ScriptTarget, ModuleKind } = typescript;
    const { outputText } = typescript.transpileModule(SOURCE, {
      compilerOptions: { target: ScriptTarget.ES2022, module: ModuleKind.CommonJS },
    });
    t.false(outputText.includes('await using'), 'written out');
    const body = `async (...args) => { ${outputText}\n await main(...args); }`;
    const result = await startProcess({}, body, backend.inputs()).ended;
    endedWell(
      t,
      result,
      [
        'held true true',
        'released true',
        'thrown mine true',
        'thrown mine',
        'none null',
        'released true',
      ].join('\n'),
    );
  },
  onRedis,
);

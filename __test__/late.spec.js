'use strict';

// The event loop is blocked while an answer is on its way: nothing is handed over that is over, nothing is
// left behind, and what is kept alive was not lost by it.

const test = require('ava');

const { ExtendError, FailedError } = require('../index.js');
const { rejection, until } = require('./helpers/async.js');
const { overBackends } = require('./helpers/backends.js');

// A Pool is asked by the event loop itself.
const eachBackend = overBackends(test, { kinds: ['memory', 'redis'], sizes: [1, 3] });

/** Valid for 2 of the 20 seconds that the nodes store it. */
const DRIFTING = { expiry: 20_000, driftFactor: 0.9, timeoutFactor: 0.05 };
/** Longer than that, however late it begins. */
const TOO_LONG = 2500;

const KEPT = { expiry: 1200, autoExtend: true };

/** Blocks the event loop right when the calls of this turn have been submitted. */
async function block(ms) {
  await null;
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

for (const verb of ['lock', 'tryLock']) {
  eachBackend(`${verb}(): what went stale on its way is released`, async (t, backend) => {
    const name = backend.name();
    const mutex = backend.connect(t).newMutex(name, DRIFTING);
    await (await mutex.lock()).unlock(); // connected
    const call = rejection(mutex[verb]());
    await block(TOO_LONG);
    const error = await call;
    t.is(error.constructor, FailedError, error.stack);
    t.regex(error.message, /acquired, but over before it could be handed over/);
    await until(() => backend.isFreeEverywhere(name), { timeout: DRIFTING.expiry / 2 });
    t.truthy(await mutex.tryLock());
  });

  eachBackend(`${verb}(): what was kept alive on its way is handed over`, async (t, backend) => {
    const name = backend.name();
    const mutex = backend.connect(t).newMutex(name, KEPT);
    await (await mutex.lock()).unlock();
    const call = mutex[verb]();
    await block(2 * KEPT.expiry);
    const lock = await call;
    t.true(lock.remaining > 0 && lock.remaining <= KEPT.expiry, `${lock.remaining}`);
    t.true(lock.until > Date.now());
    t.false(lock.signal.aborted);
    t.true(await backend.isHeldEverywhere(name, lock.value));
    t.true(await lock.unlock());
    t.true(await backend.isFreeEverywhere(name));
  });
}

eachBackend(
  'what was kept alive, and is over all the same, is not handed over',
  async (t, backend) => {
    const name = backend.name();
    const autoExtend = { interval: 100, maxHold: 1 };
    const mutex = backend.connect(t).newMutex(name, { ...DRIFTING, autoExtend });
    await (await mutex.lock()).unlock();
    const call = rejection(mutex.lock());
    await block(TOO_LONG);
    t.regex((await call).message, /over before it could be handed over/);
    await until(() => backend.isFreeEverywhere(name), { timeout: DRIFTING.expiry / 2 });
  },
);

eachBackend('a lock whose caller has gone is released', async (t, backend) => {
  for (const options of [{}, { autoExtend: true }]) {
    const name = backend.name();
    const controller = new AbortController();
    const mutex = backend.connect(t, options).newMutex(name, { expiry: 60_000 });
    await (await mutex.lock()).unlock();
    const call = rejection(mutex.lock({ signal: controller.signal }));
    await block(500); // it is acquired, and its completion on its way
    controller.abort('gone');
    t.is(await call, 'gone');
    await until(() => backend.isFreeEverywhere(name));
    t.is(mutex.value === '', false, 'it is that of the lock before');
    t.truthy(await mutex.tryLock());
  }
});

eachBackend('an extension that is told too late leaves nothing behind', async (t, backend) => {
  for (const options of [{}, { setNXOnExtend: true }]) {
    const name = backend.name();
    const lock = await backend
      .connect(t)
      .newMutex(name, { ...DRIFTING, ...options })
      .lock();
    const call = rejection(lock.extend());
    await block(TOO_LONG);
    const error = await call;
    t.is(error.constructor, ExtendError, error.stack);
    t.regex(error.message, /extended, but over before it could be told.* It is released$/);
    t.is(lock.remaining, 0);
    await until(() => backend.isFreeEverywhere(name), { timeout: DRIFTING.expiry / 2 });
  }
});

eachBackend(
  'an extension that is told after the loss leaves nothing behind',
  async (t, backend) => {
    const name = backend.name();
    const lock = await backend.connect(t).newMutex(name, DRIFTING).lock();
    t.false(lock.signal.aborted);
    const call = rejection(lock.extend());
    await block(TOO_LONG);
    t.true((await call) instanceof ExtendError);
    await until(() => backend.isFreeEverywhere(name), { timeout: DRIFTING.expiry / 2 });
    await until(() => lock.signal.aborted);
  },
);

eachBackend(
  'an extension of an adopted lock that is told too late leaves it',
  async (t, backend) => {
    const name = backend.name();
    const holder = await backend.connect(t).newMutex(name, { expiry: 60_000 }).lock();
    const { value } = holder;
    const heir = backend.connect(t).newMutex(name, { ...DRIFTING, value });
    t.true(await heir.extend()); // connected
    const call = rejection(heir.extend());
    await block(TOO_LONG);
    const error = await call;
    t.is(error.constructor, ExtendError, error.stack);
    t.regex(
      error.message,
      /extended, but over before it could be told: the event loop was blocked$/,
    );
    t.true(await backend.isHeldEverywhere(name, value), 'whoever has handed it over may hold it');
    t.true(await holder.unlock());
  },
);

eachBackend('an extension of a lock that is kept alive is never too late', async (t, backend) => {
  const name = backend.name();
  const lock = await backend.connect(t).newMutex(name, KEPT).lock();
  const call = lock.extend();
  await block(2 * KEPT.expiry);
  t.true(await call);
  t.true(lock.remaining > 0);
  t.true(await lock.unlock());
});

for (const options of [{}, { autoExtend: true }]) {
  const title = options.autoExtend ? ', kept alive,' : '';
  eachBackend(
    `a lock${title} that is on its way when close() is called is released`,
    async (t, backend) => {
      const name = backend.name();
      const redsync = backend.connect(t, { expiry: 60_000, ...options });
      const mutex = redsync.newMutex(name);
      await (await mutex.lock()).unlock();
      const call = rejection(mutex.lock());
      await block(500); // it is acquired
      const closing = redsync.close();
      t.is((await call).code, 'ERR_CLOSED');
      await closing;
      t.true(await backend.isFreeEverywhere(name));
    },
  );
}

'use strict';

// close({ drain }): what is held gets time to end, and nothing new begins.

const test = require('ava');

const { ClosedError, LockLostError, Redsync } = require('../index.js');
const { newClock } = require('../lib/testing.js');
const { aborted, rejection, until, untilSteady } = require('./helpers/async.js');
const { KEPT, overBackends } = require('./helpers/backends.js');
const { endedWell, startProcess } = require('./helpers/processes.js');
const { useServers } = require('./helpers/servers.js');

const eachBackend = overBackends(test, { sizes: [1, 3] });
const closed = { instanceOf: ClosedError, code: 'ERR_CLOSED' };

/** No test lasts as long: what ends before was not ended by it. */
const DAY = 86_400_000;
const LONG = { expiry: 600_000 };

/** Closes, and tells whether that has ended. */
function close(redsync, options) {
  const closing = { isOver: false };
  closing.end = redsync.close(options).then((result) => {
    closing.isOver = true;
    return result;
  });
  return closing;
}

/** A promise and who settles it. */
function gate() {
  const it = {};
  it.opened = new Promise((resolve) => (it.open = resolve));
  return it;
}

for (const [title, options, reads = {}] of [
  ['a lock', LONG],
  ['a lock whose signal somebody has', LONG, { before: true }],
  ['a lock whose signal somebody asks for then', LONG, { meanwhile: true }],
  ['a lock that is kept alive', { expiry: KEPT, autoExtend: true }],
  ['a lock that a reader has', { ...LONG, mode: 'read' }],
  ['a permit', { ...LONG, permits: 2 }],
]) {
  eachBackend(`${title} can be extended and released meanwhile`, async (t, backend) => {
    const name = backend.name();
    const redsync = backend.connect(t);
    const lock = await redsync.acquire(name, options);
    if (reads.before) t.false(lock.signal.aborted);
    const closing = close(redsync, { drain: DAY });
    t.true(await lock.mutex.valid());
    t.true(await lock.extend());
    t.false(closing.isOver);
    if (reads.meanwhile) t.false(lock.signal.aborted);
    t.true(await lock.mutex.valid());
    t.false(closing.isOver);
    t.true(lock.remaining > 0);
    t.true(await lock.unlock());
    t.is(await closing.end, undefined);
    t.false(lock.signal.aborted);
    t.true(await backend.isFreeEverywhere(name));
    await t.throwsAsync(lock.unlock(), closed);
    t.is(redsync.stats().held, 0);
  });
}

eachBackend('it waits for all that is held', async (t, backend) => {
  const redsync = backend.connect(t, LONG);
  const mutexes = [{}, {}, { autoExtend: true }].map((options) =>
    redsync.newMutex(backend.name(), options),
  );
  const locks = await Promise.all(mutexes.map((mutex) => mutex.lock()));
  const closing = close(redsync, { drain: DAY });
  for (const lock of locks) {
    t.true(await lock.mutex.valid());
    t.false(closing.isOver);
    t.true(await lock.unlock());
  }
  await closing.end;
  for (const { name } of mutexes) t.true(await backend.isFreeEverywhere(name));
});

eachBackend('a routine of using() goes on, and its lock is kept alive', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t);
  const inside = gate();
  const finish = gate();
  const call = redsync.using(name, { expiry: KEPT }, async (signal, lock) => {
    inside.open(lock);
    await finish.opened;
    return signal.aborted;
  });
  const lock = await inside.opened;
  const first = lock.until.getTime();
  const closing = close(redsync, { drain: DAY });
  await until(() => lock.until.getTime() > first + KEPT);
  t.true(await backend.isHeldEverywhere(name, lock.value));
  t.false(closing.isOver);
  finish.open();
  t.false(await call);
  await closing.end;
  t.true(await backend.isFreeEverywhere(name));
});

eachBackend('a routine whose lock is over may end, too', async (t, backend) => {
  const redsync = backend.connect(t);
  const inside = gate();
  const finish = gate();
  const call = redsync.using(backend.name(), async (signal, lock) => {
    await lock.unlock();
    inside.open();
    await finish.opened;
  });
  await inside.opened;
  const closing = close(redsync, { drain: DAY });
  await untilSteady(() => !closing.isOver);
  finish.open();
  await call;
  await closing.end;
  t.pass();
});

eachBackend('nothing new begins, and what waits rejects at once', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { ...LONG, tries: Infinity });
  const lock = await redsync.acquire(name);
  const waiting = redsync.newMutex(name).lock();
  const refused = rejection(waiting);
  const closing = close(redsync, { drain: DAY });
  t.true((await refused) instanceof ClosedError);
  const other = backend.name();
  for (const call of [
    () => redsync.newMutex(other).lock(),
    () => lock.mutex.tryLock(),
    () => redsync.acquire(other),
    () => redsync.using(other, () => t.fail()),
    () => redsync.using(name, { value: lock.value }, () => t.fail()),
    () => redsync.ready(),
    () => redsync.inspect(name),
  ]) {
    await t.throwsAsync(call, closed);
  }
  t.false(closing.isOver);
  t.true(await backend.isHeldEverywhere(name, lock.value));
  t.true(await lock.unlock());
  await closing.end;
  await untilSteady(() => backend.isFreeEverywhere(name));
  t.true(await backend.isFreeEverywhere(other));
});

eachBackend('a lock that comes in that moment is released', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, LONG);
  const refused = rejection(redsync.acquire(name));
  await redsync.close({ drain: DAY });
  t.true((await refused) instanceof ClosedError);
  await untilSteady(() => backend.isFreeEverywhere(name));
});

eachBackend('what is left when the time is over is left to expire', async (t, backend) => {
  const names = [backend.name(), backend.name()];
  const redsync = backend.connect(t, LONG);
  const locks = await Promise.all(
    names.map((name, i) => redsync.acquire(name, { autoExtend: i === 1 })),
  );
  const reasons = Promise.all(locks.map(({ signal }) => aborted(signal)));
  await redsync.close({ drain: 50 });
  for (const reason of await reasons) {
    t.true(reason instanceof LockLostError);
    t.true(reason.cause instanceof ClosedError);
  }
  for (const [i, lock] of locks.entries()) {
    await t.throwsAsync(lock.unlock(), closed);
    t.true(await backend.isHeldEverywhere(names[i], lock.value));
  }
});

eachBackend('with nothing held it closes at once', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t);
  await redsync.close({ drain: DAY }); // before its first call
  const other = backend.connect(t, LONG);
  const lock = await other.acquire(name);
  await lock.extend();
  await lock.unlock();
  await t.throwsAsync(lock.unlock());
  const watched = await other.acquire(name);
  t.false(watched.signal.aborted);
  await watched.unlock();
  await other.using(name, () => {});
  await other.close({ drain: DAY });
  await t.throwsAsync(other.acquire(name), closed);
});

eachBackend('a lock that nobody releases is waited for until it is over', async (t, backend) => {
  const redsync = backend.connect(t);
  const expiries = [500, 2000, 1000];
  const locks = await Promise.all(
    expiries.map((expiry) => redsync.acquire(backend.name(), { expiry })),
  );
  await locks[0].extend();
  await redsync.close({ drain: DAY });
  for (const lock of locks) t.is(lock.remaining, 0);
});

test.serial('a lock that is over since long does not count', async (t) => {
  const clock = newClock();
  const redsync = new Redsync(clock.nodes());
  t.teardown(() => redsync.close());
  await redsync.acquire('forgotten', { expiry: 5000 });
  await redsync.acquire('longer', { expiry: 60_000 });
  await clock.advance(10_000);
  const lock = await redsync.acquire('held', { expiry: DAY });
  const closing = close(redsync, { drain: DAY });
  await lock.unlock();
  await untilSteady(() => !closing.isOver);
  await clock.advance(60_000);
  await closing.end;
  t.pass();
});

test.serial('the time that it gets is told by the clock of its nodes', async (t) => {
  const clock = newClock();
  const redsync = new Redsync(clock.nodes());
  const lock = await redsync.acquire('name', { autoExtend: true });
  const closing = close(redsync, { drain: 3000 });
  await clock.advance(2000);
  await lock.extend();
  t.false(closing.isOver);
  await clock.advance(2000);
  await closing.end;
  t.true(lock.signal.aborted);
});

async function dropAndDrain(file, url, drain) {
  const { Redsync } = require(file);
  const { setTimeout: delay } = require('node:timers/promises');
  const redsync = new Redsync(url, { expiry: 600_000, autoExtend: true });
  let isCollected = false;
  const registry = new FinalizationRegistry(() => (isCollected = true));
  await (async () => registry.register(await redsync.acquire('name')))();
  while (!isCollected) {
    await delay(10);
    globalThis.gc();
  }
  await redsync.close({ drain });
  console.log('closed');
}

test.serial('a lock that was dropped does not count', async (t) => {
  const [server] = await useServers(t, 1);
  const nodeArgs = ['--expose-gc', '--no-warnings'];
  const result = await startProcess({ nodeArgs }, dropAndDrain, server.url, DAY).ended;
  endedWell(t, result, 'closed');
});

async function leave(file, url, drain) {
  const { Redsync } = require(file);
  const redsync = new Redsync(url);
  const lock = await redsync.acquire('name', { expiry: 1000 });
  redsync.close({ drain }).then(() => console.log(lock.remaining));
}

test.serial('it keeps the process alive while it waits', async (t) => {
  const [server] = await useServers(t, 1);
  endedWell(t, await startProcess({}, leave, server.url, DAY).ended, '0');
});

// --- a second call

eachBackend('a second call that would drain ends with the first', async (t, backend) => {
  const redsync = backend.connect(t, LONG);
  const lock = await redsync.acquire(backend.name());
  const first = close(redsync, { drain: DAY });
  const second = close(redsync, { drain: 1 });
  await untilSteady(() => !first.isOver && !second.isOver);
  t.true(await lock.unlock());
  await Promise.all([first.end, second.end]);
});

for (const [title, end] of [
  ['close()', (redsync) => redsync.close()],
  ['close({})', (redsync) => redsync.close({})],
  ['close({ drain: 0 })', (redsync) => redsync.close({ drain: 0 })],
  ['disposal', (redsync) => redsync[Symbol.asyncDispose]()],
]) {
  eachBackend(`${title} ends the draining at once`, async (t, backend) => {
    const name = backend.name();
    const redsync = backend.connect(t, LONG);
    const lock = await redsync.acquire(name, { autoExtend: true });
    const closing = close(redsync, { drain: DAY });
    await end(redsync);
    await closing.end;
    t.true((await aborted(lock.signal)).cause instanceof ClosedError);
    await t.throwsAsync(lock.unlock(), closed);
    t.true(await backend.isHeldEverywhere(name, lock.value));
  });
}

eachBackend('after close() there is nothing left to drain', async (t, backend) => {
  const redsync = backend.connect(t, LONG);
  await redsync.acquire(backend.name());
  await redsync.close();
  t.is(await redsync.close({ drain: DAY }), undefined);
});

// --- arguments

for (const [title, options, error] of [
  [
    'a number',
    5000,
    /^The "options" argument must be an object with drain. Received type number \(5000\)$/,
  ],
  ['a signal', AbortSignal.abort(), /^The "options" argument must be an object with drain/],
  ['an unknown option', { drains: 5 }, /unknown option "drains"\. Did you mean "drain"\?/],
  [
    'another type',
    { drain: '5' },
    /^The "options\.drain" argument must be an integer from 0 to 86400000\. Received type string/,
  ],
]) {
  test(`${title} is a TypeError, and nothing is closed`, async (t) => {
    const redsync = new Redsync('memory:');
    const expected = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE', message: error };
    await t.throwsAsync(redsync.close(options), expected);
    t.true(await (await redsync.acquire('name')).unlock());
    await redsync.close();
  });
}

for (const drain of [-1, 0.5, NaN, Infinity, DAY + 1]) {
  test(`a drain of ${drain} is a RangeError, and nothing is closed`, async (t) => {
    const redsync = new Redsync('memory:');
    const lock = await redsync.acquire('name');
    await t.throwsAsync(redsync.close({ drain }), {
      instanceOf: RangeError,
      code: 'ERR_OUT_OF_RANGE',
      message: `The "options.drain" argument must be an integer from 0 to 86400000. Received ${drain}`,
    });
    t.true(await lock.unlock());
    await redsync.close();
  });
}

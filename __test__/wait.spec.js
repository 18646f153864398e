'use strict';

// How long a call waits: for the lock, and not for its work.

const test = require('ava');

const { FailedError, Redsync, TakenError } = require('../index.js');
const { delay, rejection, until } = require('./helpers/async.js');
const { overBackends } = require('./helpers/backends.js');
const { deadUrl } = require('./helpers/servers.js');

const eachBackend = overBackends(test, { sizes: [1, 3] });

const LONG = 600_000;

/** A schedule that plays no part. */
const PATIENT = { expiry: LONG, retryDelay: LONG, timeoutFactor: 0.01 };

eachBackend('a call ends when it has waited for so long', async (t, backend) => {
  const redsync = backend.connect(t, PATIENT);
  const name = backend.name();
  const lock = await redsync.acquire(name);
  const calls = [
    () => redsync.newMutex(name, { wait: 20 }).lock(),
    () => redsync.acquire(name, { wait: 20 }),
    () => redsync.using(name, { wait: 20 }, () => t.fail()),
    () => backend.connect(t, { ...PATIENT, wait: 20 }).acquire(name),
  ];
  for (const call of calls) {
    const error = await rejection(call());
    t.true(error instanceof TakenError, error.message);
    t.is(error.attempts, 2);
  }
  const error = await rejection(redsync.acquire(name, { wait: 0 }));
  t.true(error instanceof TakenError && error.attempts === 1);
  t.true(await lock.unlock());
  await until(() => backend.isFreeEverywhere(name));
});

eachBackend('the work may take longer than the wait', async (t, backend) => {
  const redsync = backend.connect(t, PATIENT);
  const name = backend.name();
  await redsync.using(name, { wait: 1 }, async (signal) => {
    await delay(20);
    t.false(signal.aborted);
    t.true((await redsync.newMutex(name).tryLock()) === null);
  });
  await until(() => backend.isFreeEverywhere(name));
});

eachBackend('all of many who wait for long enough are served', async (t, backend) => {
  const redsync = backend.connect(t, { wait: LONG, timeoutFactor: 0.5 });
  const name = backend.name();
  let inside = 0;
  let served = 0;
  const work = async () => {
    t.is(++inside, 1);
    await delay(1);
    inside--;
    served++;
  };
  await Promise.all(Array.from({ length: 50 }, () => redsync.using(name, work)));
  t.is(served, 50);
});

test('nodes that are away fail a call that has waited for so long', async (t) => {
  const redsync = new Redsync(await deadUrl(), { wait: 20 });
  t.teardown(() => redsync.close());
  const error = await rejection(redsync.acquire('name'));
  t.true(error instanceof FailedError, error.message);
});

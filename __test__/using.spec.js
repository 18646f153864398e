'use strict';

const { getEventListeners } = require('node:events');

const test = require('ava');

const { FailedError, LockLostError, Redsync, TakenError } = require('../index.js');
const { aborted, delay, rejection, until, untilSteady } = require('./helpers/async.js');
const { KEPT, overBackends } = require('./helpers/backends.js');
const { deadUrl, monitor, useServers } = require('./helpers/servers.js');

const eachBackend = overBackends(test, { sizes: [1, 3] });
const TYPE = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };

eachBackend('it holds the lock while the routine runs', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t);
  const result = {};
  let inside;
  const given = await redsync.using(name, async (signal, lock) => {
    inside = { signal, lock };
    t.true(signal instanceof AbortSignal);
    t.false(signal.aborted);
    t.deepEqual([...lock.mutex.names], [name]);
    t.true(await backend.isHeldEverywhere(name, lock.value));
    return result;
  });
  t.is(given, result);
  t.true(await backend.isFreeEverywhere(name));
  t.is(inside.lock.remaining, 0);
  t.false(inside.signal.aborted);
});

const thrown = new Error('mine');
const ROUTINES = [
  ['returns', () => 1, { value: 1 }],
  ['returns nothing', () => {}, { value: undefined }],
  ['resolves', async () => 2, { value: 2 }],
  ['returns a thenable', () => ({ then: (resolve) => resolve(3) }), { value: 3 }],
  [
    'throws',
    () => {
      throw thrown;
    },
    { reason: thrown },
  ],
  [
    'rejects',
    async () => {
      throw thrown;
    },
    { reason: thrown },
  ],
  ['rejects with nothing', () => Promise.reject(), { reason: undefined }],
];

function outcome(promise) {
  return promise.then(
    (value) => ({ value }),
    (reason) => ({ reason }),
  );
}

for (const [what, routine, expected] of ROUTINES) {
  eachBackend(`it settles as a routine that ${what}`, async (t, backend) => {
    const name = backend.name();
    const redsync = backend.connect(t);
    t.deepEqual(await outcome(redsync.using(name, routine)), expected);
    t.true(await backend.isFreeEverywhere(name));
    t.deepEqual(await outcome(redsync.using(name, {}, routine)), expected);
    t.true(await backend.isFreeEverywhere(name));
  });

  eachBackend(`a lost lock changes nothing for one that ${what}`, async (t, backend) => {
    const name = backend.name();
    const redsync = backend.connect(t);
    const call = redsync.using(name, { autoExtend: { interval: 50 } }, async (signal, lock) => {
      await backend.removeEverywhere(name, lock.value);
      await backend.plantEverywhere(name);
      const reason = await aborted(signal);
      t.true(reason instanceof LockLostError, reason?.stack);
      return routine();
    });
    t.deepEqual(await outcome(call), expected);
    t.true(await backend.isHeldEverywhere(name, 'foreign'));
  });
}

test.serial('a release that fails changes nothing', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = new Redsync(
    servers.map(({ url }) => url),
    { expiry: 20_000 },
  );
  t.teardown(() => redsync.close());
  const value = await redsync.using('name', async () => {
    await Promise.all(servers.map((server) => server.kill()));
    return 'done';
  });
  t.is(value, 'done');
});

eachBackend('a Redsync that is closed meanwhile changes nothing', async (t, backend) => {
  const redsync = backend.connect(t);
  const reason = await redsync.using(backend.name(), async (signal) => {
    await redsync.close();
    return aborted(signal);
  });
  t.true(reason instanceof LockLostError);
});

eachBackend('it keeps the lock alive for as long as that takes', async (t, backend) => {
  const name = backend.name();
  await backend.connect(t).using(name, { expiry: KEPT }, async (signal, lock) => {
    const first = lock.until;
    await until(() => lock.until > first.getTime() + KEPT);
    t.false(signal.aborted);
    t.true(await backend.isHeldEverywhere(name, lock.value));
  });
  t.true(await backend.isFreeEverywhere(name));
});

eachBackend('the routine may release the lock itself', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { tries: Infinity, retryDelay: 10 });
  await redsync.using(name, async (signal, lock) => {
    t.true(await lock.unlock());
    const next = await redsync.newMutex(name).lock();
    await delay(50);
    t.false(signal.aborted);
    t.true(await next.mutex.valid());
    t.true(await next.unlock());
  });
});

eachBackend('one routine at a time', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { tries: Infinity, retryDelay: 5 });
  let inside = 0;
  const turns = Array.from({ length: 10 }, () =>
    redsync.using(name, async () => {
      t.is(++inside, 1);
      await delay(5);
      inside--;
    }),
  );
  await Promise.all(turns);
});

eachBackend('several names', async (t, backend) => {
  const names = [backend.name(), backend.name()];
  await backend.connect(t).using(names, async (signal, lock) => {
    t.deepEqual([...lock.mutex.names], names);
    for (const name of names) t.true(await backend.isHeldEverywhere(name, lock.value));
  });
  for (const name of names) t.true(await backend.isFreeEverywhere(name));
});

// --- the lock is not acquired

eachBackend('it rejects as lock() does, without the routine', async (t, backend) => {
  const name = backend.name();
  await backend.plantEverywhere(name);
  const routine = () => t.fail();
  const call = backend.connect(t).using(name, { tries: 2, retryDelay: 1 }, routine);
  const error = await t.throwsAsync(call, { instanceOf: TakenError });
  t.is(error.attempts, 2);
  t.true(await backend.isHeldEverywhere(name, 'foreign'));
});

test.serial('it rejects when there is no quorum', async (t) => {
  const redsync = new Redsync(await deadUrl(), { tries: 1 });
  t.teardown(() => redsync.close());
  await t.throwsAsync(
    redsync.using('name', () => t.fail()),
    { instanceOf: FailedError },
  );
  await t.throwsAsync(redsync.acquire('name'), { instanceOf: FailedError });
});

// --- the caller's signal

eachBackend('aborted while it waits, it rejects with the reason', async (t, backend) => {
  const name = backend.name();
  await backend.plantEverywhere(name);
  const redsync = backend.connect(t, { tries: Infinity, retryDelay: 5 });
  for (const begin of [
    (options) => redsync.using(name, options, () => t.fail()),
    (options) => redsync.acquire(name, options),
  ]) {
    const controller = new AbortController();
    const call = rejection(begin({ signal: controller.signal }));
    await delay(30);
    const reason = new Error('not interested');
    controller.abort(reason);
    t.is(await call, reason);
    t.is(await rejection(begin({ signal: AbortSignal.abort(reason) })), reason);
  }
  await untilSteady(() => backend.isHeldEverywhere(name, 'foreign'));
});

eachBackend('aborted while the routine runs, it reaches the routine', async (t, backend) => {
  const name = backend.name();
  const controller = new AbortController();
  const options = { signal: controller.signal };
  const reason = new Error('stop');
  const told = await backend.connect(t).using(name, options, async (signal, lock) => {
    controller.abort(reason);
    t.true(signal.aborted);
    t.true(lock.remaining > 0, 'the lock is still there');
    t.false(lock.signal.aborted);
    return signal.reason;
  });
  t.is(told, reason);
  t.true(await backend.isFreeEverywhere(name));
});

eachBackend('afterwards, no signal has anything to do with it', async (t, backend) => {
  const redsync = backend.connect(t);
  const controller = new AbortController();
  const signals = [];
  for (let i = 0; i < 3; i++) {
    await redsync.using(backend.name(), { signal: controller.signal }, (signal) => {
      signals.push(signal);
      return t.is(getEventListeners(controller.signal, 'abort').length, 1);
    });
  }
  t.is(getEventListeners(controller.signal, 'abort').length, 0);
  controller.abort();
  t.false(signals.some((signal) => signal.aborted));
});

// --- arguments

test.serial('a bad argument is told before any node is asked', async (t) => {
  const [server] = await useServers(t, 1);
  const { commands, settle } = await monitor(t, server);
  const redsync = new Redsync(server.url);
  t.teardown(() => redsync.close());
  const fn = () => t.fail();
  const calls = [
    () => redsync.using('name'),
    () => redsync.using('name', {}),
    () => redsync.using('name', {}, undefined),
    () => redsync.using('name', {}, 'fn'),
    () => redsync.using('name', {}, {}),
    () => redsync.using('name', null, fn),
    () => redsync.using('name', { tires: 1 }, fn),
    () => redsync.using('name', { signal: true }, fn),
    () => redsync.using('name', new AbortController().signal, fn),
    () => redsync.using(fn),
    () => redsync.using(undefined, fn),
    () => redsync.acquire(),
    () => redsync.acquire('name', null),
    () => redsync.acquire('name', { keyPrefix: 'x' }),
  ];
  for (const call of calls) await t.throwsAsync(call, TYPE, `${call}`);
  await settle();
  t.deepEqual(commands, []);
  t.is(await redsync.using('name', undefined, () => 1), 1);
});

eachBackend('acquire() is newMutex() and lock()', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { keyPrefix: 'prefix:' });
  const lock = await redsync.acquire(name, { expiry: 60_000 });
  t.is(lock.mutex.name, name);
  t.true(lock.remaining > 40_000);
  t.true(await backend.isHeldEverywhere(`prefix:${name}`, lock.value));
  t.true(await lock.unlock());
});

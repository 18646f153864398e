'use strict';

const test = require('ava');

const { FailedError, NodeTakenError, TakenError } = require('../index.js');
const { untilSteady } = require('./helpers/async.js');
const { overBackends } = require('./helpers/backends.js');

const eachBackend = overBackends(test);

/** Every subset of the nodes, as arrays of indices. */
function patterns({ size, indices }) {
  return Array.from({ length: 2 ** size }, (_, bits) => indices.filter((i) => bits & (1 << i)));
}

function sorted(numbers) {
  return [...numbers].sort((a, b) => a - b);
}

async function nameTakenOn(backend, taken) {
  const name = backend.name();
  await Promise.all(taken.map((i) => backend.plant(i, name)));
  return name;
}

eachBackend('every pattern with a quorum of free nodes gives the lock', async (t, backend) => {
  const redsync = backend.connect(t);
  t.is(redsync.quorum, backend.quorum);
  for (const taken of patterns(backend)) {
    const free = backend.indices.filter((i) => !taken.includes(i));
    if (free.length < backend.quorum) continue;
    const name = await nameTakenOn(backend, taken);
    const lock = await redsync.newMutex(name, { tries: 1 }).lock();
    for (const i of free) t.true(await backend.holds(i, name, lock.value), `taken: ${taken}`);

    t.true(await lock.unlock());
    t.true(await backend.isHeldExactlyOn(taken, name), `taken: ${taken}`);
  }
});

eachBackend(
  'every pattern without a quorum rejects and leaves only the foreign values',
  async (t, backend) => {
    const redsync = backend.connect(t);
    for (const taken of patterns(backend)) {
      if (backend.size - taken.length >= backend.quorum) continue;
      const name = await nameTakenOn(backend, taken);
      const decided = taken.length >= backend.quorum;

      const error = await t.throwsAsync(redsync.newMutex(name, { tries: 1 }).lock(), {
        instanceOf: FailedError,
        code: decided ? 'ERR_LOCK_TAKEN' : 'ERR_LOCK_FAILED',
      });
      t.is(error instanceof TakenError, decided, `taken: ${taken}`);
      t.is(error.attempts, 1);
      t.deepEqual(sorted(error.errors.map(({ node }) => node)), taken);
      t.true(error.errors.every((each) => each instanceof NodeTakenError));
      if (decided) t.deepEqual(sorted(error.nodes), taken);
      // lock() has waited for the releases: they are not to be waited for here.
      t.true(await backend.isHeldExactlyOn(taken, name), `taken: ${taken}`);
    }
  },
);

eachBackend(
  'every pattern gives the same by tryLock(), with null for a taken quorum',
  async (t, backend) => {
    const redsync = backend.connect(t);
    for (const taken of patterns(backend)) {
      const name = await nameTakenOn(backend, taken);
      const attempt = redsync.newMutex(name).tryLock();
      if (backend.size - taken.length >= backend.quorum) {
        t.true(await (await attempt).unlock());
      } else if (taken.length >= backend.quorum) {
        t.is(await attempt, null);
      } else {
        const error = await t.throwsAsync(attempt, { instanceOf: FailedError });
        t.is(error.code, 'ERR_LOCK_FAILED');
      }
      t.true(await backend.isHeldExactlyOn(taken, name), `taken: ${taken}`);
    }
  },
);

eachBackend('every pattern gives the same when failing fast', async (t, backend) => {
  const redsync = backend.connect(t);
  for (const taken of patterns(backend)) {
    const name = await nameTakenOn(backend, taken);
    const attempt = redsync.newMutex(name, { tries: 1, failFast: true }).lock();
    if (backend.size - taken.length >= backend.quorum) {
      t.true(await (await attempt).unlock());
    } else {
      const error = await t.throwsAsync(attempt, { instanceOf: FailedError });
      t.is(error instanceof TakenError, taken.length >= backend.quorum, `taken: ${taken}`);
    }
    // Stragglers are cleaned up after the answer.
    await untilSteady(() => backend.isHeldExactlyOn(taken, name), { period: 10 });
  }
});

eachBackend(
  'an even split fails on both sides and leaves nothing of ours',
  async (t, backend) => {
    const half = backend.indices.slice(0, backend.size / 2);
    const name = await nameTakenOn(backend, half);
    const error = await t.throwsAsync(
      backend.connect(t).newMutex(name, { tries: 3, retryDelay: 1 }).lock(),
      { instanceOf: FailedError, code: 'ERR_LOCK_FAILED' },
    );
    t.is(error.attempts, 3);
    t.is(error.errors.length, half.length);
    t.true(await backend.isHeldExactlyOn(half, name));
  },
  ({ size }) => size % 2 === 0,
);

eachBackend('the last attempt is the one reported', async (t, backend) => {
  const name = await nameTakenOn(backend, backend.indices);
  const mutex = backend.connect(t).newMutex(name, { tries: 4, retryDelay: 1 });
  const error = await t.throwsAsync(mutex.lock(), { instanceOf: TakenError });
  t.is(error.attempts, 4);
  t.deepEqual(sorted(error.nodes), backend.indices);
  t.is(error.errors.length, backend.size);
});

'use strict';

const test = require('ava');

const { FailedError, LockExpiredError, TakenError } = require('../index.js');
const { elapsed, rejection, until } = require('./helpers/async.js');
const { overBackends } = require('./helpers/backends.js');

const eachBackend = overBackends(test);
const expired = { instanceOf: LockExpiredError, code: 'ERR_LOCK_EXPIRED' };
const taken = { instanceOf: TakenError, code: 'ERR_LOCK_TAKEN' };

eachBackend('the second unlock() rejects', async (t, backend) => {
  const mutex = backend.connect(t).newMutex(backend.name());
  const lock = await mutex.lock();
  t.true(await lock.unlock());
  const message = `lock "${mutex.name}": was released already, by this handle`;
  await t.throwsAsync(lock.unlock(), { ...expired, message });
  await t.throwsAsync(mutex.unlock(), { ...expired, message });
});

eachBackend('what was not released by this handle expired or was deleted', async (t, backend) => {
  const lock = await backend.connect(t).newMutex(backend.name()).lock();
  await backend.removeEverywhere(lock.mutex.name, lock.value);
  for (let i = 0; i < 2; i++) {
    const { message } = await t.throwsAsync(lock.unlock(), expired);
    t.regex(message, /: already expired \(node .*the key has expired or was deleted/);
  }
});

eachBackend('unlock() of an expired lock rejects', async (t, backend) => {
  const name = backend.name();
  const mutex = backend.connect(t).newMutex(name, { expiry: 300 });
  const lock = await mutex.lock();
  await until(() => backend.isFreeEverywhere(name));
  await t.throwsAsync(lock.unlock(), expired);
  await t.throwsAsync(mutex.unlock(), expired);
});

eachBackend('unlock() of a foreign lock rejects at once, touching nothing', async (t, backend) => {
  const name = backend.name();
  await backend.plantEverywhere(name);
  const pause = 60_000;
  const mutex = backend.connect(t).newMutex(name, {
    value: 'not-theirs',
    tries: 32,
    retryDelay: pause,
  });
  let error;
  const took = await elapsed(
    mutex.unlock().catch((reason) => {
      error = reason;
    }),
  );
  t.true(took < pause / 2, `${took} ms`);
  t.true(error instanceof TakenError, error?.stack);
  t.deepEqual([...error.nodes].sort(), backend.indices);
  t.is(error.errors.length, backend.size);
  t.true(await backend.isHeldEverywhere(name, 'foreign'));
});

eachBackend('unlock() of a mutex that was never locked rejects', async (t, backend) => {
  const redsync = backend.connect(t);
  const name = backend.name();
  const message = `lock "${name}": was never locked by this Mutex`;
  await t.throwsAsync(redsync.newMutex(name).unlock(), { ...expired, message });

  await backend.plantEverywhere(name);
  const error = await t.throwsAsync(redsync.newMutex(name).unlock(), taken);
  t.true(error.message.startsWith(`${message}; now taken (node `), error.message);
  t.true(await backend.isHeldEverywhere(name, 'foreign'));
});

eachBackend('unlock() needs a quorum that held the lock', async (t, backend) => {
  const redsync = backend.connect(t);
  const spare = backend.indices.slice(0, backend.size - backend.quorum);
  const lock = await redsync.newMutex(backend.name()).lock();
  await Promise.all(spare.map((i) => backend.remove(i, lock.mutex.name, lock.value)));
  t.true(await lock.unlock());

  const lost = await redsync.newMutex(backend.name()).lock();
  const { name } = lost.mutex;
  const removed = [...spare, spare.length];
  await Promise.all(removed.map((i) => backend.remove(i, name, lost.value)));
  await t.throwsAsync(lost.unlock(), expired);
  t.true(await backend.isFreeEverywhere(name)); // what was ours is released all the same
});

eachBackend('a quorum of foreign values is taken, fewer are expired', async (t, backend) => {
  const redsync = backend.connect(t);
  for (let count = 1; count <= backend.size; count++) {
    const name = backend.name();
    const foreign = backend.indices.slice(0, count);
    const lock = await redsync.newMutex(name).lock();
    await Promise.all(
      foreign.map(async (i) => {
        await backend.remove(i, name, lock.value);
        await backend.plant(i, name);
      }),
    );
    const call = lock.unlock();
    if (backend.size - count >= backend.quorum) t.true(await call);
    else await t.throwsAsync(call, count >= backend.quorum ? taken : expired);
    t.true(await backend.isHeldExactlyOn(foreign, name));
  }
});

eachBackend('a lock is handed over by its value', async (t, backend) => {
  const name = backend.name();
  const lock = await backend.connect(t).newMutex(name).lock();
  const heir = backend.connect(t).newMutex(name, { value: lock.value });
  t.true(await heir.valid());
  t.true(await heir.unlock());
  t.true(await backend.isFreeEverywhere(name));
  t.false(await lock.mutex.valid());
  await t.throwsAsync(lock.unlock(), expired);
});

eachBackend('several names are handed over by one value', async (t, backend) => {
  const names = [backend.name(), backend.name()];
  const lock = await backend.connect(t).newMutex(names).lock();
  t.true(await backend.connect(t).newMutex(names, { value: lock.value }).unlock());
  for (const name of names) t.true(await backend.isFreeEverywhere(name));
});

eachBackend('valid() asks the nodes for our value', async (t, backend) => {
  const name = backend.name();
  const mutex = backend.connect(t).newMutex(name);
  t.false(await mutex.valid());
  const lock = await mutex.lock();
  t.true(await mutex.valid());
  await lock.unlock();
  t.false(await mutex.valid());
  await backend.plantEverywhere(name);
  t.false(await mutex.valid());
});

eachBackend('an old Lock never touches a later hold', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t);
  const mutex = redsync.newMutex(name, { expiry: 300, tries: Infinity, retryDelay: 10 });
  const old = await mutex.lock();
  await until(() => backend.isFreeEverywhere(name));
  const other = await redsync.newMutex(name).lock();
  await t.throwsAsync(old.unlock(), taken);
  await t.throwsAsync(old.extend(), { instanceOf: FailedError });
  t.true(await backend.isHeldEverywhere(name, other.value));
  t.true(await other.unlock());
});

eachBackend('an old Lock never touches the next hold of its own mutex', async (t, backend) => {
  const name = backend.name();
  const mutex = backend.connect(t).newMutex(name);
  const old = await mutex.lock();
  t.true(await old.unlock());
  const next = await mutex.lock();
  t.not(next, old);
  const error = await t.throwsAsync(old.unlock(), taken);
  t.regex(error.message, /: was released already, by this handle; now taken \(node /);
  await t.throwsAsync(old.extend(), { instanceOf: FailedError });
  await old[Symbol.asyncDispose]();
  t.true(await backend.isHeldEverywhere(name, next.value));
  t.is(mutex.value, next.value);
  t.true(await mutex.unlock());
});

eachBackend('disposal releases a Lock and never rejects', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t);
  const held = await redsync.newMutex(name).lock();
  t.is(await held[Symbol.asyncDispose](), undefined);
  t.true(await backend.isFreeEverywhere(name));
  await t.notThrowsAsync(held[Symbol.asyncDispose]());

  const lost = await redsync.newMutex(name).lock();
  await backend.removeEverywhere(name, lost.value);
  await backend.plantEverywhere(name);
  await t.notThrowsAsync(lost[Symbol.asyncDispose]());
  t.true(await backend.isHeldEverywhere(name, 'foreign'));

  const orphan = await redsync.newMutex(backend.name()).lock();
  await redsync.close();
  await t.notThrowsAsync(orphan[Symbol.asyncDispose]());
});

eachBackend('a failed unlock() tells of every node', async (t, backend) => {
  const name = backend.name();
  await backend.plantEverywhere(name);
  const error = await rejection(backend.connect(t).newMutex(name, { value: 'mine' }).unlock());
  t.deepEqual(error.errors.map(({ node }) => node).sort(), backend.indices);
  t.true(error.errors.every(({ code }) => code === 'ERR_NODE_TAKEN'));
});

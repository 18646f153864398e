'use strict';

const test = require('ava');

const { ExtendError, Redsync } = require('../index.js');
const { until } = require('./helpers/async.js');
const { overBackends } = require('./helpers/backends.js');
const { storedOn, useServers } = require('./helpers/servers.js');

const eachBackend = overBackends(test);
const onRedis = ({ kind }) => kind === 'redis';
const extendError = { instanceOf: ExtendError, code: 'ERR_EXTEND_FAILED' };

/** Waits until the clock that `until` is told on has moved on. */
async function later() {
  const now = Date.now();
  await until(() => Date.now() > now + 10);
}

eachBackend('extend() re-arms a held lock', async (t, backend) => {
  const name = backend.name();
  const mutex = backend.connect(t).newMutex(name);
  const lock = await mutex.lock();
  const first = lock.until;
  await later();
  t.true(await lock.extend());
  t.true(lock.until > first);
  t.deepEqual(mutex.until, lock.until);
  await later();
  t.true(await mutex.extend());
  t.true(mutex.until > first);
  t.true(await backend.isHeldEverywhere(name, lock.value));
  t.true(await lock.unlock());
});

eachBackend('an extended lock outlives its first expiry', async (t, backend) => {
  const name = backend.name();
  const lock = await backend.connect(t).newMutex(name, { expiry: 600 }).lock();
  const first = lock.until;
  while (Date.now() <= first.getTime() + 200) {
    t.true(await lock.extend());
    await later();
  }
  t.true(await backend.isHeldEverywhere(name, lock.value));
  t.true(await lock.unlock());
});

eachBackend('extend() of an expired lock rejects', async (t, backend) => {
  const name = backend.name();
  const mutex = backend.connect(t).newMutex(name, { expiry: 300 });
  const lock = await mutex.lock();
  const last = lock.until;
  await until(() => backend.isFreeEverywhere(name));
  await t.throwsAsync(lock.extend(), extendError);
  await t.throwsAsync(mutex.extend(), extendError);
  t.deepEqual(lock.until, last);
  t.true(await backend.isFreeEverywhere(name));
});

eachBackend('extend() of a lock that somebody else took rejects', async (t, backend) => {
  const name = backend.name();
  const lock = await backend.connect(t).newMutex(name, { expiry: 300 }).lock();
  await until(() => backend.isFreeEverywhere(name));
  await backend.plantEverywhere(name);
  await t.throwsAsync(lock.extend(), extendError);
  t.true(await backend.isHeldEverywhere(name, 'foreign'));
});

eachBackend('extend() of a mutex that was never locked rejects', async (t, backend) => {
  const name = backend.name();
  const message = `lock "${name}": was never locked by this Mutex`;
  await t.throwsAsync(backend.connect(t).newMutex(name).extend(), { ...extendError, message });
  t.true(await backend.isFreeEverywhere(name));
});

eachBackend('extend() needs a quorum', async (t, backend) => {
  const name = backend.name();
  const lock = await backend.connect(t).newMutex(name).lock();
  const spare = backend.indices.slice(0, backend.size - backend.quorum);
  await Promise.all(spare.map((i) => backend.remove(i, name, lock.value)));
  t.true(await lock.extend());
  t.true(await lock.mutex.valid());

  await backend.remove(spare.length, name, lock.value);
  await t.throwsAsync(lock.extend(), extendError);
  t.false(await lock.mutex.valid());
});

eachBackend('a failed extend() leaves the lock what it was', async (t, backend) => {
  const name = backend.name();
  const lock = await backend.connect(t).newMutex(name).lock();
  await backend.removeEverywhere(name, lock.value);
  const { until: last } = lock;
  await t.throwsAsync(lock.extend(), extendError);
  t.deepEqual(lock.until, last);
  t.true(lock.remaining > 0);
});

eachBackend(
  'extend() never shortens what a node has',
  async (t, backend) => {
    const name = backend.name();
    const lock = await backend.connect(t).newMutex(name, { expiry: 2000 }).lock();
    await Promise.all(backend.servers.map((server) => server.command('PEXPIRE', name, 60_000)));
    t.true(await lock.extend());
    for (const server of backend.servers) t.true((await server.command('PTTL', name)) > 30_000);
    t.true(lock.remaining <= 2000);
    t.true(await lock.unlock());
  },
  onRedis,
);

eachBackend(
  'extend() re-arms the whole expiry',
  async (t, backend) => {
    const name = backend.name();
    const lock = await backend.connect(t).newMutex(name, { expiry: 60_000 }).lock();
    await Promise.all(backend.servers.map((server) => server.command('PEXPIRE', name, 20_000)));
    t.true(await lock.extend());
    for (const server of backend.servers) {
      const ttl = await server.command('PTTL', name);
      t.true(ttl > 40_000 && ttl <= 60_000, `${ttl}`);
    }
    t.true(await lock.unlock());
  },
  onRedis,
);

eachBackend('setNXOnExtend re-creates a key that has vanished', async (t, backend) => {
  const name = backend.name();
  const lock = await backend.connect(t).newMutex(name, { setNXOnExtend: true }).lock();
  t.true(await lock.extend());
  await backend.removeEverywhere(name, lock.value);
  t.true(await lock.extend());
  t.true(await backend.isHeldEverywhere(name, lock.value));
  t.true(await lock.unlock());
  t.true(await backend.isFreeEverywhere(name));
});

eachBackend('a re-created key expires like any other', async (t, backend) => {
  const name = backend.name();
  const mutex = backend.connect(t).newMutex(name, { setNXOnExtend: true, expiry: 400 });
  const lock = await mutex.lock();
  await backend.removeEverywhere(name, lock.value);
  t.true(await lock.extend());
  await until(() => backend.isFreeEverywhere(name));
  t.is(lock.remaining, 0);
});

eachBackend('setNXOnExtend does not touch what somebody else took', async (t, backend) => {
  const name = backend.name();
  const lock = await backend.connect(t).newMutex(name, { setNXOnExtend: true }).lock();
  await backend.removeEverywhere(name, lock.value);
  await backend.plantEverywhere(name);
  await t.throwsAsync(lock.extend(), extendError);
  t.true(await backend.isHeldEverywhere(name, 'foreign'));
});

eachBackend(
  'setNXOnExtend re-creates several names or none',
  async (t, backend) => {
    const names = [backend.name(), backend.name()];
    const lock = await backend.connect(t).newMutex(names, { setNXOnExtend: true }).lock();
    await backend.removeEverywhere(names[0], lock.value);
    t.true(await lock.extend());
    for (const name of names) t.true(await backend.isHeldEverywhere(name, lock.value));

    for (const name of names) await backend.removeEverywhere(name, lock.value);
    await backend.plantEverywhere(names[1]);
    await t.throwsAsync(lock.extend(), extendError);
    t.true(await backend.isFreeEverywhere(names[0]));
    t.true(await backend.isHeldEverywhere(names[1], 'foreign'));
  },
  onRedis,
);

eachBackend('a mutex with a handed-over value extends the lock', async (t, backend) => {
  const name = backend.name();
  const lock = await backend.connect(t).newMutex(name).lock();
  const heir = backend.connect(t).newMutex(name, { value: lock.value });
  t.is(heir.value, lock.value);
  t.is(heir.until, undefined);
  t.true(await heir.valid());
  t.true(await heir.extend());
  t.true(heir.until > Date.now());
  t.true(await heir.unlock());
  t.true(await backend.isFreeEverywhere(name));
});

eachBackend(
  'what unlock() was called for is not extended, nor stored again',
  async (t, backend) => {
    const name = backend.name();
    const mutex = backend.connect(t).newMutex(name, { setNXOnExtend: true });
    const lock = await mutex.lock();
    // Behind the release that is on its way, and behind one that is over.
    const unlocking = lock.unlock();
    for (const holder of [lock, mutex]) await t.throwsAsync(holder.extend(), extendError);
    t.true(await unlocking);
    for (const holder of [lock, mutex]) {
      const error = await t.throwsAsync(holder.extend(), extendError);
      t.regex(error.message, /unlock\(\) was called$/);
    }
    t.true(await backend.isFreeEverywhere(name));
  },
);

test.serial('a lock that is over is not left where it was stored again', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = new Redsync(
    servers.map(({ url }) => url),
    { timeoutFactor: 0.05 },
  );
  t.teardown(() => redsync.close());
  // Valid for a second of the twenty that it is stored.
  const options = { expiry: 20_000, driftFactor: 0.94, setNXOnExtend: true };
  const lock = await redsync.newMutex('name', options).lock();
  for (const server of servers) await server.command('DEL', 'name');
  await servers[0].kill();
  await servers[1].kill();
  t.true(lock.remaining > 0);
  await t.throwsAsync(lock.extend(), extendError);
  t.is(await servers[2].command('GET', 'name'), lock.value, 'there was time to try again');
  await servers[2].command('DEL', 'name');
  await until(() => lock.remaining === 0);
  await t.throwsAsync(lock.extend(), extendError);
  await until(async () => (await servers[2].command('EXISTS', 'name')) === 0, { timeout: 10_000 });
  // The others are still to be asked: what was stored there again could be deleted by that.
  await Promise.all([servers[0].restart(), servers[1].restart()]);
  await until(async () => (await redsync.health()).every(({ status }) => status === 'up'));
  await t.throwsAsync(lock.extend(), { ...extendError, message: /was over, and is released$/ });
  t.deepEqual(await storedOn(servers), [[], [], []]);
});

eachBackend(
  'locks that are extended together keep an expiry of their own',
  async (t, backend) => {
    const redsync = backend.connect(t);
    const expiries = [10_000, 60_000, 10_000, 30_000, 60_000];
    const locks = await Promise.all(
      expiries.map((expiry) => redsync.newMutex(backend.name(), { expiry }).lock()),
    );
    const each = (visit) =>
      Promise.all(
        backend.servers.flatMap((server) =>
          locks.map(({ mutex: { name } }, i) => visit(server, name, expiries[i])),
        ),
      );
    await each((server, name) => server.command('PEXPIRE', name, 5000));
    await Promise.all(locks.map((lock) => lock.extend()));
    await each(async (server, name, expiry) => {
      const left = await server.command('PTTL', name);
      t.true(left > expiry - 5000 && left <= expiry, `${left} of ${expiry}`);
    });
    await Promise.all(locks.map((lock) => lock.unlock()));
  },
  ({ kind }) => kind !== 'memory',
);

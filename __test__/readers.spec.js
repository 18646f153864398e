'use strict';

// Readers and writers, on every kind of node: who is let in beside whom, and what is left on the servers.

const test = require('ava');

const { FailedError, Redsync, TakenError } = require('../index.js');
const { SCRIPTS } = require('../lib/scripts.js');
const { rejection, until } = require('./helpers/async.js');
const { KEPT, overBackends } = require('./helpers/backends.js');
const { CLUSTER_CLIENTS } = require('./helpers/clients.js');
const { useCluster } = require('./helpers/cluster.js');
const { useSentinels } = require('./helpers/sentinels.js');
const { useServers } = require('./helpers/servers.js');

const eachBackend = overBackends(test, { sizes: [1, 3] });

const LONG = 20_000;
const SHORT = 1000;
const READ = { mode: 'read', expiry: LONG, tries: 1 };
const WRITE = { mode: 'write', expiry: LONG, tries: 1 };
const PLAIN = { expiry: LONG, tries: 1 };
const WAITS = { tries: Infinity, retryDelay: 50 };

const onServers = ({ kind }) => kind !== 'memory';

/** What the servers store of a name: its own key, and those beside it. */
async function keysOf(servers, name) {
  const keys = await Promise.all(servers.map((server) => server.command('KEYS', `*${name}*`)));
  return keys.flat().sort();
}

/** Nothing is left of a name, on whatever node. */
async function assertNothingLeft(t, backend, name) {
  await until(() => backend.isFreeEverywhere(name));
  if (onServers(backend)) t.deepEqual(await keysOf(backend.servers, name), []);
}

/** A lock of this name, or null. */
function tryLock(redsync, name, options) {
  return redsync.newMutex(name, options).tryLock();
}

/** Resolves when new readers are kept off by a writer who waits; the name has a reader. */
async function untilSigned(redsync, name) {
  await until(async () => {
    const reader = await tryLock(redsync, name, READ);
    await reader?.unlock();
    return reader === null;
  });
}

eachBackend(
  'readers are together, a writer is alone, and a mutex is a writer',
  async (t, backend) => {
    const name = backend.name();
    const [redsync, other] = [backend.connect(t), backend.connect(t)];
    const readers = [];
    for (const each of [redsync, other, redsync]) {
      readers.push(await each.newMutex(name, READ).lock());
    }
    for (const options of [WRITE, PLAIN, { ...WRITE, fencing: true }]) {
      t.is(await tryLock(redsync, name, options), null);
      t.true((await rejection(other.newMutex(name, options).lock())) instanceof TakenError);
    }
    for (const reader of readers) t.true(await reader.mutex.valid());
    for (const reader of readers) {
      t.is(await tryLock(redsync, name, WRITE), null);
      t.true(await reader.unlock());
    }
    for (const options of [WRITE, PLAIN]) {
      const lock = await other.newMutex(name, options).lock();
      for (const another of [READ, WRITE, PLAIN]) t.is(await tryLock(redsync, name, another), null);
      t.true(await lock.mutex.valid());
      t.true(await lock.unlock());
    }
    await assertNothingLeft(t, backend, name);
  },
);

eachBackend(
  'another library with SET NX is kept off by readers, and keeps them off',
  async (t, backend) => {
    const name = backend.name();
    const redsync = backend.connect(t);
    const set = (server) => server.command('SET', name, 'foreign', 'NX', 'PX', LONG);
    const reader = await redsync.newMutex(name, READ).lock();
    for (const server of backend.servers) t.is(await set(server), null);
    t.true(await reader.unlock());
    for (const server of backend.servers) t.is(await set(server), 'OK');
    for (const options of [READ, WRITE]) t.is(await tryLock(redsync, name, options), null);
    t.true(await backend.isHeldEverywhere(name, 'foreign'));
    t.deepEqual([...new Set(await keysOf(backend.servers, name))], [name]);
  },
  onServers,
);

eachBackend('a writer who waits keeps new readers off, and is next', async (t, backend) => {
  const name = backend.name();
  const [redsync, other] = [backend.connect(t), backend.connect(t)];
  const reader = await redsync.newMutex(name, READ).lock();
  const waiting = other.newMutex(name, { ...WRITE, ...WAITS }).lock();
  await untilSigned(redsync, name);
  t.true(await reader.extend(), 'who reads goes on');
  t.true(await reader.unlock());
  const writer = await waiting;
  t.is(await tryLock(redsync, name, READ), null);
  t.true(await writer.unlock());
  const next = await redsync.newMutex(name, READ).lock();
  t.true(await next.unlock());
  await assertNothingLeft(t, backend, name);
});

eachBackend('no stream of readers keeps a writer out', async (t, backend) => {
  const name = backend.name();
  const [redsync, other] = [backend.connect(t), backend.connect(t)];
  let isOver = false;
  const read = async () => {
    while (!isOver) {
      const reader = await redsync.newMutex(name, { ...READ, ...WAITS }).lock();
      await until(() => reader.remaining < LONG - 300 || isOver);
      await reader.unlock();
    }
  };
  // At any time one of them reads, but for the writer.
  const readers = [read(), read(), read()];
  const writer = await other.newMutex(name, { ...WRITE, ...WAITS }).lock();
  t.true(await writer.mutex.valid());
  await writer.unlock();
  isOver = true;
  await Promise.all(readers);
  await assertNothingLeft(t, backend, name);
});

eachBackend('the sign of a writer is gone when his call has ended', async (t, backend) => {
  const name = backend.name();
  const [redsync, other] = [backend.connect(t), backend.connect(t)];
  const reader = await redsync.newMutex(name, READ).lock();

  const failing = other.newMutex(name, { ...WRITE, tries: 30, retryDelay: 100 }).lock();
  await Promise.all([untilSigned(redsync, name), rejection(failing)]);
  const second = await redsync.newMutex(name, READ).lock();

  const controller = new AbortController();
  const { signal } = controller;
  const aborted = other.newMutex(name, { ...WRITE, ...WAITS }).lock({ signal });
  await untilSigned(redsync, name);
  controller.abort();
  t.is(await rejection(aborted), signal.reason);
  // The sign is released behind the back of who has aborted, long before its end.
  const third = await until(() => tryLock(redsync, name, READ));

  t.is(await tryLock(other, name, WRITE), null, 'who does not wait leaves none');
  const fourth = await redsync.newMutex(name, READ).lock();
  for (const lock of [reader, second, third, fourth]) t.true(await lock.unlock());
  await assertNothingLeft(t, backend, name);
});

eachBackend(
  'a reader who crashed goes at his own end, while others read on',
  async (t, backend) => {
    const name = backend.name();
    const redsync = backend.connect(t);
    const crashed = await redsync.newMutex(name, { ...READ, expiry: SHORT }).lock();
    const reading = await redsync.newMutex(name, READ).lock();
    // A server may find that a little later than its holder.
    await until(async () => !(await crashed.mutex.valid()));
    t.true(await reading.extend());
    t.true(await reading.mutex.valid());
    t.is((await rejection(crashed.unlock())).code, 'ERR_LOCK_EXPIRED');
    t.is(await tryLock(redsync, name, WRITE), null);
    t.true(await reading.unlock());
    const writer = await redsync.newMutex(name, WRITE).lock();
    t.true(await writer.unlock());
    await assertNothingLeft(t, backend, name);
  },
);

eachBackend('the name is free when the last reader has crashed', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t);
  const long = await redsync.newMutex(name, READ).lock();
  await redsync.newMutex(name, { ...READ, expiry: SHORT }).lock();
  t.true(await long.unlock(), 'the mark lives for as long as those who are left');
  const writer = await redsync.newMutex(name, { ...WRITE, ...WAITS }).lock();
  t.true(await writer.unlock());
  await assertNothingLeft(t, backend, name);
});

eachBackend('readers and writers extend their locks', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t);
  for (const options of [READ, WRITE]) {
    const lock = await redsync.newMutex(name, { ...options, expiry: 2000 }).lock();
    const { value } = lock;
    const longer = redsync.newMutex(name, { ...options, value });
    t.true(await longer.extend());
    await until(() => lock.remaining === 0);
    t.true(await longer.valid());
    t.is(await tryLock(redsync, name, WRITE), null);
    t.true(await longer.unlock());
    t.is((await rejection(longer.extend())).code, 'ERR_EXTEND_FAILED', options.mode);
  }
  await assertNothingLeft(t, backend, name);
});

eachBackend('readers and writers are kept alive', async (t, backend) => {
  const [redsync, names] = [backend.connect(t), Array.from({ length: 6 }, () => backend.name())];
  const modes = ['read', 'write', undefined];
  const locks = await Promise.all(
    names.map((name, i) => {
      const options = { ...PLAIN, mode: modes[i % 3], expiry: KEPT, autoExtend: true };
      return redsync.newMutex(name, options).lock();
    }),
  );
  const since = locks.map(({ until: end }) => Number(end));
  await until(() => locks.every((lock, i) => Number(lock.until) > since[i] + KEPT));
  for (const lock of locks) {
    t.false(lock.signal.aborted);
    t.true(await lock.mutex.valid());
    t.true(await lock.unlock());
  }
  for (const name of names) await assertNothingLeft(t, backend, name);
});

eachBackend('a writer becomes a reader without a gap', async (t, backend) => {
  const name = backend.name();
  const [redsync, other] = [backend.connect(t), backend.connect(t)];
  const lock = await redsync.newMutex(name, WRITE).lock();
  let isOver = false;
  // Whoever wants it alone asks all the time.
  const intruders = [WRITE, PLAIN].map(async (options) => {
    for (let tries = 0; ; tries++) {
      if (isOver && tries > 5) return;
      if ((await tryLock(other, name, options)) !== null) t.fail('somebody was let in');
    }
  });
  await lock.downgrade();
  const beside = await other.newMutex(name, READ).lock();
  t.true(await lock.mutex.valid().catch(() => true));
  isOver = true;
  await Promise.all(intruders);
  t.true(await lock.extend());
  t.true(await lock.unlock());
  t.true(await beside.mutex.valid());
  t.true(await beside.unlock());
  await assertNothingLeft(t, backend, name);
});

eachBackend(
  'a lock that is kept alive becomes a reader and is kept as such',
  async (t, backend) => {
    const name = backend.name();
    const redsync = backend.connect(t);
    const options = { ...WRITE, expiry: KEPT, autoExtend: true };
    const lock = await redsync.newMutex(name, options).lock();
    await lock.downgrade();
    const since = Number(lock.until);
    await until(() => lock.signal.aborted || Number(lock.until) > since + KEPT);
    t.false(lock.signal.aborted);
    const beside = await redsync.newMutex(name, READ).lock();
    t.true(await beside.unlock());
    t.true(await lock.unlock());
    await assertNothingLeft(t, backend, name);
  },
);

eachBackend('a writer is released as a reader, whatever he has become', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t);
  for (const isReader of [false, true]) {
    const { value } = await redsync.newMutex(name, WRITE).lock();
    const asReader = redsync.newMutex(name, { ...READ, value });
    if (isReader) t.true(await asReader.extend());
    t.true(await asReader.valid());
    t.true(await asReader.unlock());
    await assertNothingLeft(t, backend, name);
  }
});

eachBackend('a writer has a fencing token, which grows', async (t, backend) => {
  const name = backend.name();
  const [redsync, other] = [backend.connect(t), backend.connect(t)];
  let last = 0;
  for (const each of [redsync, other, redsync]) {
    const writer = await each.newMutex(name, { ...WRITE, fencing: true }).lock();
    t.true(writer.token > last);
    last = writer.token;
    t.is(await tryLock(other, name, READ), null);
    t.true(await writer.unlock());
    const reader = await other.newMutex(name, READ).lock();
    t.is(await tryLock(redsync, name, { ...WRITE, fencing: true }), null);
    const waiting = each.newMutex(name, { ...WRITE, ...WAITS, fencing: true }).lock();
    await untilSigned(redsync, name);
    t.true(await reader.unlock());
    const next = await waiting;
    t.true(next.token > last);
    last = next.token;
    t.true(await next.unlock());
  }
  await until(() => backend.isFreeEverywhere(name));
  if (onServers(backend)) {
    t.deepEqual([...new Set(await keysOf(backend.servers, name))], [`${name}:fence`]);
  }
});

const OTHER_TYPES = {
  async 'the name is a list'(t, server, name) {
    await server.command('RPUSH', name, 'x');
    return [READ, WRITE];
  },
  async 'the readers are a string'(t, server, name) {
    await server.command('SET', `${name}:readers`, 'x');
    return [READ];
  },
  async 'the readers are a string, and there is a mark'(t, server, name) {
    await server.command('SET', name, '#readers', 'PX', LONG);
    await server.command('SET', `${name}:readers`, 'x');
    return [READ];
  },
  async 'the sign is a list'(t, server, name) {
    await server.command('RPUSH', `${name}:sign`, 'x');
    return [WRITE];
  },
  async "the sign is somebody's lock"(t, server, name) {
    await server.command('SET', `${name}:sign`, 'foreign', 'PX', LONG);
    return [WRITE, { ...WRITE, fencing: true }];
  },
  async 'the last token is no number'(t, server, name) {
    await server.command('SET', `${name}:fence`, 'foreign', 'PX', LONG);
    return [{ ...WRITE, fencing: true }];
  },
};

for (const [what, prepare] of Object.entries(OTHER_TYPES)) {
  test.serial(
    `what is stored that is something else grants nothing, and stays: ${what}`,
    async (t) => {
      const [server] = await useServers(t, 1);
      const redsync = new Redsync(server.url, { timeoutFactor: 0.25 });
      t.teardown(() => redsync.close());
      const dump = async () => {
        const keys = (await server.command('KEYS', '*')).sort();
        return Promise.all(keys.map(async (key) => [key, await server.command('DUMP', key)]));
      };
      const all = await prepare(t, server, 'job');
      const before = await dump();
      for (const options of all) {
        const error = await rejection(redsync.newMutex('job', options).lock());
        t.true(error instanceof FailedError || error instanceof TakenError, error.message);
      }
      t.deepEqual(await dump(), before);
    },
  );
}

test.serial(
  "a sign that is somebody else's lock keeps readers off, and is not released",
  async (t) => {
    const [server] = await useServers(t, 1);
    const redsync = new Redsync(server.url, { timeoutFactor: 0.25 });
    t.teardown(() => redsync.close());
    const lock = await redsync.newMutex('job:sign', PLAIN).lock();
    t.is(await tryLock(redsync, 'job', READ), null);
    const { value } = lock;
    await rejection(redsync.newMutex('job', { ...WRITE, value }).unlock());
    t.true(await lock.unlock());
  },
);

test.serial('readers of before are not let in by a new mark', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = new Redsync(server.url, { timeoutFactor: 0.25 });
  t.teardown(() => redsync.close());
  const before = await redsync.newMutex('job', READ).lock();
  await server.command('DEL', 'job');
  t.is((await rejection(before.extend())).code, 'ERR_EXTEND_FAILED');
  const writer = await redsync.newMutex('job', WRITE).lock();
  await writer.downgrade();
  t.false(await redsync.newMutex('job', { ...READ, value: before.value }).valid());
  t.true(await writer.unlock());
  t.is(await server.command('DBSIZE'), 0);
});

test.serial('the mark outlives each reader, and nothing outlives them all', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = new Redsync(server.url, { timeoutFactor: 0.25 });
  t.teardown(() => redsync.close());
  const ends = () =>
    Promise.all(['job', 'job:readers'].map((key) => server.command('PEXPIRETIME', key)));
  const last = async () =>
    Number((await server.command('ZRANGE', 'job:readers', -1, -1, 'WITHSCORES'))[1]);
  const agree = async () => t.deepEqual(await ends(), [await last(), await last()]);
  const one = await redsync.newMutex('job', { ...READ, expiry: 10_000 }).lock();
  await agree();
  const two = await redsync.newMutex('job', { ...READ, expiry: 40_000 }).lock();
  await agree();
  const three = await redsync.newMutex('job', { ...READ, expiry: 30_000 }).lock();
  await agree();
  t.true(await one.extend());
  await agree();
  t.true(await two.unlock());
  await agree();
  t.true((await server.command('PTTL', 'job')) <= 30_000);
  t.true(await three.extend());
  await agree();
  t.true(await three.unlock());
  await agree();
  t.true(await one.unlock());
  t.is(await server.command('DBSIZE'), 0);
});

test.serial("what is in a reader's way is told, and when it changes", async (t) => {
  const [server] = await useServers(t, 1);
  const [hears, looks] = await Promise.all([server.connect(), server.connect()]);
  t.teardown(() => [hears, looks].forEach((client) => client.close()));
  const told = new Set();
  const number = await hears.command('CLIENT', 'ID');
  await hears.command('SUBSCRIBE', '__redis__:invalidate');
  hears.onMessage = ([, , keys]) => keys.forEach((key) => told.add(key));
  await looks.command('CLIENT', 'TRACKING', 'ON', 'REDIRECT', number);
  const look = () => looks.command('EVAL', SCRIPTS.watchRead.source, 2, 'job', 'job:sign');
  const isTold = async (key, ...command) => {
    told.clear();
    await server.command(...command);
    await until(() => told.has(key));
  };
  t.is(await look(), -2);
  await isTold('job', 'SET', 'job', '#readers', 'PX', 5000);
  t.is(await look(), -2, "readers are in nobody's way");
  await isTold('job:sign', 'SET', 'job:sign', 'x', 'PX', 3000);
  t.true((await look()) > 2000, 'a sign');
  await isTold('job:sign', 'DEL', 'job:sign');
  t.is(await look(), -2);
  await isTold('job', 'SET', 'job', 'value', 'PX', 5000);
  t.true((await look()) > 4000, 'a writer');
  await isTold('job', 'PERSIST', 'job');
  t.is(await look(), -1);
  await isTold('job', 'DEL', 'job');
  await server.command('RPUSH', 'job', 'x');
  t.is(await look(), -1, 'something else');
});

test.serial('a server that has forgotten the scripts is told them again', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = new Redsync(server.url, { timeoutFactor: 0.25 });
  t.teardown(() => redsync.close());
  for (let i = 0; i < 2; i++) {
    const writer = await redsync.newMutex('job', WRITE).lock();
    await server.command('SCRIPT', 'FLUSH');
    await writer.downgrade();
    const reader = await redsync.newMutex('job', READ).lock();
    await server.command('SCRIPT', 'FLUSH');
    t.true(await reader.mutex.valid());
    await server.command('SCRIPT', 'FLUSH');
    t.true(await reader.unlock());
    t.true(await writer.unlock());
  }
  t.is(await server.command('DBSIZE'), 0);
});

/** Readers, a writer who waits for them, and who follows him; on nodes that share no more than these. */
async function takeTurns(t, nodes, names) {
  const open = () => {
    const redsync = new Redsync(nodes, { timeoutFactor: 0.25 });
    t.teardown(() => redsync.close());
    return redsync;
  };
  const [redsync, other] = [open(), open()];
  for (const name of names) {
    const readers = [];
    for (const each of [redsync, other]) {
      readers.push(await each.newMutex(name, { ...READ, tries: 20 }).lock());
    }
    t.is(await tryLock(redsync, name, PLAIN), null);
    const waiting = other.newMutex(name, { ...WRITE, ...WAITS, fencing: true }).lock();
    await untilSigned(redsync, name);
    for (const reader of readers) t.true(await reader.extend());
    for (const reader of readers) t.true(await reader.unlock());
    const writer = await waiting;
    t.true(writer.token > 0);
    t.is(await tryLock(redsync, name, READ), null);
    await writer.downgrade();
    const beside = await redsync.newMutex(name, READ).lock();
    t.true(await writer.unlock());
    t.true(await beside.unlock());
  }
}

test.serial('behind sentinels', async (t) => {
  const sentinels = await useSentinels(t);
  await takeTurns(t, sentinels.url(), ['job']);
});

test.serial('in a cluster they are in the slot of the name', async (t) => {
  const cluster = await useCluster(t);
  const names = [...cluster.servers.map((server) => cluster.nameOn(server)), '{tag}}job'];
  await takeTurns(t, cluster.url(), names);
  const keys = await keysOf(cluster.servers, '');
  t.deepEqual(
    keys.filter((key) => !key.endsWith(':fence')),
    [],
  );
});

for (const [kind, connect] of Object.entries(CLUSTER_CLIENTS)) {
  test.serial(`in a cluster by way of ${kind}`, async (t) => {
    const cluster = await useCluster(t);
    const client = await connect(cluster.servers);
    t.teardown(() => client.close());
    const names = cluster.servers.map((server) => cluster.nameOn(server));
    await takeTurns(t, client.pool, names);
    const keys = await keysOf(cluster.servers, '');
    t.deepEqual(
      keys.filter((key) => !key.endsWith(':fence')),
      [],
    );
  });
}

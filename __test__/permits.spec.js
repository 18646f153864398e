'use strict';

// Permits: so many hold a name at once, and never more; on every kind of node.

const test = require('ava');

const { FailedError, LockLostError, Redsync, TakenError } = require('../index.js');
const { permitKey, permitOf } = require('../lib/permits.js');
const { newClock } = require('../lib/testing.js');
const { delay, rejection, until, untilSteady } = require('./helpers/async.js');
const { KEPT, overBackends } = require('./helpers/backends.js');
const { useCluster } = require('./helpers/cluster.js');
const { endedWell, startProcess } = require('./helpers/processes.js');
const { deadUrl, monitor, useServers } = require('./helpers/servers.js');

const eachBackend = overBackends(test, { sizes: [1, 3] });

const LONG = 600_000;

/** A schedule that plays no part: who is woken is woken by notice. */
const PATIENT = { expiry: LONG, retryDelay: LONG, tries: Infinity, timeoutFactor: 0.01 };

const numbersTo = (count) => Array.from({ length: count }, (_, i) => i + 1);
const keysOf = (name, permits) => numbersTo(permits).map((permit) => permitKey(name, permit));

/**
 * Takes all permits, some by each client, as calls do that would wait: then their process knows of them. Gives the locks
 * in the order of their permits.
 */
async function takeAll(clients, name, permits, options) {
  const locks = [];
  for (const i of numbersTo(permits)) {
    const mutex = clients[i % clients.length].newSemaphore(name, permits, options);
    locks.push(await mutex.lock());
  }
  return locks.sort((one, other) => permitOf(one.value) - permitOf(other.value));
}

const unlockAll = (locks) => Promise.all(locks.map((lock) => lock.unlock()));

async function areFree(backend, name, permits) {
  const all = await Promise.all(keysOf(name, permits).map((key) => backend.isFreeEverywhere(key)));
  return all.every(Boolean);
}

eachBackend('so many hold it, each a permit of its own, and no one more', async (t, backend) => {
  const name = backend.name();
  const clients = [1, 2].map(() => backend.connect(t, { tries: 1 }));
  const locks = await takeAll(clients, name, 3);
  t.deepEqual(
    locks.map(({ value }) => permitOf(value)),
    [1, 2, 3],
  );
  t.regex(locks[0].value, /^[A-Za-z0-9+/=]{24}#o=/);
  t.regex(locks[1].value, /^[A-Za-z0-9+/=]{24}#p=2#o=/);
  for (const [i, { value }] of locks.entries()) {
    t.true(await backend.isHeldByQuorum(permitKey(name, i + 1), value));
  }
  for (const client of clients) {
    const semaphore = client.newSemaphore(name, 3);
    t.is(await semaphore.tryLock(), null);
    const error = await rejection(semaphore.lock());
    t.true(error instanceof TakenError);
    t.is(error.attempts, 1);
  }
  t.deepEqual(await Promise.all(locks.map((lock) => lock.extend())), [true, true, true]);
  t.deepEqual(await Promise.all(locks.map(({ mutex }) => mutex.valid())), [true, true, true]);
  t.deepEqual(await unlockAll(locks), [true, true, true]);
  await until(() => areFree(backend, name, 4));
});

eachBackend('tryLock() finds the only permit that is free', async (t, backend) => {
  const name = backend.name();
  const [one, two] = [backend.connect(t), backend.connect(t)];
  const locks = await takeAll([one], name, 5);
  for (const permit of [3, 1, 5, 2, 4]) {
    await locks[permit - 1].unlock();
    for (const client of [two, one]) {
      const lock = await client.newSemaphore(name, 5).tryLock();
      t.is(permitOf(lock.value), permit);
      t.is(await two.newSemaphore(name, 5).tryLock(), null);
      locks[permit - 1] = lock;
      if (client === two) await lock.unlock();
    }
  }
  await unlockAll(locks);
  await until(() => areFree(backend, name, 5));
});

/** Over a Pool nobody is told of a release: who comes next is who looks next. */
const isTold = ({ kind }) => ['memory', 'redis'].includes(kind);

eachBackend('who waits gets whichever permit is released', async (t, backend) => {
  const [holder, waiter] = [backend.connect(t), backend.connect(t)];
  for (const released of [1, 2]) {
    const name = backend.name();
    const locks = await takeAll([holder], name, 2, { expiry: LONG });
    const order = [];
    const waiting = numbersTo(4).map(async (i) => {
      const lock = await waiter.newSemaphore(name, 2, { expiry: LONG, tries: Infinity }).lock();
      order.push(i);
      await lock.unlock();
      return permitOf(lock.value);
    });
    await locks[released - 1].unlock();
    t.deepEqual(await Promise.all(waiting), [released, released, released, released]);
    if (isTold(backend)) t.deepEqual(order, [1, 2, 3, 4]);
    await locks[2 - released].unlock();
    await until(() => areFree(backend, name, 2));
  }
});

eachBackend('a plain mutex of the name holds permit 1', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { tries: 1 });
  const plain = await redsync.newMutex(name).lock();
  t.false(plain.value.includes('#p='));
  const second = await redsync.newSemaphore(name, 2).lock();
  t.is(permitOf(second.value), 2);
  t.is(await redsync.newSemaphore(name, 2).tryLock(), null);
  await plain.unlock();
  const first = await redsync.newSemaphore(name, 2).lock();
  t.is(permitOf(first.value), 1);
  t.is(await redsync.newMutex(name).tryLock(), null);
  await first.unlock();
  const again = await redsync.newMutex(name).tryLock();
  t.not(again, null, 'permit 2 is nothing to it');
  await unlockAll([again, second]);
});

eachBackend('a key that anybody has set to the name takes permit 1', async (t, backend) => {
  const name = backend.name();
  await backend.plantEverywhere(name);
  const locks = [];
  const redsync = backend.connect(t, { tries: 1 });
  for (const permit of [2, 3]) {
    locks.push(await redsync.newSemaphore(name, 3).lock());
    t.true([2, 3].includes(permitOf(locks.at(-1).value)), `${permit}`);
  }
  t.is(await redsync.newSemaphore(name, 3).tryLock(), null);
  await backend.removeEverywhere(name, 'foreign');
  locks.push(await redsync.newSemaphore(name, 3).lock());
  t.is(permitOf(locks[2].value), 1);
  await unlockAll(locks);
});

eachBackend('where limits differ, who asks with n uses the first n', async (t, backend) => {
  const name = backend.name();
  const [small, great] = [backend.connect(t), backend.connect(t)];
  const locks = await takeAll([great], name, 4);
  t.is(await small.newSemaphore(name, 2).tryLock(), null);
  const waiting = small.newSemaphore(name, 2, { expiry: 60_000, tries: Infinity }).lock();
  let isHeld = false;
  waiting.then(() => (isHeld = true)).catch(() => {});
  for (const permit of [3, 4]) {
    await locks[permit - 1].unlock();
    const lock = await great.newSemaphore(name, 4).tryLock();
    t.is(permitOf(lock.value), permit);
    locks[permit - 1] = lock;
  }
  await delay(100);
  t.false(isHeld);
  await locks[1].unlock();
  const lock = await waiting;
  t.is(permitOf(lock.value), 2);
  t.is(await small.newSemaphore(name, 2).tryLock(), null);
  await unlockAll([lock, locks[0], locks[2], locks[3]]);
  await until(() => areFree(backend, name, 4));
});

eachBackend('by its value a lock is released, extended and kept elsewhere', async (t, backend) => {
  const name = backend.name();
  const [holder, heir] = [backend.connect(t), backend.connect(t)];
  const [first, second, third] = await takeAll([holder], name, 3, { expiry: KEPT });
  const adopted = ({ value }, options) => heir.newSemaphore(name, 3, { value, ...options });

  t.true(await adopted(first).valid());
  t.true(await adopted(first).unlock());
  t.is(await backend.isFreeEverywhere(name), true);

  const kept = adopted(second, { expiry: KEPT, autoExtend: true });
  t.true(await kept.extend());
  const begin = kept.until.getTime();
  const used = await heir.using(
    name,
    { value: third.value, permits: 3, expiry: KEPT },
    async (signal) => {
      await until(() => kept.until.getTime() > begin + KEPT);
      return signal.aborted;
    },
  );
  t.false(used);
  t.true(await backend.isHeldByQuorum(permitKey(name, 2), second.value));
  t.true(await backend.isFreeEverywhere(permitKey(name, 3)));
  t.false(await holder.newSemaphore(name, 3, { value: third.value }).valid());
  t.true(await kept.unlock());
  t.is((await rejection(kept.unlock())).code, 'ERR_LOCK_EXPIRED');
  await until(() => areFree(backend, name, 3));
});

eachBackend(
  'autoExtend keeps each permit, and its signal tells of its loss alone',
  async (t, backend) => {
    const name = backend.name();
    const redsync = backend.connect(t, { expiry: KEPT, autoExtend: true });
    const locks = await takeAll([redsync], name, 2);
    const begin = locks.map((lock) => lock.until.getTime());
    await until(() => locks.every((lock, i) => lock.until.getTime() > begin[i] + KEPT));
    t.is(await redsync.newSemaphore(name, 2).tryLock(), null);
    const [first, second] = locks;
    const { signal } = second;
    await backend.removeEverywhere(permitKey(name, 2), second.value);
    await until(() => signal.aborted);
    t.true(signal.reason instanceof LockLostError);
    t.false(first.signal.aborted);
    t.true(await first.unlock());
    await until(() => areFree(backend, name, 2));
  },
);

eachBackend('letExpire() lets a permit run out, whichever it is', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { expiry: KEPT, autoExtend: true });
  const locks = await takeAll([redsync], name, 2);
  for (const lock of locks) lock.letExpire();
  await until(() => areFree(backend, name, 2), { timeout: 3 * KEPT });
  await until(() => locks.every(({ remaining }) => remaining === 0));
  t.pass();
});

eachBackend('using() holds a permit while its routine runs', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t);
  let inside = 0;
  let most = 0;
  const results = await Promise.all(
    numbersTo(9).map((i) =>
      redsync.using(name, { permits: 3, tries: Infinity }, async (signal) => {
        most = Math.max(most, ++inside);
        await until(() => most >= 3); // the first ones wait for each other
        inside--;
        return signal.aborted ? 'lost' : i;
      }),
    ),
  );
  t.deepEqual(results, numbersTo(9));
  t.is(most, 3);
  await until(() => areFree(backend, name, 3));
});

eachBackend('genValue makes the value before its permit', async (t, backend) => {
  const name = backend.name();
  let made = 0;
  const redsync = backend.connect(t, { genValue: () => `mine:${++made}` });
  const locks = await takeAll([redsync], name, 2);
  t.regex(locks[0].value, /^mine:\d+$/);
  t.regex(locks[1].value, /^mine:\d+#p=2$/);
  await unlockAll(locks);
  const bad = backend.connect(t, { genValue: () => 'a#b' });
  await t.throwsAsync(bad.newSemaphore(name, 2).lock(), { code: 'ERR_OUT_OF_RANGE' });
});

eachBackend('inspect() tells of each permit', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t);
  const locks = await takeAll([redsync], name, 3);
  await locks[1].unlock();
  await until(() => backend.isFreeEverywhere(permitKey(name, 2)));
  const found = await redsync.inspect(name, { permits: 3 });
  t.deepEqual(
    found.map(({ permit, node }) => [permit, node]),
    numbersTo(3).flatMap((permit) => backend.indices.map((node) => [permit, node])),
  );
  for (const { permit, status, value } of found) {
    if (permit === 2) t.deepEqual([status, value], ['free', undefined]);
    else if (status === 'held') t.is(value, locks[permit - 1].value);
  }
  const held = found.filter(({ status }) => status === 'held');
  t.true(held.length >= 2 * backend.quorum, `${held.length}`);
  t.false('permit' in (await redsync.inspect(name))[0]);
  await unlockAll([locks[0], locks[2]]);
});

eachBackend(
  'a quorum that is down is no permit',
  async (t, backend) => {
    const name = backend.name();
    const [up] = backend.inputs();
    const down = [up, await deadUrl(), await deadUrl()];
    const redsync = new Redsync(down, { tries: 1, timeoutFactor: 0.1 });
    t.teardown(() => redsync.close());
    const error = await rejection(redsync.newSemaphore(name, 3).lock());
    t.is(error.constructor, FailedError);
    await untilSteady(() => areFree(backend, name, 3));
  },
  ({ size, kind }) => size === 3 && ['memory', 'redis'].includes(kind),
);

// --- waiting

function connect(t, servers, options) {
  const redsync = new Redsync(
    servers.map(({ url }) => url),
    { ...PATIENT, ...options },
  );
  t.teardown(() => redsync.close());
  return redsync;
}

const command = (servers, ...words) =>
  Promise.all(servers.map((server) => server.command(...words)));

const isEmpty = async (servers) =>
  (await command(servers, 'DBSIZE')).every((count) => Number(count) === 0);

for (const size of [1, 3]) {
  test(`who waits is told of any permit, and asks nothing meanwhile [${size}]`, async (t) => {
    const servers = await useServers(t, size);
    const waiter = connect(t, servers);
    await waiter.ready();
    const keys = keysOf('name', 5);
    for (const key of keys) await command(servers, 'SET', key, 'foreign', 'PX', LONG);
    const calls = numbersTo(5).map(() => waiter.newSemaphore('name', 5).lock());
    const monitors = await Promise.all(servers.map((server) => monitor(t, server)));
    const own = async () => {
      const all = (await Promise.all(monitors.map(({ settle }) => settle()))).flat();
      return all.filter(([verb]) => !['ECHO', 'INFO', 'PING'].includes(verb.toUpperCase()));
    };
    await untilSteady(
      async () => {
        const before = (await own()).length;
        await delay(100);
        return (await own()).length === before;
      },
      { period: 300 },
    );
    const before = (await own()).length;
    await delay(1000);
    t.is((await own()).length, before);

    const locks = [];
    for (const [i, key] of [...keys].reverse().entries()) {
      await command(servers, 'DEL', key);
      locks.push(await calls[i]);
      t.is(permitKey('name', permitOf(locks[i].value)), key);
    }
    await unlockAll(locks);
    await untilSteady(() => isEmpty(servers));
  });

  test(`a permit that expires is had at once [${size}]`, async (t) => {
    const servers = await useServers(t, size);
    const waiter = connect(t, servers);
    await command(servers, 'SET', 'name', 'foreign', 'PX', LONG);
    await command(servers, 'SET', 'name:permit:2', 'foreign', 'PX', 400);
    const lock = await waiter.newSemaphore('name', 2).lock();
    t.is(permitOf(lock.value), 2);
    t.true(await lock.unlock());
  });
}

test('a signal takes a call out of the line, and the next one has its turn', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, servers);
  for (const key of keysOf('name', 2)) await command(servers, 'SET', key, 'foreign', 'PX', LONG);
  const controller = new AbortController();
  const semaphore = () => redsync.newSemaphore('name', 2);
  const gone = rejection(semaphore().lock({ signal: controller.signal }));
  const next = semaphore().lock();
  await delay(100);
  controller.abort('enough');
  t.is(await gone, 'enough');
  await command(servers, 'DEL', 'name');
  const lock = await next;
  t.is(permitOf(lock.value), 1);
  t.true(await lock.unlock());
  await command(servers, 'DEL', 'name:permit:2');
  await untilSteady(() => isEmpty(servers));
});

test('a mutex and a semaphore of one name wait side by side', async (t) => {
  const servers = await useServers(t, 3);
  const [one, two] = [connect(t, servers), connect(t, servers)];
  for (const key of keysOf('name', 2)) await command(servers, 'SET', key, 'foreign', 'PX', LONG);
  const plain = one.newMutex('name').lock();
  const permit = two.newSemaphore('name', 2).lock();
  await delay(100);
  await command(servers, 'DEL', 'name:permit:2');
  t.is(permitOf((await permit).value), 2);
  await command(servers, 'DEL', 'name');
  t.false((await plain).value.includes('#p='));
  await unlockAll([await permit, await plain]);
  await untilSteady(() => isEmpty(servers));
});

// --- processes

/** Works in a process of its own: so many workers, so many turns each. Counts on a server who is inside. */
async function workInside(file, ioredis, [urls, permits, workers, turns, counter]) {
  const { Redsync } = require(file);
  const Redis = require(ioredis);
  const observer = new Redis(counter);
  const redsync = new Redsync(urls, { expiry: 20_000, tries: Infinity, timeoutFactor: 0.25 });
  await redsync.ready();
  let most = 0;
  const work = async () => {
    for (let i = 0; i < turns; i++) {
      const lock = await redsync.newSemaphore('busy', permits).lock();
      most = Math.max(most, await observer.incr('inside'));
      await new Promise((resolve) => setTimeout(resolve, 2));
      await observer.decr('inside');
      await lock.unlock();
    }
  };
  await Promise.all(Array.from({ length: workers }, work));
  await redsync.close();
  observer.disconnect();
  console.log(most);
}

for (const size of [1, 3]) {
  test.serial(`processes that contend are never more than the permits [${size}]`, async (t) => {
    const servers = await useServers(t, size);
    const [observer] = await useServers(t, 1);
    const urls = servers.map(({ url }) => url);
    const limits = [3, 3, 3, 2]; // one of them knows of fewer
    const all = limits.map((permits) =>
      startProcess({}, workInside, require.resolve('ioredis'), [
        urls,
        permits,
        6,
        10,
        observer.url,
      ]),
    );
    const results = await Promise.all(all.map(({ ended }) => ended));
    for (const result of results) endedWell(t, result);
    const most = results.map(({ stdout }) => Number(stdout));
    t.is(Math.max(...most), 3, `${most}`);
    await untilSteady(() => isEmpty(servers));
  });
}

test.serial('a holder who dies leaves its permit at its expiry, and no other', async (t) => {
  const servers = await useServers(t, 3);
  const urls = servers.map(({ url }) => url);
  const redsync = connect(t, servers);
  const mine = await redsync.newSemaphore('name', 2).lock();
  const other = startProcess(
    {},
    async (file, nodes) => {
      const { Redsync } = require(file);
      const held = new Redsync(nodes, { expiry: 1500, autoExtend: true, timeoutFactor: 0.25 });
      const lock = await held.newSemaphore('name', 2).lock();
      console.log(`holds ${lock.value}`);
      setInterval(() => {}, 1000);
    },
    urls,
  );
  const value = await other.says('holds');
  t.not(permitOf(value), permitOf(mine.value));
  const waiting = redsync.newSemaphore('name', 2).lock();
  await delay(2500); // it is kept for longer than its expiry
  t.is(await redsync.newSemaphore('name', 2).tryLock(), null);
  const died = Date.now();
  process.kill(other.pid, 'SIGKILL');
  const lock = await waiting;
  t.is(permitOf(lock.value), permitOf(value));
  t.true(Date.now() - died < 10_000);
  t.true(await mine.extend());
  await unlockAll([mine, lock]);
  await untilSteady(() => isEmpty(servers));
});

// --- other nodes

test('permits by a clock for tests', async (t) => {
  const clock = newClock();
  const redsync = new Redsync(clock.nodes(), { expiry: 10_000, tries: 1 });
  t.teardown(() => redsync.close());
  const locks = await takeAll([redsync], 'name', 2);
  t.is(await redsync.newSemaphore('name', 2).tryLock(), null);
  await clock.advance(5000);
  t.true(await locks[1].extend());
  await clock.advance(6000);
  t.is(locks[0].remaining, 0);
  t.true(locks[1].remaining > 0);
  const lock = await redsync.newSemaphore('name', 2).tryLock();
  t.is(permitOf(lock.value), 1);
  t.is(await redsync.newSemaphore('name', 2).tryLock(), null);
  await unlockAll([lock, locks[1]]);
});

test.serial('in a cluster permits are in slots of their own', async (t) => {
  const cluster = await useCluster(t);
  const redsync = new Redsync(cluster.url(), { expiry: 20_000, timeoutFactor: 0.25, tries: 1 });
  t.teardown(() => redsync.close());
  const name = 'a}b';
  const locks = await takeAll([redsync], name, 5);
  for (const [i, { value }] of locks.entries()) {
    const key = permitKey(name, i + 1);
    t.is(await cluster.ownerOf(key).command('GET', key), value);
  }
  t.true(new Set(keysOf(name, 5).map((key) => cluster.ownerOf(key))).size > 1);
  const waiting = redsync.newSemaphore(name, 5, { tries: Infinity, retryDelay: LONG }).lock();
  await delay(100);
  await locks[3].unlock();
  const lock = await waiting;
  t.is(permitOf(lock.value), 4);
  locks[3] = lock;
  await unlockAll(locks);
});

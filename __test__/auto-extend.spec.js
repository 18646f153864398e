'use strict';

const test = require('ava');

const { ClosedError, LockLostError, Redsync } = require('../index.js');
const { delay, until, untilSteady } = require('./helpers/async.js');
const { KEPT, overBackends } = require('./helpers/backends.js');
const { endedWell, startProcess } = require('./helpers/processes.js');
const { useProxy } = require('./helpers/proxy.js');
const { useServers } = require('./helpers/servers.js');

const eachBackend = overBackends(test, { sizes: [1, 3] });
const onRedis = ({ kind }) => kind === 'redis';

/** How late the news of a loss may be on a busy machine. */
const LATE = 300;

function connect(t, servers, options) {
  const urls = servers.map(({ url }) => url);
  const redsync = new Redsync(urls, { timeoutFactor: 0.5, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

async function count(servers, isMeant) {
  const all = await Promise.all(servers.map((server) => isMeant(server).catch(() => false)));
  return all.filter(Boolean).length;
}

function stored(servers, name, value) {
  return count(servers, async (server) => (await server.command('GET', name)) === value);
}

async function isGone(servers, name) {
  return (
    (await count(servers, async (server) => (await server.command('EXISTS', name)) === 0)) ===
    servers.length
  );
}

/** Looks from outside whether a quorum stores the value; what it returns ends that, and counts. */
function observe(servers, name, value) {
  const quorum = Math.floor(servers.length / 2) + 1;
  const seen = { held: 0, lost: 0 };
  let isStopped = false;
  const done = (async () => {
    while (!isStopped) {
      const isHeld = (await stored(servers, name, value)) >= quorum;
      seen[isHeld ? 'held' : 'lost']++;
      await delay(5);
    }
  })();
  return async () => {
    isStopped = true;
    await done;
    return seen;
  };
}

/** Resolves with the reason when the signal aborts, and when by either clock. */
function aborted(lock) {
  const { signal } = lock;
  return new Promise((resolve) => {
    const settle = () =>
      resolve({
        reason: signal.reason,
        late: Date.now() - lock.until,
        at: performance.now(),
      });
    if (signal.aborted) settle();
    else signal.addEventListener('abort', settle);
  });
}

function isLoss(t, reason, message) {
  t.true(reason instanceof LockLostError, reason?.stack);
  t.is(reason.code, 'ERR_LOCK_LOST');
  t.regex(reason.message, message);
}

eachBackend('a lock is kept until it is released', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { expiry: KEPT, autoExtend: true });
  const lock = await redsync.newMutex(name).lock();
  const { signal } = lock;
  const first = lock.until;
  await until(() => signal.aborted || lock.until > first.getTime() + KEPT);
  t.false(signal.aborted, signal.reason?.stack);
  t.true(lock.remaining > 0 && lock.remaining <= KEPT);
  t.deepEqual(lock.mutex.until, lock.until);
  t.true(await lock.mutex.valid());
  t.true(await backend.isHeldEverywhere(name, lock.value));
  t.true(await lock.unlock());
  t.true(await backend.isFreeEverywhere(name));
  await delay(KEPT + 100);
  t.false(signal.aborted);
  t.is(lock.remaining, 0);
});

eachBackend('autoExtend: false and no option let it expire', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { expiry: 400 });
  await redsync.newMutex(name, { autoExtend: false }).lock();
  await until(() => backend.isFreeEverywhere(name));
  t.truthy(await redsync.newMutex(name).tryLock());
});

eachBackend('several names are kept together', async (t, backend) => {
  const names = [backend.name(), backend.name()];
  const redsync = backend.connect(t, { expiry: KEPT });
  const lock = await redsync.acquire(names, { autoExtend: { interval: 50 } });
  const first = lock.until;
  await until(() => lock.until > first.getTime() + 700);
  for (const name of names) t.true(await backend.isHeldEverywhere(name, lock.value));
  t.true(await lock.unlock());
  for (const name of names) t.true(await backend.isFreeEverywhere(name));
});

eachBackend('what was extended by hand is kept as well', async (t, backend) => {
  const redsync = backend.connect(t, { expiry: 60_000, autoExtend: true });
  const lock = await redsync.newMutex(backend.name()).lock();
  const first = lock.until;
  await until(() => Date.now() > first - 60_000 + 700);
  t.true(await lock.extend());
  t.true(lock.until > first);
  t.true(await lock.unlock());
});

eachBackend('close() stops it, and says so', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { expiry: 700, autoExtend: true });
  const lock = await redsync.newMutex(name).lock();
  const watched = await redsync.newMutex(backend.name(), { autoExtend: false }).lock();
  const losses = [aborted(lock), aborted(watched)];
  await redsync.close();
  for (const { reason } of await Promise.all(losses)) {
    isLoss(t, reason, /is lost: the Redsync was closed$/);
    t.true(reason.cause instanceof ClosedError);
  }
  t.is(lock.remaining, 0);
  await t.throwsAsync(lock.extend(), { instanceOf: ClosedError });
  await until(() => backend.isFreeEverywhere(name));
});

eachBackend('the value may be the same for several names', async (t, backend) => {
  const redsync = backend.connect(t, { expiry: KEPT, autoExtend: true, genValue: () => 'mine' });
  const [one, other] = await Promise.all([
    redsync.newMutex(backend.name()).lock(),
    redsync.newMutex(backend.name()).lock(),
  ]);
  t.true(await one.unlock());
  const first = other.until;
  await until(() => other.until > first.getTime() + KEPT);
  t.false(other.signal.aborted);
  t.true(await other.unlock());
});

// --- the event loop is blocked

async function holdBlocked(file, urls, options, blocked) {
  const { Redsync } = require(file);
  const redsync = new Redsync(urls, { timeoutFactor: 0.5 });
  const lock = await redsync.newMutex('blocked', options).lock();
  const { signal } = lock;
  console.log(`value ${lock.value}`);
  await new Promise((resolve) => setTimeout(resolve, 100)); // a turn, to print it
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, blocked);
  console.log('awake');
  if (options.autoExtend.maxStall) {
    setTimeout(() => {}, 1000); // the lock does not keep the process alive
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
    console.log(`reason ${signal.reason.message}`);
    await lock.unlock().catch((error) => console.log(error.code));
  } else {
    console.log(`kept ${lock.remaining > 0} ${await lock.mutex.valid()}`);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    console.log(`aborted ${signal.aborted}`);
    console.log(`unlocked ${await lock.unlock()}`);
  }
}

for (const size of [1, 3]) {
  test.serial(`a lock outlives a block of three times its expiry [${size} redis]`, async (t) => {
    const servers = await useServers(t, size);
    const urls = servers.map(({ url }) => url);
    const options = { expiry: 1000, autoExtend: {} };
    const child = startProcess({}, holdBlocked, urls, options, 3000);
    const stop = observe(servers, 'blocked', await child.says('value '));
    await child.says('awake');
    const { held, lost } = await stop();
    t.is(lost, 0, 'as seen from outside');
    t.true(held > 100, `${held} looks`);
    const result = await child.ended;
    endedWell(t, result);
    t.regex(result.stdout, /kept true true\naborted false\nunlocked true$/);
    t.true(await isGone(servers, 'blocked'));
  });
}

test.serial('a block longer than maxStall ends the lock', async (t) => {
  const servers = await useServers(t, 3);
  const urls = servers.map(({ url }) => url);
  const options = { expiry: 600, autoExtend: { maxStall: 900 } };
  const child = startProcess({}, holdBlocked, urls, options, 5000);
  const value = await child.says('value ');
  await delay(500);
  t.true((await stored(servers, 'blocked', value)) >= 2, 'kept at first');
  await until(() => isGone(servers, 'blocked'));
  t.false(child.output.stdout.includes('awake'), 'while it was blocked');
  const result = await child.ended;
  endedWell(t, result);
  t.regex(result.stdout, /reason lock "blocked" is lost: the event loop did not turn .*maxStall/);
  t.regex(result.stdout, /ERR_LOCK_EXPIRED$/);
});

test.serial('a process that sleeps does not stall', async (t) => {
  const [server] = await useServers(t, 1);
  // The timer of the interval is the only thing that wakes it: longer than maxStall.
  const options = { expiry: 3000, autoExtend: { interval: 900, maxStall: 300 } };
  const lock = await connect(t, [server]).newMutex('idle', options).lock();
  const first = lock.until;
  await delay(4000);
  t.true(lock.until - first > 2000);
  t.false(lock.signal.aborted);
  t.true(await lock.unlock());
});

// --- the lock is lost

eachBackend('maxHold ends it on time', async (t, backend) => {
  const name = backend.name();
  const autoExtend = { interval: 100, maxHold: 800 };
  const start = performance.now();
  const lock = await backend.connect(t).newMutex(name, { expiry: 600, autoExtend }).lock();
  const { reason, late, at } = await aborted(lock);
  isLoss(t, reason, /is lost: it was held for as long as maxHold allows$/);
  t.true(at - start >= 700, `held for ${at - start} ms`);
  t.true(at - start <= 800 + 600 + LATE, `held for ${at - start} ms`);
  t.true(late <= LATE, `told ${late} ms late`);
  await until(() => backend.isFreeEverywhere(name));
});

test.serial('it is lost when the quorum is gone, and not before', async (t) => {
  const servers = await useServers(t, 5);
  const redsync = connect(t, servers, { expiry: 1500, autoExtend: true });
  const lock = await redsync.newMutex('dwindling').lock();
  const { signal } = lock;
  const loss = aborted(lock);
  for (const server of servers.slice(0, 2)) {
    await server.kill();
    const before = lock.until;
    await until(() => lock.until > before.getTime() + 1500);
    t.false(signal.aborted, 'a quorum is left');
  }
  await servers[2].kill();
  const killed = Date.now();
  const { reason, late } = await loss;
  isLoss(t, reason, /is lost: it has expired$/);
  t.true(late <= LATE, `told ${late} ms late`);
  t.true(lock.until > killed, 'it was valid for what was left');
  t.is(lock.remaining, 0);
});

test.serial('hung nodes do not hold up the news', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, servers, { expiry: 1500, autoExtend: true });
  const lock = await redsync.newMutex('hung').lock();
  const loss = aborted(lock);
  for (const server of servers) server.pause();
  const { reason, late } = await loss;
  isLoss(t, reason, /is lost: it has expired$/);
  t.true(late <= LATE, `told ${late} ms late`);
});

test.serial('a quorum that is back in time keeps it', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, servers, { expiry: 6000, autoExtend: { interval: 100 } });
  const lock = await redsync.newMutex('name').lock();
  for (const server of servers) server.pause();
  await delay(1500);
  for (const server of servers) server.resume();
  const first = lock.until;
  await until(() => lock.until > first.getTime() + 3000);
  t.false(lock.signal.aborted);
  t.true(await lock.unlock());
});

const THEFTS = [
  ['deleted', /is lost: it was deleted$/, (server, name) => server.command('DEL', name)],
  [
    'stolen',
    /is lost: another holder has taken it$/,
    (server, name) => server.command('SET', name, 'theirs', 'PX', 60_000),
  ],
];

for (const [what, message, steal] of THEFTS) {
  eachBackend(
    `a key that is ${what} is noticed by the next extension`,
    async (t, backend) => {
      const { servers } = backend;
      const name = backend.name();
      const options = { expiry: 60_000, autoExtend: { interval: 300 }, setNXOnExtend: true };
      const lock = await backend.connect(t).newMutex(name, options).lock();
      const loss = aborted(lock);
      const start = performance.now();
      const victims = servers.slice(0, backend.quorum);
      await Promise.all(victims.map((server) => steal(server, name)));
      const { reason, at } = await loss;
      isLoss(t, reason, message);
      t.true(at - start <= 300 + LATE, `${at - start} ms`);
      t.is(lock.remaining, 0);
      // It is not stored again, and what a minority still had is released.
      const theirs = what === 'stolen' ? backend.quorum : 0;
      await untilSteady(
        async () =>
          (await stored(servers, name, lock.value)) === 0 &&
          (await stored(servers, name, 'theirs')) === theirs,
      );
      await t.throwsAsync(lock.extend(), { code: 'ERR_EXTEND_FAILED' });
      t.is(await stored(servers, name, lock.value), 0);
      await t.throwsAsync(lock.unlock(), { code: theirs ? 'ERR_LOCK_TAKEN' : 'ERR_LOCK_EXPIRED' });
      t.is(await stored(servers, name, 'theirs'), theirs);
    },
    onRedis,
  );
}

test.serial('a key that a minority has lost is stored again if asked for', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, servers, { expiry: 60_000, autoExtend: { interval: 100 } });
  const again = await redsync.newMutex('again', { setNXOnExtend: true }).lock();
  const never = await redsync.newMutex('never').lock();
  await servers[1].command('FLUSHALL');
  await until(async () => (await stored(servers, 'again', again.value)) === 3);
  t.is(await stored(servers, 'never', never.value), 2);
  t.false(again.signal.aborted || never.signal.aborted);
});

// --- unlock() and an extension under way

test.serial('unlock() at any time around an extension leaves no key', async (t) => {
  const servers = await useServers(t, 3);
  const proxy = await useProxy(t, servers[2]);
  proxy.delay(2); // an extension is under way for some time
  const redsync = connect(t, [...servers.slice(0, 2), proxy], {
    expiry: 60_000,
    autoExtend: { interval: 20 },
    setNXOnExtend: true,
  });
  let left = 0;
  for (let round = 0; round < 50; round++) {
    const hold = async (i) => {
      const lock = await redsync.newMutex(`${round}:${i}`).lock();
      await delay(Math.random() * 50);
      return lock.unlock();
    };
    const holds = Array.from({ length: 200 }, (_, i) => hold(i));
    // Keys that vanish are stored again, by the extension that must not come after the release.
    const vanish = delay(15).then(() => servers[round % 3].command('FLUSHALL'));
    t.true((await Promise.all(holds)).every(Boolean));
    await vanish;
    const sizes = await Promise.all(servers.map((server) => server.command('DBSIZE')));
    left += sizes.reduce((sum, size) => sum + size);
  }
  t.is(left, 0);
  // Nor is one put back later.
  await untilSteady(
    async () =>
      (await count(servers, async (server) => (await server.command('DBSIZE')) === 0)) === 3,
  );
});

// --- clocks, processes, threads, handles that nobody has any more

test.serial('steps of the wall clock change nothing', async (t) => {
  const servers = await useServers(t, 3);
  const child = startProcess(
    {},
    async (file, urls) => {
      const { Redsync } = require(file);
      const RealDate = Date;
      let step = 0;
      globalThis.Date = class extends RealDate {
        constructor(...args) {
          super(...(args.length > 0 ? args : [RealDate.now() + step]));
        }

        static now() {
          return RealDate.now() + step;
        }
      };
      const turn = () => new Promise((resolve) => setTimeout(resolve, 400));
      const redsync = new Redsync(urls, { expiry: 900, timeoutFactor: 0.5, autoExtend: true });
      const kept = await redsync.newMutex('clock').lock();
      const watched = await redsync
        .newMutex('watched', { expiry: 60_000, autoExtend: false })
        .lock();
      const signals = [kept.signal, watched.signal];
      console.log(`value ${kept.value}`);
      for (step of [86_400_000, -86_400_000, 0, 1e12]) {
        await turn();
        for (const [lock, expiry] of [
          [kept, 900],
          [watched, 60_000],
        ]) {
          const { remaining } = lock;
          if (!(remaining > 0 && remaining <= expiry)) console.log(`left ${remaining}`);
        }
        if (signals.some(({ aborted }) => aborted)) console.log('lost');
      }
      console.log(`until ${Math.abs(watched.until - Date.now()) <= 60_000}`);
      await turn();
      await turn();
      console.log(`unlocked ${await kept.unlock()}`);
    },
    servers.map(({ url }) => url),
  );
  const stop = observe(servers, 'clock', await child.says('value '));
  await child.says('until ');
  t.is((await stop()).lost, 0);
  const result = await child.ended;
  endedWell(t, result);
  t.regex(result.stdout, /^value \S+\nuntil true\nunlocked true$/);
});

async function drop(file, url, keepsMutex) {
  const { Redsync } = require(file);
  const { setTimeout: delay } = require('node:timers/promises');
  const warnings = [];
  process.on('warning', ({ code, message }) => warnings.push(`${code} ${message}`));
  const redsync = new Redsync(url, { expiry: 600, timeoutFactor: 0.5, autoExtend: true });
  let mutex;
  let signal;
  const forget = async () => {
    const dropped = redsync.newMutex('dropped');
    const lock = await dropped.lock();
    if (keepsMutex) mutex = dropped;
    else ({ signal } = lock);
    await (await redsync.newMutex('released').lock()).unlock(); // nothing to warn of
    (await redsync.newMutex('expiring', { autoExtend: false }).lock()).letExpire();
  };
  await forget();
  for (let i = 0; i < 30; i++) {
    globalThis.gc();
    await delay(100);
  }
  console.log(warnings.join('\n'));
  if (signal) console.log(`${signal.reason?.message}`);
  const taken = await redsync.newMutex('dropped', { tries: 1 }).tryLock();
  console.log(taken === null ? 'held' : 'free');
  if (mutex) console.log(`unlocked ${await mutex.unlock()}`);
  await taken?.unlock();
}

test.serial('a Lock that was dropped is left to expire, with one warning', async (t) => {
  const [server] = await useServers(t, 1);
  const nodeArgs = ['--expose-gc', '--no-warnings'];
  const result = await startProcess({ nodeArgs }, drop, server.url, false).ended;
  endedWell(
    t,
    result,
    [
      'REDSYNC_LOCK_DROPPED lock "dropped" was dropped without unlock(): it is left to expire',
      // Whoever has its signal only is told in time.
      'lock "dropped" is lost: it has expired',
      'free',
    ].join('\n'),
  );
});

test.serial('a Lock that was lost and is collected costs no other lock its news', async (t) => {
  const [server] = await useServers(t, 1);
  const nodeArgs = ['--expose-gc', '--no-warnings'];
  const collect = async (file, url) => {
    const { Redsync } = require(file);
    const { setTimeout: delay } = require('node:timers/promises');
    const redsync = new Redsync(url, { expiry: 300, timeoutFactor: 0.5 });
    const alive = setInterval(() => {}, 1000); // a lock is no reason for a process to go on
    const lose = async (name) => {
      const lock = await redsync
        .newMutex(name, { autoExtend: { interval: 50, maxHold: 1 } })
        .lock();
      await new Promise((resolve) => {
        lock.signal.addEventListener('abort', resolve);
      });
    };
    await lose('first');
    // In the engine's books it stands where the first one stood.
    const kept = await redsync.newMutex('kept', { expiry: 2000, autoExtend: true }).lock();
    for (let i = 0; i < 10; i++) {
      globalThis.gc();
      await delay(20);
    }
    await redsync.close();
    console.log(`${kept.signal.aborted}`);
    clearInterval(alive);
  };
  const result = await startProcess({ nodeArgs }, collect, server.url).ended;
  endedWell(t, result, 'true');
});

test.serial('a Lock whose Mutex can be reached is kept', async (t) => {
  const [server] = await useServers(t, 1);
  const nodeArgs = ['--expose-gc', '--no-warnings'];
  const result = await startProcess({ nodeArgs }, drop, server.url, true).ended;
  endedWell(t, result, 'held\nunlocked true');
});

test.serial('a process ends while it holds a lock, and the lock expires', async (t) => {
  const servers = await useServers(t, 3);
  const start = performance.now();
  const result = await startProcess(
    {},
    async (file, urls) => {
      const { Redsync } = require(file);
      globalThis.lock = await new Redsync(urls).acquire('held', { expiry: 2000, autoExtend: true });
      globalThis.signal = globalThis.lock.signal;
      console.log('end');
    },
    servers.map(({ url }) => url),
  ).ended;
  endedWell(t, result, 'end');
  t.true(performance.now() - start < 30_000);
  await until(() => isGone(servers, 'held'));
});

test.serial('a worker is terminated while it holds a lock, and the lock expires', async (t) => {
  const servers = await useServers(t, 3);
  const child = startProcess(
    {},
    async (file, urls) => {
      const { once } = require('node:events');
      const { Worker } = require('node:worker_threads');
      const { Redsync } = require(file);
      const hold = async (file, urls) => {
        const { parentPort } = require('node:worker_threads');
        const { Redsync } = require(file);
        const redsync = new Redsync(urls, { timeoutFactor: 0.5 });
        const lock = await redsync.acquire('worker', { expiry: 900, autoExtend: true });
        lock.signal.addEventListener('abort', () => {});
        setInterval(() => {}, 1000);
        parentPort.postMessage(lock.value);
      };
      const code = `(${hold})(${JSON.stringify(file)}, ${JSON.stringify(urls)})`;
      const worker = new Worker(code, { eval: true });
      const [value] = await once(worker, 'message');
      console.log(`value ${value}`);
      await new Promise((resolve) => setTimeout(resolve, 2000));
      await worker.terminate();
      console.log('terminated');
      // Who waits for it in the same process gets it.
      const redsync = new Redsync(urls, { tries: Infinity, timeoutFactor: 0.5 });
      await redsync.using('worker', () => console.log('taken over'));
    },
    servers.map(({ url }) => url),
  );
  const stop = observe(servers, 'worker', await child.says('value '));
  await child.says('terminated');
  const { held } = await stop();
  t.true(held > 50, 'kept while the worker lived');
  const result = await child.ended;
  endedWell(t, result);
  t.regex(result.stdout, /terminated\ntaken over$/);
});

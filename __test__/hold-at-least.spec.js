'use strict';

// A lock that is released sooner than it was to be held: for its holder it is over, and others find it taken for the
// rest of the time.

const test = require('ava');

const { FailedError, LockExpiredError, Redsync } = require('../index.js');
const { newClock } = require('../lib/testing.js');
const { delay, rejection, until } = require('./helpers/async.js');
const { overBackends } = require('./helpers/backends.js');
const { startProcess } = require('./helpers/processes.js');
const { useServers } = require('./helpers/servers.js');

const eachBackend = overBackends(test, { sizes: [1, 3] });

/** Longer than any test: what expires sooner was made to. */
const LONG = 600_000;
const REST = 400;

/** Pools cannot be watched: there it is the schedule that asks. */
const OPTIONS = { expiry: LONG, timeoutFactor: 0.01, wait: LONG, retryDelay: 20 };

/** How long after `start` the lock could be had. It is released again. */
async function had(redsync, name, start, options) {
  const lock = await redsync.acquire(name, options);
  const after = performance.now() - start;
  await lock.unlock();
  return after;
}

eachBackend('who is done gives it to nobody before its time', async (t, backend) => {
  const holder = backend.connect(t, { ...OPTIONS, holdAtLeast: REST });
  const other = backend.connect(t, OPTIONS);
  const name = backend.name();
  const start = performance.now();
  const lock = await holder.acquire(name);
  const { signal, value } = lock;
  t.true(await lock.unlock());
  const isKept = await backend.isHeldEverywhere(name, value);
  const attempts = [await other.newMutex(name).tryLock(), await holder.newMutex(name).tryLock()];
  const isEarly = performance.now() - start < REST;
  if (isEarly) t.deepEqual([isKept, ...attempts], [true, null, null], 'others find it taken');
  for (const attempt of attempts) await attempt?.unlock();

  t.is(lock.remaining, 0);
  t.false(signal.aborted, 'it was not lost');
  t.false(await lock.mutex.valid());
  t.is(holder.stats().held, 0);
  t.is((await rejection(lock.extend())).code, 'ERR_EXTEND_FAILED');
  const again = await rejection(lock.unlock());
  t.true(again instanceof LockExpiredError, again.message);
  t.regex(again.message, /was released already, by this handle$/);

  const waiting = [holder, other, holder].map((redsync) =>
    had(redsync, name, start, { holdAtLeast: 0 }),
  );
  for (const after of await Promise.all(waiting)) t.true(after >= REST, `${after} ms`);
  await until(() => backend.isFreeEverywhere(name));
});

eachBackend('a rest ends though extensions have gone far beyond it', async (t, backend) => {
  const redsync = backend.connect(t, OPTIONS);
  const name = backend.name();
  const start = performance.now();
  await redsync.using(name, { holdAtLeast: REST }, async (_, lock) => {
    t.true(await lock.extend());
  });
  t.false(await backend.isFreeEverywhere(name));
  t.true((await had(redsync, name, start)) >= REST);
});

eachBackend('who has held it for long enough releases it at once', async (t, backend) => {
  const redsync = backend.connect(t, { ...OPTIONS, holdAtLeast: 20 });
  for (const name of [backend.name(), [backend.name(), backend.name()]]) {
    const lock = await redsync.acquire(name);
    await delay(25);
    t.true(await lock.unlock());
    for (const each of lock.mutex.names) t.true(await backend.isFreeEverywhere(each));
  }
});

eachBackend('several names rest together', async (t, backend) => {
  const redsync = backend.connect(t, OPTIONS);
  const names = [backend.name(), backend.name()];
  const start = performance.now();
  await redsync.using(names, { holdAtLeast: REST }, () => {});
  const waiting = names.map((name) => had(redsync, name, start));
  for (const after of await Promise.all(waiting)) t.true(after >= REST, `${after} ms`);
});

eachBackend('a permit rests, and no other', async (t, backend) => {
  const redsync = backend.connect(t, { ...OPTIONS, permits: 3 });
  const name = backend.name();
  const start = performance.now();
  for (let i = 0; i < 2; i++) await redsync.using(name, { holdAtLeast: REST }, () => {});
  const third = await redsync.acquire(name);
  t.is(await redsync.newMutex(name).tryLock(), null);
  t.true((await had(redsync, name, start)) >= REST);
  t.true(await third.unlock());
});

eachBackend('permits that rest limit a rate', async (t, backend) => {
  const name = backend.name();
  const clients = [backend.connect(t, OPTIONS), backend.connect(t, OPTIONS)];
  const begun = [];
  const start = performance.now();
  const begin = () => begun.push(performance.now());
  const options = { permits: 2, holdAtLeast: REST, wait: 60_000 };
  const calls = Array.from({ length: 6 }, (_, i) => clients[i % 2].using(name, options, begin));
  await Promise.all(calls);
  t.is(begun.length, 6);
  begun.forEach((at, i) => t.true(at - start >= Math.floor(i / 2) * REST, `${i}: ${at - start}`));
});

eachBackend('whoever has the value ends the rest', async (t, backend) => {
  const redsync = backend.connect(t, OPTIONS);
  const name = backend.name();
  const lock = await redsync.acquire(name, { holdAtLeast: LONG });
  const waiting = backend.connect(t, OPTIONS).acquire(name);
  t.true(await lock.unlock());
  t.true(await redsync.newMutex(name, { value: lock.value }).unlock());
  t.true(await (await waiting).unlock());
});

eachBackend('nothing waits for the end of a rest', async (t, backend) => {
  const options = { ...OPTIONS, holdAtLeast: LONG };
  const name = backend.name();
  {
    const redsync = backend.connect(t, options);
    await redsync.using(name, () => {});
    const closing = performance.now();
    await redsync.close({ drain: LONG });
    t.true(performance.now() - closing < LONG / 10);
  }
  const another = backend.name();
  const redsync = backend.connect(t, options);
  const lock = await redsync.acquire(another);
  await lock[Symbol.asyncDispose]();
  t.is(lock.remaining, 0);
  t.true(await backend.isHeldEverywhere(another, lock.value));
});

test('on a clock for tests it is over when that was moved on', async (t) => {
  const clock = newClock();
  const redsync = new Redsync(clock.nodes(), { holdAtLeast: 100_000, expiry: 300_000 });
  t.teardown(() => redsync.close());
  await redsync.using('job', () => {});
  await clock.advance(50_000);
  t.is(await redsync.newMutex('job').tryLock(), null);
  await clock.advance(52_000); // the clock of a node may be fast
  t.not(await redsync.newMutex('job').tryLock(), null);
});

test('where a release fails, what is left is the expiry', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = new Redsync(
    servers.map(({ url }) => url),
    { expiry: 60_000, timeoutFactor: 0.02, holdAtLeast: 20_000 },
  );
  t.teardown(() => redsync.close());
  const left = (name) => Promise.all(servers.map((server) => server.command('PTTL', name)));

  const one = await redsync.acquire('one');
  servers[2].pause();
  t.true(await one.unlock(), 'a minority does not answer');
  const [first, second] = await Promise.all(
    servers.slice(0, 2).map((server) => server.command('PTTL', 'one')),
  );
  t.true(
    [first, second].every((ttl) => ttl > 10_000 && ttl < 21_000),
    `${first} ${second}`,
  );

  servers[2].resume();
  await until(async () => (await redsync.health()).every(({ status }) => status === 'up'));
  const two = await redsync.acquire('two');
  for (const server of servers) server.pause();
  const error = await rejection(two.unlock());
  t.true(error instanceof FailedError, error.message);
  for (const server of servers) server.resume();
  for (const ttl of await left('two')) t.true(ttl > 10_000, `${ttl}`);
});

test('a holder who is killed leaves it for longer than it was to be held', async (t) => {
  const servers = await useServers(t, 3);
  const urls = servers.map(({ url }) => url);
  const running = startProcess(
    {},
    async (file, urls) => {
      const { Redsync } = require(file);
      const redsync = new Redsync(urls);
      await redsync.using('job', { expiry: 700, holdAtLeast: 700 }, () => {
        process.kill(process.pid, 'SIGKILL');
        return new Promise(() => {});
      });
    },
    urls,
  );
  const start = performance.now();
  const redsync = new Redsync(urls, OPTIONS);
  t.teardown(() => redsync.close());
  t.is((await running.ended).signal, 'SIGKILL');
  const after = performance.now() - start;
  t.true(after + (await had(redsync, 'job', performance.now())) >= 700);
});

test('what four processes start twenty times runs twenty times', async (t) => {
  const servers = await useServers(t, 3);
  const urls = servers.map(({ url }) => url);
  const TICKS = 20;
  const body = async (file, urls, ticks) => {
    const { Redsync, TakenError } = require(file);
    const { setTimeout: delay } = require('node:timers/promises');
    const redsync = new Redsync(urls);
    await redsync.ready();
    const options = { tries: 4, retryDelay: 20, expiry: 600_000, holdAtLeast: 600_000 };
    const runOnce = async (tick) => {
      await delay(Math.random() * 60); // some come late, when the job is long over
      try {
        await redsync.using(`tick:${tick}`, options, () => console.log(`ran ${tick}`));
      } catch (error) {
        if (!(error instanceof TakenError)) throw error;
      }
    };
    for (let tick = 0; tick < ticks; tick++) await runOnce(tick);
    await redsync.close();
  };
  const processes = Array.from({ length: 4 }, () => startProcess({}, body, urls, TICKS));
  const all = await Promise.all(processes.map(({ ended }) => ended));
  for (const { status, stderr } of all) t.is(status, 0, stderr);
  const ran = all.flatMap(({ stdout }) => stdout.match(/\d+/g) ?? []).map(Number);
  t.deepEqual(
    ran.sort((a, b) => a - b),
    Array.from({ length: TICKS }, (_, i) => i),
  );
});

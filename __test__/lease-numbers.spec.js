'use strict';

// The engine tells of a lock under a number that is used over and over. Whatever becomes of a lock, its
// number is another's only when there is nothing more to be told of it.

const test = require('ava');

const { delay, rejection, until } = require('./helpers/async.js');
const { overBackends } = require('./helpers/backends.js');
const { endedWell, startProcess } = require('./helpers/processes.js');
const { useServers } = require('./helpers/servers.js');

const eachBackend = overBackends(test, { sizes: [1, 3] });

const SHORT = 300;
const LONG = 600_000;

/** The event loop does nothing for so long; what the engine says waits. */
function block(ms) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** A lock that is told of first now is alive, and what is told of it is true. */
async function isKept(t, backend, lock, signal) {
  await delay(200);
  t.false(signal.aborted, signal.reason?.stack);
  t.true(await backend.isHeldEverywhere(lock.mutex.name, lock.value));
  t.true(await lock.unlock());
}

eachBackend(
  'a loss on its way is not told of another lock: an aborted unlock()',
  async (t, backend) => {
    const redsync = backend.connect(t);
    const long = await redsync.newMutex(backend.name(), { expiry: LONG }).lock();
    const short = await redsync.newMutex(backend.name(), { expiry: SHORT }).lock();
    t.false(short.signal.aborted);
    await delay(50); // it is watched
    block(SHORT + 200); // its loss is on its way
    const controller = new AbortController();
    const unlocking = rejection(short.unlock({ signal: controller.signal }));
    controller.abort('never mind');
    t.is(await unlocking, 'never mind'); // the event loop has not turned
    await isKept(t, backend, long, long.signal);
  },
);

for (const [what, isAborted] of [
  ['whose caller has gone', true],
  ['that went stale', false],
]) {
  eachBackend(
    `a loss on its way is not told of another lock: one ${what}`,
    async (t, backend) => {
      const redsync = backend.connect(t);
      const hold = () => redsync.newMutex(backend.name(), { expiry: LONG }).lock();
      const longs = [await hold(), await hold()]; // the first gets the number of the timer
      const timer = await redsync.newMutex(backend.name(), { expiry: SHORT }).lock();
      let signals;
      timer.signal.addEventListener('abort', () => {
        // In the same drain as the completion of the lock that nobody gets, and before it is released.
        signals = longs.map(({ signal }) => signal);
        block(2000);
      });
      await delay(50);
      const controller = new AbortController();
      const expiry = isAborted ? 1500 : SHORT;
      const options = { expiry, autoExtend: { interval: 50, maxHold: 1 } };
      const lost = rejection(
        redsync.newMutex(backend.name(), options).lock({ signal: controller.signal }),
      );
      await null; // it is submitted
      block(SHORT + 400); // acquired, and the timer is over
      if (isAborted) controller.abort('never mind');
      if (isAborted) t.is(await lost, 'never mind');
      else t.is((await lost).code, 'ERR_LOCK_FAILED');
      await until(() => signals);
      for (const [i, long] of longs.entries()) await isKept(t, backend, long, signals[i]);
    },
    ({ kind }) => kind === 'redis' || kind === 'memory',
  );
}

/** The highest number that a call or a lease has crossed with. */
async function countNumbers(file, cycles) {
  const native = require(`${file}/../lib/addon.js`);
  const { Engine } = native;
  let highest = 0;
  native.Engine = function (wake) {
    const engine = new Engine(wake);
    return {
      open: (...args) => engine.open(...args),
      until: (number) => engine.until(number),
      takeUntil: (number) => engine.takeUntil(number),
      drain: (records) => engine.drain(records),
      submit(records, used, text) {
        for (let at = 0; at < used; at += records[at]) highest = Math.max(highest, records[at + 2]);
        engine.submit(records, used, text);
      },
    };
  };
  const { Redsync } = require(file);
  const redsync = new Redsync('memory:', { expiry: 60_000 });
  const alive = setInterval(() => {}, 1000); // a lock is no reason for a process to go on
  const kept = { autoExtend: true };
  const drop = async (call) => {
    const controller = new AbortController();
    const gone = call(controller.signal).catch(() => {});
    controller.abort();
    await gone;
    await new Promise((resolve) => setTimeout(resolve, 2)); // the engine has not seen it yet
  };
  const ways = {
    lock: async (name) => (await redsync.acquire(name)).unlock(),
    kept: async (name) => (await redsync.acquire(name, kept)).unlock(),
    using: (name) => redsync.using(name, () => {}),
    signal: async (name) => {
      const lock = await redsync.acquire(name);
      void lock.signal;
      await lock.unlock();
    },
    gone: (name) => drop((signal) => redsync.acquire(name, { ...kept, signal })),
    'aborted unlock': async (name) => {
      const lock = await redsync.acquire(name, kept);
      await drop((signal) => lock.unlock({ signal }));
    },
    lost: async (name) => {
      const lock = await redsync.acquire(name, { expiry: 60 }).catch(() => {}); // over already
      if (lock === undefined || lock.signal.aborted) return;
      await new Promise((resolve) => lock.signal.addEventListener('abort', resolve));
    },
    adopted: async (name) => {
      const { value } = await redsync.acquire(name, kept);
      await redsync.using(name, { value }, () => {});
    },
    'released by its value': async (name) => {
      const { value } = await redsync.acquire(name, kept);
      await redsync.newMutex(name, { value }).unlock();
    },
    failed: async (name) => {
      const lock = await redsync.acquire(name, kept);
      await redsync.acquire(name, { ...kept, tries: 1 }).catch(() => {});
      await lock.unlock();
    },
  };
  for (const [way, perform] of Object.entries(ways)) {
    const before = highest;
    const counts = { kept: cycles, signal: cycles, lost: 300 };
    const count = counts[way] ?? cycles / 10;
    for (let i = 0; i < count; i += 10) {
      const names = Array.from({ length: 10 }, (_, j) => `${way} ${i + j}`);
      await Promise.all(names.map(perform));
    }
    if (highest - before > 100) console.log(`${way}: from ${before} to ${highest}`);
  }
  await redsync.close();
  clearInterval(alive);
  console.log('done');
}

test.serial('a number is used again, whatever has become of its lock', async (t) => {
  const result = await startProcess({ nodeArgs: ['--no-warnings'] }, countNumbers, 10_000).ended;
  endedWell(t, result, 'done');
});

test.serial('a listener that makes the event loop turn costs nobody his news', async (t) => {
  const [server] = await useServers(t, 1);
  const result = await startProcess(
    {},
    async (file, url) => {
      // As a module does that waits synchronously: the addon's call comes while another one is told.
      const native = require(`${file}/../lib/addon.js`);
      const { Engine } = native;
      let turn;
      native.Engine = function (wake) {
        turn = wake;
        return new Engine(wake);
      };
      const { Redsync } = require(file);
      const redsync = new Redsync(url, { timeoutFactor: 0.5 });
      const block = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
      const told = [];
      const expiries = { a: 400, b: 500, c: 1500, d: 1600 };
      const locks = await Promise.all(
        Object.entries(expiries).map(([name, expiry]) => redsync.acquire(name, { expiry })),
      );
      for (const { mutex, signal } of locks) {
        signal.addEventListener('abort', () => {
          told.push(mutex.name);
          if (mutex.name !== 'a') return;
          block(1200);
          turn();
          told.push('-');
        });
      }
      await new Promise((resolve) => setTimeout(resolve, 100)); // they are watched
      block(600);
      setTimeout(() => console.log(told.join(' ')), 100);
    },
    server.url,
  ).ended;
  endedWell(t, result, 'a b c d -');
});

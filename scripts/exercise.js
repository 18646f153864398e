'use strict';

// What `npm run test:memory` has a watched Node.js do: all that crosses between JavaScript and the engine, on nodes of every
// kind. Whoever watches finds the errors; this fails only if a part of it has never got through.

const { setTimeout: delay } = require('node:timers/promises');

const native = require('../native.js');
const { Redsync, RedsyncError } = require('..');
const { attack } = require('../__test__/helpers/hostile.js');
const { main } = require('../tools/setup.js');
const { NODES, terminateWorkers } = require('./test-workers.js');

/** So long that a lock outlives what the watchers cost. */
const OPTIONS = { expiry: 20_000, tries: 3, retryDelay: 20, timeoutFactor: 0.4 };
const AT_ONCE = 12;
const MANY = Array.from({ length: 64 }, (_, i) => `é${i}`);

function everyOne(act) {
  return Promise.all(Array.from({ length: AT_ONCE }, (_, i) => act(i)));
}

/** Each gets a name of its own, and says of what it has got that it was as it should be. */
const ACTS = {
  async keepAlive(redsync, name) {
    const mutex = redsync.newMutex(name, { autoExtend: { interval: 5 } });
    const lock = await mutex.lock();
    lock.signal.addEventListener('abort', () => {});
    await delay(20);
    return (await lock.extend()) && (await mutex.valid()) && lock.remaining > 0 && lock.unlock();
  },

  async semaphore(redsync, name) {
    const semaphore = () => redsync.newSemaphore(name, 3, { tries: 1000, wait: 10_000 });
    const outcomes = await everyOne(async () => (await semaphore().lock()).unlock());
    return outcomes.every(Boolean);
  },

  async readers(redsync, name) {
    const { read, write } = redsync.newReadWriteLock(name, { tries: 1000, wait: 10_000 });
    const [writer] = await Promise.all([
      write.lock().then(async (lock) => (await lock.downgrade()).unlock()),
      everyOne(async () => (await read.lock()).unlock()),
    ]);
    return writer;
  },

  async tokens(redsync, name) {
    const lock = await redsync.newMutex(name, { fencing: true, holdAtLeast: 10 }).lock();
    return lock.token > 0 && lock.unlock();
  },

  async questions(redsync, name) {
    const genValue = async () => `${name} of ${'ü'.repeat(100)}`;
    const lock = await redsync.newMutex(name, { genValue, retryDelay: () => 1 }).lock();
    const other = redsync.newMutex(name, { genValue: () => 'another', retryDelay: () => 1 });
    const failing = redsync.newMutex(name, {
      genValue() {
        throw new Error('no value');
      },
    });
    const isTaken = (await Promise.allSettled([other.lock(), failing.lock()])).every(
      ({ status }) => status === 'rejected',
    );
    return isTaken && lock.unlock();
  },

  async manyNames(redsync, name) {
    const lock = await redsync.acquire(MANY.map((each) => `{${name}}${each}`));
    return lock.unlock();
  },

  /** Aborted in line, in a round and before it. */
  async aborts(redsync, name) {
    const lock = await redsync.newMutex(name).lock();
    const outcomes = await everyOne(async (i) => {
      const signal = i === 0 ? AbortSignal.abort() : AbortSignal.timeout(i);
      const own = i % 2 === 0 ? name : `${name}:${i}`;
      const got = await redsync.acquire(own, { signal, tries: 1000 }).catch(() => undefined);
      await got?.unlock();
      return got === undefined;
    });
    return outcomes[0] && lock.unlock();
  },

  /** Handed over by value, adopted twice, let go and forgotten. */
  async handOver(redsync, name) {
    const { value } = await redsync.newMutex(name).lock();
    const adopt = async () => {
      const mutex = redsync.newMutex(name, { value, autoExtend: { interval: 10 } });
      await mutex.extend();
      return mutex;
    };
    const [first] = await Promise.all([adopt(), adopt()]);
    await delay(10);
    globalThis.gc();
    return first.unlock();
  },

  async forgotten(redsync, name) {
    const lock = await redsync.newMutex(name, { autoExtend: true }).lock();
    lock.letExpire();
    await redsync.newMutex(`${name}:dropped`, { autoExtend: true }).lock();
    const { signal } = await redsync.newMutex(`${name}:watched`).lock();
    globalThis.gc();
    return !signal.aborted;
  },

  async looks(redsync, name) {
    const lock = await redsync.acquire(name);
    await redsync.ready({ timeout: 10_000 });
    const health = await redsync.health({ timeout: 10_000 });
    const found = await redsync.inspect(name);
    await redsync.list(`${name}*`).catch(() => {}); // not every pool can
    redsync.stats();
    return health.length > 0 && found.length > 0 && lock.unlock();
  },

  /** Calls of every sort are under way when it is closed. */
  async close(redsync, name, again) {
    const other = again();
    const calls = everyOne(async (i) => {
      const lock = await other.acquire(`${name}:${i % 3}`, { autoExtend: true, tries: 1000 });
      if (i % 2 === 0) await lock.unlock();
    }).catch(() => {});
    await delay(Math.random() * 20);
    await other.close();
    await calls;
    return true;
  },
};

const counts = Object.fromEntries(Object.keys(ACTS).map((act) => [act, { done: 0, failed: 0 }]));

async function perform(act, ...args) {
  try {
    const isGood = await ACTS[act](...args);
    counts[act][isGood ? 'done' : 'failed']++;
  } catch (error) {
    if (!(error instanceof RedsyncError)) throw error;
    counts[act].failed++; // a machine that is slow
  }
}

/** What no caller of the package can pass to the addon: arrays that are no memory, or less than they say. */
function passArrays() {
  const detached = new Float64Array(64);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const shrunk = new ArrayBuffer(512, { maxByteLength: 1024 });
  const ofShrunk = new Float64Array(shrunk);
  shrunk.resize(16);
  const arrays = [
    detached,
    ofShrunk,
    new Float64Array(0),
    new Float64Array(1),
    new Float64Array(2),
    new Float64Array(new SharedArrayBuffer(64)),
    new Float64Array(new ArrayBuffer(4096), 4088, 1),
    new Float64Array(64).fill(NaN),
    new Float64Array(64).fill(4),
    new Uint8Array(64),
    new Float32Array(64),
  ];
  const engine = new native.Engine(() => {});
  const client = engine.open([{ kind: 'memory' }]);
  const ofLoop = engine.open([{ kind: 'pool' }]);
  for (const records of arrays) {
    for (const used of [0, 1, records.length, records.length + 1, 2 ** 32 - 1]) {
      for (const text of ['', '\ud800', 'é'.repeat(100)]) {
        for (const of of [client, ofLoop]) {
          if (records.length > 3) records[3] = of;
          for (const act of ['submit', 'run']) attempt(() => engine[act](records, used, text));
          attempt(() => engine.drain(records));
        }
      }
    }
  }
}

function attempt(act) {
  try {
    act();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
  }
}

async function exercise({ urls, addon, rounds, workers, calls, hostile }) {
  if (!process.report.getReport().sharedObjects.includes(addon)) {
    throw new Error(`${addon} is not what was loaded`);
  }
  for (let round = 0; round < rounds; round++) {
    passArrays();
    for (const [kind, nodes] of NODES.entries()) {
      const again = () => new Redsync(nodes(urls), OPTIONS);
      const redsync = again();
      const acts = Object.keys(ACTS);
      await Promise.all(acts.map((act) => perform(act, redsync, `${round}:${kind}:${act}`, again)));
      await redsync.close({ drain: 0 });
    }
  }
  if (hostile > 0) await attack(hostile);
  if (workers > 0) {
    const redsync = new Redsync(urls, OPTIONS);
    const options = { ...OPTIONS, tries: 1000, autoExtend: true };
    await terminateWorkers(redsync, urls, { rounds, workers, calls, options });
    await redsync.close();
  }
  const shown = Object.entries(counts).map(([act, { done, failed }]) => `${act} ${done}/${failed}`);
  console.log(`done and failed: ${shown.join(', ')}`);
  const idle = Object.keys(counts).filter((act) => counts[act].done < rounds);
  if (idle.length > 0) throw new Error(`never got through: ${idle.join(', ')}`);
}

// Pools of clients are nobody's to close.
main(() => exercise(JSON.parse(process.argv[2]))).then(() => process.exit());

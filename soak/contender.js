'use strict';

// A process, or a thread of one, that takes locks and writes down when it held them.

const { isMainThread, threadId, Worker, workerData } = require('node:worker_threads');
const { setTimeout: delay } = require('node:timers/promises');

const { Redsync, RedsyncError } = require('../index.js');
const { FAILED, Journal } = require('./journal.js');
const { KINDS, LIMITS, NAMES } = require('./kinds.js');
const { Store } = require('./store.js');

const plan = isMainThread ? JSON.parse(process.argv[2]) : workerData;
const { urls, expiry, journal: path, tasks, workers, store: storeUrl } = plan;

// Locks that must be gone without any help from their expiry.
const LONG = 600_000;
const LONG_CALLS = 100;

const journal = new Journal(isMainThread ? path : `${path}.${threadId}`);
const retryDelay = () => 5 + Math.random() * 50;
const redsync = new Redsync(urls, { expiry, retryDelay, quarantine: expiry });
const store = new Store(storeUrl);

let calls = 0;
let isFinishing = false;

const chance = (share) => Math.random() < share;
const upTo = (ms) => Math.ceil(Math.random() * ms);
const pick = (list) => list[Math.floor(Math.random() * list.length)];

/**
 * Makes a call, and writes down when it began and how it has settled.
 *
 * @param {string} name
 * @param {'lock' | 'extend' | 'downgrade' | 'unlock'} what
 * @param {() => Promise<unknown>} call
 * @param {string} [value] of the lock
 */
async function settled(name, what, call, value) {
  const number = ++calls;
  journal.writeCall('began', number, name, what, value);
  try {
    const result = await call();
    if (what === 'lock') {
      journal.writeCall('ended', number, name, what, result.value, kindOf(result));
    } else journal.writeCall('ended', number, name, what, value);
    return result;
  } catch (error) {
    const isExpected = error instanceof RedsyncError || error.name === 'TimeoutError';
    if (!isExpected) throw error;
    journal.writeCall('ended', number, name, what, value, FAILED);
    for (const { cause } of error.errors ?? []) {
      if (cause?.code) journal.write('error', cause.code, name);
    }
    return undefined;
  }
}

/** As what a lock is held, as the history has it. */
function kindOf({ mode, mutex: { name } }) {
  return mode ?? (name in LIMITS ? `permit:${LIMITS[name]}` : 'mutex');
}

function block(ms) {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/** Writes with the token of a lock, whether or not it is still held. */
async function write(lock, name) {
  const isAccepted = await store.write(name, lock.token);
  // Who held it all the time is behind nobody.
  const isWrong = !isAccepted && lock.remaining > 0;
  const outcome = isAccepted ? 'accepted' : 'refused';
  journal.write(isWrong ? 'wrong' : outcome, lock.value, name, lock.token);
}

async function hold(lock, name) {
  const numberOf = () => (lock.mode === 'read' ? `${lock.value}/read` : lock.value);
  let number = numberOf();
  const show = (event) => {
    const at = Number(process.hrtime.bigint()) / 1e6; // before the rest of its life is read
    const { remaining } = lock;
    if (remaining > 0) journal.write(event, number, name, remaining, at);
    return remaining > 0;
  };
  show('held');
  const end = performance.now() + pick([1, 5, 20, 100, expiry, expiry * 2]);
  while (performance.now() < end && show('still')) {
    if (chance(0.01)) block(Math.random() * expiry * 1.5);
    if (chance(0.05)) await settled(name, 'extend', () => lock.extend(), lock.value);
    if (lock.token !== undefined && chance(0.2)) await write(lock, name);
    if (lock.mode === 'write' && chance(0.05)) {
      journal.write('over', number, name); // from now on others may read
      await settled(name, 'downgrade', () => lock.downgrade(), lock.value);
      number = numberOf();
    }
    await delay(1 + Math.random() * 10);
  }
  show('still');
  journal.write('over', number, name);
  if (lock.token !== undefined && chance(0.5)) await write(lock, name); // which may be late
  if (!chance(0.1)) {
    await settled(name, 'unlock', () => lock.unlock(), lock.value);
  } else if (lock.token !== undefined) {
    // Now and then it just leaves, and writes long after the lock has expired.
    await delay(2 * expiry);
    await write(lock, name);
  }
}

async function compete() {
  while (!isFinishing) {
    const name = pick(NAMES);
    const signal = chance(0.2) ? AbortSignal.timeout(upTo(300)) : undefined;
    const mutex = redsync.newMutex(name, {
      tries: pick([1, 5, 40]),
      autoExtend: chance(0.4),
      failFast: chance(0.5),
      ...KINDS[name](),
      shufflePools: chance(0.3),
    });
    const lock = await settled(name, 'lock', () => mutex.lock({ signal }));
    if (lock) await hold(lock, name);
    await delay(Math.random() * 20);
  }
}

/** A thread that is ended in the middle of whatever it does, and another one after it. */
async function employ() {
  while (!isFinishing) {
    const worker = new Worker(__filename, { workerData: { ...plan, workers: 0, tasks: 3 } });
    await delay(300 + Math.random() * 4000);
    await worker.terminate();
    process.send?.({ event: 'terminated' });
  }
}

/** Calls that are aborted at any time, of locks that would not expire before the soak ends. */
async function leaveNothing() {
  await Promise.all(
    Array.from({ length: LONG_CALLS }, async (_, i) => {
      const signal = chance(0.7) ? AbortSignal.timeout(upTo(20)) : undefined;
      const mutex = redsync.newMutex(`long:${i % 20}`, { expiry: LONG, tries: 3 });
      const lock = await settled(mutex.name, 'lock', () => mutex.lock({ signal }));
      if (lock) await settled(mutex.name, 'unlock', () => lock.unlock(), lock.value);
    }),
  );
}

async function main() {
  const running = Array.from({ length: tasks }, compete);
  for (let i = 0; i < workers; i++) running.push(employ());
  await Promise.all(running);
  if (isMainThread) await leaveNothing();
  await redsync.close();
  store.close();
  process.disconnect?.();
}

process.on('message', () => {
  isFinishing = true;
});
main();

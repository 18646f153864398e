'use strict';

// Worker threads that are terminated in the middle of their work: 8 workers with 1,000 calls in flight
// each, ended at random moments, again and again. Nothing may crash, hang or be called back in an
// environment that is gone, and the process goes on locking afterwards.
//
//   node scripts/test-workers.js [--rounds 100] [--workers 8] [--calls 1000]

const { once } = require('node:events');
const { setTimeout: delay } = require('node:timers/promises');
const { parseArgs } = require('node:util');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');

const { Redsync } = require('..');

const LONGEST_LIFE = 40; // ms after the calls are on their way

async function keepInFlight({ urls, calls, name }) {
  const redsync = new Redsync(urls);
  const options = { expiry: 2000, autoExtend: true };
  const cycle = async (i) => {
    for (;;) {
      const lock = await redsync.newMutex(`${name}:${i}`, options).lock();
      await lock.unlock();
    }
  };
  const cycles = Array.from({ length: calls }, (_, i) => cycle(i));
  setImmediate(() => parentPort.postMessage('in flight'));
  await Promise.all(cycles);
}

async function oneWorker(urls, calls, name) {
  const worker = new Worker(__filename, { workerData: { urls, calls, name } });
  const failed = once(worker, 'error').then(([error]) => {
    throw error;
  });
  failed.catch(() => {});
  await Promise.race([once(worker, 'message'), failed]);
  await Promise.race([delay(Math.random() * LONGEST_LIFE), failed]);
  await worker.terminate();
}

/** Resolves when every round is over and the process can still lock. */
async function terminateWorkers(urls, { rounds = 100, workers = 8, calls = 1000 } = {}) {
  const redsync = new Redsync(urls);
  for (let round = 0; round < rounds; round++) {
    const each = (_, i) => oneWorker(urls, calls, `worker:${round}:${i}`);
    await Promise.all(Array.from({ length: workers }, each));
    const lock = await redsync.newMutex(`after:${round}`).lock();
    if (!(await lock.unlock())) throw new Error(`round ${round}: the lock was not released`);
  }
  await redsync.close();
}

function number(values, name) {
  const value = Number(values[name]);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new RangeError(`--${name} must be an integer from 1 on, received ${values[name]}`);
}

async function main() {
  const { startServers } = require('./redis-servers.js');
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '100' },
      workers: { type: 'string', default: '8' },
      calls: { type: 'string', default: '1000' },
    },
  });
  const counts = {
    rounds: number(values, 'rounds'),
    workers: number(values, 'workers'),
    calls: number(values, 'calls'),
  };
  const servers = await startServers(3);
  await terminateWorkers(servers.map(({ url }) => url), counts);
  await Promise.all(servers.map((server) => server.stop()));
  const { rounds, workers, calls } = counts;
  console.log(`${rounds} rounds of ${workers} workers with ${calls} calls each: clean`);
}

module.exports = { terminateWorkers };

if (!isMainThread) keepInFlight(workerData);
else if (require.main === module) require('./setup.js').main(main);

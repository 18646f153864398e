// Charges customers: many jobs at a time, over as many processes as you like, but one at a time for each customer. A job
// whose customer is being charged goes back to the queue for a moment, so that it keeps no other from being done.
//
// On SIGTERM it takes no more jobs, and brings to an end what it has begun.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { DelayedError, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { FailedError, Redsync } from 'redsync';
import { newPool } from 'redsync/ioredis';

const { REDIS_URL = 'redis://127.0.0.1', ACCOUNTS = '.', WORK = '20' } = process.env;

/** Milliseconds in the queue before another try. */
const LATER = 50;

// One client for both: BullMQ's worker waits for jobs on a connection of its own.
const connection = new Redis(REDIS_URL, { maxRetriesPerRequest: null });
const redsync = new Redsync([newPool(connection)], {
  keyPrefix: 'lock:',
  expiry: 10_000,
  tries: 1,
});

/** Stands for a store that all processes share and that knows no transactions. */
async function charge({ customer, amount }, signal) {
  const file = join(ACCOUNTS, `${customer}.txt`);
  const balance = Number(await readFile(file, { encoding: 'utf8', signal }));
  await delay(Number(WORK), undefined, { signal });
  await writeFile(file, `${balance - amount}`, { signal });
}

async function chargeAlone(job, token) {
  try {
    await redsync.using(`customer:${job.data.customer}`, (signal) => charge(job.data, signal));
  } catch (error) {
    // The lock is taken, or could not be had now: nothing of the job has been done.
    if (!(error instanceof FailedError)) throw error;
    await job.moveToDelayed(Date.now() + LATER, token);
    throw new DelayedError(); // it has not failed
  }
}

const worker = new Worker('charges', chargeAlone, { connection, concurrency: 10 });
worker.on('error', (error) => console.error(error.message));
await worker.waitUntilReady();
console.log('takes jobs');

process.once('SIGTERM', async () => {
  await worker.close(); // when the last job is done
  await redsync.close({ drain: 10_000 });
  await connection.quit();
  console.log('has stopped');
});

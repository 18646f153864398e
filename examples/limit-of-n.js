'use strict';

// A service that takes three calls at once, and no more. Four machines call it as they like; a semaphore lets
// three of their calls through at a time.
//
//   node examples/limit-of-n.js        WORK=50 milliseconds that a call takes

const { setTimeout: delay } = require('node:timers/promises');

const { Redsync } = require('redsync');
const { findNodes } = require('./nodes.js');
const { stopping } = require('./stopping.js');

const LIMIT = 3;
const MACHINES = 4;
const CALLS = 6; // of each
const WORK = Number(process.env.WORK ?? 50);

/** Stands for the service; it knows how many call it at a time. */
const service = {
  now: 0,
  most: 0,
  answered: 0,

  async call(signal) {
    this.now++;
    if (this.now > this.most) console.log(`${this.now} at once`);
    this.most = Math.max(this.most, this.now);
    try {
      if (process.env.FAIL && this.now === LIMIT) throw new Error('the service has failed');
      await delay(WORK, undefined, { signal });
      this.answered++;
    } finally {
      this.now--;
    }
  },
};

async function machine(redsync, signal) {
  const calls = Array.from({ length: CALLS }, () =>
    redsync.using('service', { permits: LIMIT, signal }, (signal) => service.call(signal)),
  );
  await Promise.all(calls);
}

async function main() {
  const signal = stopping();
  const nodes = await findNodes();
  const options = { keyPrefix: `example:${process.pid}:`, expiry: 2000, wait: 60_000 };
  const all = Array.from({ length: MACHINES }, () => new Redsync(nodes.urls, options));
  try {
    await Promise.all(all.map((redsync) => machine(redsync, signal)));
    console.log(`${service.answered} calls answered, at most ${service.most} at once`);
  } catch (error) {
    if (!signal.aborted) throw error;
    console.log('has stopped');
  } finally {
    // What is still at work gets a moment to release what it holds.
    await Promise.all(all.map((redsync) => redsync.close({ drain: 1000 })));
    await nodes.stop();
  }
}

main();

'use strict';

// What faults cost: lock() while one or two of three servers hang, and the way back.
// Prints a table; nothing is asserted here.

const { Redsync } = require('..');
const { startServer } = require('../tools/redis-servers.js');

const CALLS = 2000;
const EXPIRY = 8000; // node timeout: 400 ms

const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];

async function time(call) {
  const start = performance.now();
  await call();
  return performance.now() - start;
}

async function cycles(redsync, count) {
  const times = [];
  for (let i = 0; i < count; i++) {
    const mutex = redsync.newMutex(`faults:${i}`, { expiry: EXPIRY });
    let lock;
    times.push(await time(async () => (lock = await mutex.lock())));
    await lock.unlock();
  }
  return times;
}

async function main() {
  const servers = await Promise.all([1, 2, 3].map(() => startServer()));
  const redsync = new Redsync(servers.map(({ url }) => url));
  try {
    await redsync.ready();
    await cycles(redsync, CALLS);
    const healthy = median(await cycles(redsync, CALLS));
    console.log(`healthy: lock() ${(healthy * 1000).toFixed(0)} us (median of ${CALLS})`);

    servers[2].pause();
    const [first] = await cycles(redsync, 1);
    const hung = median(await cycles(redsync, CALLS));
    const ratio = (hung / healthy).toFixed(2);
    console.log(
      `1 of 3 hung: first lock() ${first.toFixed(0)} ms, then ` +
        `${(hung * 1000).toFixed(0)} us: ${ratio} times the healthy time`,
    );

    servers[1].pause();
    let error;
    const failed = await time(async () => {
      const mutex = redsync.newMutex('faults', { expiry: EXPIRY, tries: 3, retryDelay: 1 });
      await mutex.lock().catch((reason) => (error = reason));
    });
    const nodes = error.errors.map(({ node }) => node).join(' and ');
    console.log(
      `2 of 3 hung: lock() of 3 tries rejects after ${failed.toFixed(0)} ms ` +
        `(3 node timeouts: ${3 * EXPIRY * 0.05} ms), naming ${nodes}`,
    );

    servers[1].resume();
    servers[2].resume();
    const back = await time(async () => {
      while ((await redsync.health()).some(({ status }) => status !== 'up'));
    });
    console.log(`resumed: all nodes are used again after ${back.toFixed(0)} ms`);
  } finally {
    await redsync.close();
    await Promise.all(servers.map((server) => server.stop()));
  }
}

main();

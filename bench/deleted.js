'use strict';

// How soon a waiting call has a lock that somebody has deleted by hand. Prints a line for each
// number of nodes; nothing is asserted here.

const { setTimeout: delay } = require('node:timers/promises');

const { Redsync } = require('..');
const { startServers } = require('../tools/redis-servers.js');
const { percentile } = require('./statistics.js');

const ROUNDS = 200;
const EXPIRY = 60_000;

async function measure(nodes) {
  const servers = await startServers(nodes);
  const redsync = new Redsync(servers.map(({ url }) => url));
  const times = [];
  try {
    for (let i = 0; i < ROUNDS; i++) {
      const name = `deleted:${i}`;
      const all = (...command) => Promise.all(servers.map((server) => server.command(...command)));
      await all('SET', name, 'foreign', 'PX', EXPIRY);
      const waiting = redsync.acquire(name);
      await delay(20);
      const start = performance.now();
      const deleted = all('DEL', name);
      const lock = await waiting;
      times.push(performance.now() - start);
      await deleted;
      await lock.unlock();
    }
  } finally {
    await redsync.close();
    await Promise.all(servers.map((server) => server.stop()));
  }
  times.sort((a, b) => a - b);
  const [p50, p95] = [0.5, 0.95].map((share) => percentile(times, share).toFixed(2));
  console.log(`${nodes} nodes: DEL to lock p50 ${p50} ms, p95 ${p95} ms (${ROUNDS} times)`);
}

(async () => {
  for (const nodes of [1, 3]) await measure(nodes);
})();

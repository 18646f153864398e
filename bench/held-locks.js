'use strict';

// `node bench/held-locks.js`: what it costs to hold many locks that are kept alive, on three
// redis-servers of its own. Each row is measured in a process of its own.

const { fork } = require('node:child_process');
const { once } = require('node:events');
const v8 = require('node:v8');
const { setTimeout: delay } = require('node:timers/promises');

const { startServers } = require('../tools/redis-servers.js');
const { processCpu } = require('./cpu.js');

const ROWS = [
  { locks: 10_000, expiry: 5000, seconds: 60, again: 4 },
  { locks: 100_000, expiry: 10_000, seconds: 60, again: 1 },
];
const AT_ONCE = 1000;
const SETTLED = 2000;

/** Without V8's room for young objects, which is empty and grows by steps of its own. */
async function residentBytes() {
  globalThis.gc();
  await delay(SETTLED); // what is free goes back to the system a little later
  globalThis.gc();
  const young = v8.getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space');
  return process.memoryUsage.rss() - young.physical_space_size;
}

async function acquire(redsync, prefix, count) {
  const locks = [];
  for (let i = 0; i < count; i += AT_ONCE) {
    const some = Array.from({ length: AT_ONCE }, (_, j) =>
      redsync.newMutex(`${prefix}:${i + j}`).lock(),
    );
    locks.push(...(await Promise.all(some)));
  }
  return locks;
}

async function measure({ locks: count, expiry, seconds, again }, urls) {
  const { Redsync } = require('../index.js');
  const redsync = new Redsync(urls, { expiry, autoExtend: true });
  const locks = await acquire(redsync, 'held', count);
  await delay(expiry); // each has been extended

  const cpu = processCpu();
  const start = performance.now();
  await delay(seconds * 1000);
  const share = (processCpu() - cpu) / 1000 / (performance.now() - start);
  const lost = locks.filter((lock) => !(lock.remaining > 0)).length;

  // As many again, or several times as many, for V8 takes memory in steps: code, connections and room
  // for a burst of calls are there by now.
  const before = await residentBytes();
  for (let i = 0; i < again; i++) locks.push(...(await acquire(redsync, `more ${i}`, count)));
  await delay(expiry);
  const bytes = ((await residentBytes()) - before) / (again * count);

  process.send({ share, bytes, lost });
  await redsync.close();
  process.disconnect();
}

async function measureRow(row) {
  const servers = await startServers(3);
  const child = fork(__filename, [], { execArgv: ['--expose-gc'] });
  child.send({ row, urls: servers.map(({ url }) => url) });
  const [result] = await once(child, 'message');
  const stored = await Promise.all(servers.map((server) => server.command('DBSIZE')));
  await Promise.all(servers.map((server) => server.stop()));
  return { ...result, missing: (1 + row.again) * row.locks - Math.min(...stored) };
}

async function main() {
  console.log('| locks | expiry | % process CPU | resident bytes each | lost | keys missing |');
  console.log('|---:|---:|---:|---:|---:|---:|');
  for (const row of ROWS) {
    const { share, bytes, lost, missing } = await measureRow(row);
    const cells = [
      row.locks,
      `${row.expiry / 1000} s`,
      (share * 100).toFixed(2),
      bytes.toFixed(0),
      lost,
      missing,
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
}

if (process.send) process.once('message', ({ row, urls }) => measure(row, urls));
else main();

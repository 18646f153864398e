'use strict';

// One case of memory.js: its arguments are the library, the case, how many, and the URLs.

const { setTimeout: delay } = require('node:timers/promises');

const [library, id, countText, ...urls] = process.argv.slice(2);
const count = Number(countText);

// No lock may expire, and nobody may try again, before the memory has been looked at.
const EXPIRY = 600_000;
const LATER = 600_000;
const AT_ONCE = 512;

const LIBRARIES = {
  async redsync() {
    const { Redsync } = require('../index.js');
    const options = { expiry: EXPIRY, tries: Infinity, retryDelay: LATER };
    const redsync = new Redsync(urls, options);
    await redsync.health();
    return {
      mutex: (name) => redsync.newMutex(name),
      lock: (name) => redsync.newMutex(name).lock(),
      unlock: (lock) => lock.unlock(),
    };
  },

  async redlock() {
    const { default: Redlock } = require('redlock');
    const { connectClients } = require('./clients.js');
    const options = { retryCount: -1, retryDelay: LATER };
    const redlock = new Redlock(await connectClients(urls), options);
    return {
      lock: (name) => redlock.acquire([name], EXPIRY),
      unlock: (lock) => lock.release(),
    };
  },
};

const names = (kind, length) => Array.from({ length }, (_, i) => `${kind}:${i}`);

/** For each item, so many at once. */
async function inTurns(items, action) {
  const results = new Array(items.length);
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await action(items[index]);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return results;
}

/** Resolves once the process has nothing more to do. */
async function idle() {
  for (;;) {
    const before = process.cpuUsage();
    await delay(500);
    const { user, system } = process.cpuUsage(before);
    if (user + system < 20_000) return;
  }
}

async function memory() {
  await idle();
  globalThis.gc();
  globalThis.gc();
  const { heapUsed, rss } = process.memoryUsage();
  return { heap: heapUsed, rss };
}

/** What `make` has added; `keep` holds on to what it made until then. */
async function added(make) {
  const before = await memory();
  const keep = await make();
  const after = await memory();
  return { heap: after.heap - before.heap, rss: after.rss - before.rss, kept: keep.length };
}

const CASES = {
  mutex: ({ mutex }) => added(() => names('mutex', count).map(mutex)),

  held: ({ lock }) => added(() => inTurns(names('held', count), lock)),

  waiting: ({ lock }) =>
    added(() =>
      names('taken', count).map((name) => {
        const call = lock(name);
        call.catch(() => {}); // ends with the process
        return call;
      }),
    ),

  async burst({ lock, unlock }) {
    const wanted = names('burst', count);
    const before = await memory();
    const start = performance.now();
    const results = await Promise.allSettled(wanted.map(lock));
    const seconds = (performance.now() - start) / 1000;
    const peak = process.resourceUsage().maxRSS * 1024 - before.rss;
    const locks = results.splice(0).filter(({ status }) => status === 'fulfilled');
    const succeeded = locks.length;
    await inTurns(locks.splice(0), ({ value }) => unlock(value));
    return { seconds, peak, succeeded, left: (await memory()).rss - before.rss };
  },
};

async function main() {
  const subject = await LIBRARIES[library]();
  // Buffers and compiled code are there from the first calls on: they are nobody's share.
  await inTurns(await inTurns(names('first', 5000), subject.lock), subject.unlock);
  process.stdout.write(JSON.stringify(await CASES[id](subject)), () => process.exit());
}

main();

'use strict';

// One process of `npm run bench:shared`: groups of callers, each of which locks one name, holds it, unlocks it and
// thinks, over and over. Prints what happened as a line of JSON.
//
//   PLAN, as JSON: { library, urls, name, groups: [{ permits, mode, callers, hold, think, turns, duration }] }

const { setTimeout: delay } = require('node:timers/promises');

const { EXPIRY, closeClients, connectClients } = require('./clients.js');

const PATIENCE = 120_000;

/** Nobody gives up: how long it takes is what is measured. */
const LIBRARIES = {
  async redsync(urls) {
    const { Redsync } = require('../index.js');
    const redsync = new Redsync(urls, { expiry: EXPIRY, tries: Infinity });
    await redsync.health();
    return {
      async take(name, { permits, mode }) {
        const lock = await redsync.newMutex(name, { permits, mode }).lock();
        return () => lock.unlock();
      },
      close: () => redsync.close(),
    };
  },

  async 'redis-semaphore'(urls) {
    const { RedlockSemaphore, Semaphore } = require('redis-semaphore');
    const clients = await connectClients(urls);
    const options = { lockTimeout: EXPIRY, acquireTimeout: PATIENCE, refreshInterval: 0 };
    return {
      async take(name, { permits }) {
        const semaphore =
          clients.length === 1
            ? new Semaphore(clients[0], name, permits, options)
            : new RedlockSemaphore(clients, name, permits, options);
        await semaphore.acquire();
        return () => semaphore.release();
      },
      close: () => closeClients(clients),
    };
  },
};

/** Microseconds on the clock that all processes of the machine share. */
const now = () => Number(process.hrtime.bigint() / 1000n);

async function main() {
  const { library, urls, name, groups } = JSON.parse(process.argv[2]);
  const { take, close } = await LIBRARIES[library](urls);
  process.stdout.write('ready\n');
  await new Promise((resolve) => process.stdin.once('data', resolve));

  const turns = []; // group, when it had asked, when acquired, when it began to release
  const failures = [];
  const call = async (
    group,
    { callers, hold, think, turns: most = Infinity, duration, ...kind },
  ) => {
    const end = now() + (duration ?? PATIENCE) * 1000;
    for (let i = 0; i < most && now() < end; i++) {
      const asked = now();
      try {
        const release = await take(name, kind);
        const acquired = now();
        await delay(hold);
        turns.push([group, asked, acquired, now()]);
        await release();
      } catch (error) {
        failures.push(error.message);
      }
      if (think > 0) await delay(think);
    }
  };
  const all = groups.flatMap((plan, group) =>
    Array.from({ length: plan.callers }, () => call(group, plan)),
  );
  await Promise.all(all);
  process.stdout.write(`${JSON.stringify({ turns, failures })}\n`);
  process.stdin.destroy();
  await close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

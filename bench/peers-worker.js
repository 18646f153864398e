'use strict';

// One process of `node bench/peers.js`: TASK LIBRARY URL…

const begin = { time: performance.now(), cpu: process.cpuUsage() };

const fs = require('node:fs');
const { setTimeout: delay } = require('node:timers/promises');

const KEY = 'bench:peers';
const EXPIRY = 8000;
const SHORT_EXPIRY = 2000;
const BLOCKED = 3 * SHORT_EXPIRY;
const WAITERS = 1000;

/** Clients that connect while the library is already in use, as a service that starts has them. */
function clients(urls) {
  const { Redis } = require('ioredis');
  return urls.map((url) => new Redis(url));
}

/** Each gives `lock()`, with all defaults, and `keep(routine)`, which keeps a lock of a short life alive. */
const LIBRARIES = {
  redsync(urls) {
    const { Redsync } = require('..');
    return ofRedsync(new Redsync(urls));
  },
  'redsync-over-ioredis'(urls) {
    const { Redsync } = require('..');
    const { newPool } = require('../lib/adapters/ioredis.js');
    return ofRedsync(new Redsync(clients(urls).map(newPool)));
  },
  redlock(urls) {
    const { default: Redlock } = require('redlock');
    const redlock = new Redlock(clients(urls));
    redlock.on('error', () => {}); // it tells of each client that says no
    return {
      lock: () => redlock.acquire([KEY], EXPIRY),
      keep: (routine) => redlock.using([KEY], SHORT_EXPIRY, routine),
    };
  },
  'redis-semaphore'(urls) {
    const { RedlockMutex } = require('redis-semaphore');
    const all = clients(urls);
    const mutex = (options) => new RedlockMutex(all, KEY, options);
    return {
      lock: () => mutex({ lockTimeout: EXPIRY }).acquire(),
      async keep(routine) {
        await mutex({ lockTimeout: SHORT_EXPIRY, onLockLost() {} }).acquire();
        await routine();
      },
    };
  },
  'redlock-universal'(urls) {
    const { IoredisAdapter, createRedlock } = require('redlock-universal');
    const adapters = clients(urls).map((client) => new IoredisAdapter(client));
    return {
      lock: () => createRedlock({ adapters, key: KEY, ttl: EXPIRY }).acquire(),
      keep: (routine) => createRedlock({ adapters, key: KEY, ttl: SHORT_EXPIRY }).using(routine),
    };
  },
};

function ofRedsync(redsync) {
  return {
    lock: () => redsync.acquire(KEY, { expiry: EXPIRY }),
    keep: (routine) => redsync.using(KEY, { expiry: SHORT_EXPIRY }, routine),
  };
}

/** A line for whoever has started the process, also if the event loop does not turn any more. */
function tell(line) {
  fs.writeSync(1, `${line}\n`);
}

const TASKS = {
  /** Has a lock that is kept alive, and blocks the event loop for three times its life. */
  async block({ keep }) {
    await keep(async () => {
      await delay(SHORT_EXPIRY); // it has been extended before
      tell('blocks');
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BLOCKED);
      process.exit();
    });
  },

  /** So many callers want a lock that somebody else has; whoever gives up begins again. */
  async wait({ lock }) {
    tell('waits');
    const caller = async () => {
      for (;;) await lock().catch(() => {});
    };
    await Promise.all(Array.from({ length: WAITERS }, caller));
  },

  /** The first lock of a process, from before anything is loaded. */
  async begin({ lock }) {
    await lock();
    const { user, system } = process.cpuUsage(begin.cpu);
    tell(JSON.stringify({ ms: performance.now() - begin.time, cpu: (user + system) / 1000 }));
    process.exit();
  },
};

if (require.main === module) {
  const [task, library, ...urls] = process.argv.slice(2);
  TASKS[task](LIBRARIES[library](urls));
}

module.exports = { BLOCKED, KEY, LIBRARIES: Object.keys(LIBRARIES), WAITERS };

'use strict';

const test = require('ava');

const { untilSteady } = require('./helpers/async.js');
const { endedWell, runProcess, startProcess } = require('./helpers/processes.js');
const { deadUrl, useServers } = require('./helpers/servers.js');

const onLinux = process.platform === 'linux' ? test.serial : test.serial.skip;

onLinux('a cold require starts no thread, the first call does', async (t) => {
  const [server] = await useServers(t, 1);
  const result = await runProcess(async (file, url) => {
    const threads = () => require('node:fs').readdirSync('/proc/self/task').length;
    const before = threads();
    const { Redsync } = require(file);
    const mutex = new Redsync(url).newMutex('name');
    const cold = threads() - before;
    await (await mutex.lock()).unlock();
    const warm = threads() - before;
    console.log(`${cold} ${warm > 0}`);
  }, server.url);
  endedWell(t, result, '0 true');
});

test.serial('a process with an unused Redsync ends', async (t) => {
  const result = await runProcess(
    (file, url) => {
      const { Redsync } = require(file);
      new Redsync(['memory:', url]).newMutex('name');
      console.log('end');
    },
    await deadUrl(),
  );
  endedWell(t, result, 'end');
});

for (const [title, close] of [
  ['without close()', false],
  ['after close()', true],
]) {
  test.serial(`a process that holds a lock ends by itself ${title}`, async (t) => {
    const servers = await useServers(t, 3);
    const result = await runProcess(
      async (file, urls, close) => {
        const { Redsync } = require(file);
        const redsync = new Redsync(urls);
        await (await redsync.newMutex('released').lock()).unlock();
        await redsync.newMutex('held', { expiry: 600_000 }).lock();
        if (close) await redsync.close();
        console.log('end');
      },
      servers.map(({ url }) => url),
      close,
    );
    endedWell(t, result, 'end');
    for (const server of servers) {
      t.is(await server.command('EXISTS', 'released'), 0);
      t.is(await server.command('EXISTS', 'held'), 1);
    }
  });
}

test.serial('a process with memory nodes ends by itself', async (t) => {
  const result = await runProcess(async (file) => {
    const { Redsync } = require(file);
    await new Redsync(['memory:', 'memory:', 'memory:']).newMutex('held').lock();
    console.log('end');
  });
  endedWell(t, result, 'end');
});

test.serial('a process with a node that cannot be reached ends by itself', async (t) => {
  const result = await runProcess(
    async (file, url) => {
      const { Redsync } = require(file);
      const redsync = new Redsync(['memory:', 'memory:', url]);
      await (await redsync.newMutex('name').lock()).unlock();
      console.log('end');
    },
    await deadUrl(),
  );
  endedWell(t, result, 'end');
});

test.serial('a waiting lock() keeps the process alive until it settles', async (t) => {
  const [server] = await useServers(t, 1);
  await server.command('SET', 'taken', 'foreign', 'PX', 1000);
  const result = await runProcess((file, url) => {
    const { Redsync } = require(file);
    const mutex = new Redsync(url).newMutex('taken', { tries: Infinity, retryDelay: 20 });
    mutex
      .lock()
      .then((lock) => lock.unlock())
      .then((released) => console.log(released));
  }, server.url);
  endedWell(t, result, 'true');
  t.is(await server.command('EXISTS', 'taken'), 0);
});

async function lead(file, url) {
  const { Redsync } = (await import(file)).default;
  const options = { expiry: 2000, autoExtend: { interval: 100 }, timeoutFactor: 0.5 };
  await new Redsync(url).using('name', options, async (signal) => {
    console.log('leads');
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    console.log(signal.reason.message);
  });
  console.log('has led');
}

for (const isModule of [true, false]) {
  const title = isModule ? 'a module' : 'CommonJS';
  test.serial(`a routine that waits for its signal keeps ${title} alive`, async (t) => {
    const [server] = await useServers(t, 1);
    const leader = startProcess({ isModule }, lead, server.url);
    await leader.says('leads');
    await server.command('DEL', 'name');
    const lines = ['leads', 'lock "name" is lost: it was deleted', 'has led'];
    endedWell(t, await leader.ended, lines.join('\n'));
  });
}

test.serial('a routine that has thrown keeps no process alive', async (t) => {
  const [server] = await useServers(t, 1);
  const result = await runProcess((file, url) => {
    const { Redsync } = require(file);
    const routine = () => Promise.reject(new Error('mine'));
    new Redsync(url).using('name', routine).catch(({ message }) => console.log(message));
  }, server.url);
  endedWell(t, result, 'mine');
});

test.serial('a lock() that fails keeps the process alive until it rejects', async (t) => {
  const result = await runProcess(
    (file, url) => {
      const { Redsync } = require(file);
      const mutex = new Redsync(url).newMutex('name', { tries: 3, retryDelay: 50 });
      mutex.lock().catch((error) => console.log(error.code, error.attempts));
    },
    await deadUrl(),
  );
  endedWell(t, result, 'ERR_LOCK_FAILED 3');
});

test.serial('process.exit() with calls in flight is clean', async (t) => {
  const servers = await useServers(t, 3);
  const result = await runProcess(
    async (file, urls) => {
      const { Redsync } = require(file);
      const redsync = new Redsync(urls);
      await redsync.ready();
      for (let i = 0; i < 1000; i++) redsync.newMutex(`name-${i}`, { expiry: 1000 }).lock();
      setImmediate(() => process.exit(0));
    },
    servers.map(({ url }) => url),
  );
  endedWell(t, result);
});

test.serial('an uncaught rejection shows the typed error', async (t) => {
  const result = await runProcess(
    async (file, url) => {
      const { Redsync } = require(file);
      await new Redsync(url).newMutex('name', { tries: 1 }).lock();
    },
    await deadUrl(),
  );
  t.is(result.status, 1);
  t.regex(result.stderr, /FailedError/);
  t.regex(result.stderr, /ERR_LOCK_FAILED/);
});

// Two of three nodes are taken: every attempt of the worker puts a key on the third and has to
// take it off again.
test.serial(
  'a worker terminated with calls in flight leaves its process alive, and no keys',
  async (t) => {
    const servers = await useServers(t, 3);
    const names = Array.from({ length: 50 }, (_, i) => `name-${i}`);
    const taken = servers.slice(0, 2);
    await Promise.all(
      taken.flatMap((server) => names.map((name) => server.command('SET', name, 'foreign'))),
    );

    const result = await runProcess(
      async (file, urls, names) => {
        const { once } = require('node:events');
        const { Worker } = require('node:worker_threads');
        const { Redsync } = require(file);
        const contend = (file, urls, names) => {
          const { parentPort } = require('node:worker_threads');
          const { Redsync } = require(file);
          const redsync = new Redsync(urls);
          let attempts = 0;
          const genValue = () => {
            if (++attempts === names.length * 3) parentPort.postMessage('busy');
            return `value-${attempts}`;
          };
          for (const name of names) {
            redsync.newMutex(name, { tries: Infinity, retryDelay: 1, genValue }).lock();
          }
        };
        const redsync = new Redsync(urls);
        for (let round = 0; round < 3; round++) {
          const code = `(${contend})(${[file, urls, names].map((arg) => JSON.stringify(arg))})`;
          const worker = new Worker(code, { eval: true });
          await once(worker, 'message');
          await worker.terminate();
          await (await redsync.newMutex(`after-${round}`).lock()).unlock();
        }
        console.log('alive');

        // Freed now, the names must not be taken by a worker that is gone.
        const { setTimeout: delay } = require('node:timers/promises');
        const heirs = names.map((name) => redsync.newMutex(name, { value: 'foreign' }).unlock());
        console.log((await Promise.all(heirs)).every((released) => released));
        await delay(300);
      },
      servers.map(({ url }) => url),
      names,
    );
    endedWell(t, result, 'alive\ntrue');
    await untilSteady(async () => {
      const sizes = await Promise.all(servers.map((server) => server.command('DBSIZE')));
      return sizes.every((size) => size === 0);
    });
  },
);

test.serial('workers and their process use the addon side by side', async (t) => {
  const [server] = await useServers(t, 1);
  const result = await runProcess(async (file, url) => {
    const { once } = require('node:events');
    const { Worker } = require('node:worker_threads');
    const increment = async (file, url) => {
      const { workerData } = require('node:worker_threads');
      const { Redsync } = require(file);
      const counter = new Int32Array(workerData);
      const mutex = new Redsync(url).newMutex('counter', { tries: Infinity, retryDelay: 2 });
      for (let i = 0; i < 25; i++) {
        const lock = await mutex.lock();
        const read = counter[0];
        await new Promise(setImmediate);
        counter[0] = read + 1;
        await lock.unlock();
      }
    };
    const workerData = new SharedArrayBuffer(4);
    const code = `(${increment})(${JSON.stringify(file)}, ${JSON.stringify(url)})`;
    const workers = Array.from({ length: 4 }, () => new Worker(code, { eval: true, workerData }));
    const exits = await Promise.all(workers.map((worker) => once(worker, 'exit')));
    console.log(exits.flat().join(' '), new Int32Array(workerData)[0]);
  }, server.url);
  endedWell(t, result, '0 0 0 0 100');
});

// An allocator that takes the first thread for the main one crashed when a later thread got its place.
test.serial('workers load the addon one after another, their process never', async (t) => {
  const result = await runProcess(async (file) => {
    const { once } = require('node:events');
    const { Worker } = require('node:worker_threads');
    const cycle = async (file) => {
      const { Redsync } = require(file);
      const mutex = new Redsync('memory:').newMutex('name');
      for (let i = 0; i < 50; i++) await (await mutex.lock()).unlock();
    };
    const code = `(${cycle})(${JSON.stringify(file)})`;
    for (let i = 0; i < 30; i++) {
      const [status] = await once(new Worker(code, { eval: true }), 'exit');
      if (status !== 0) throw new Error(`worker ${i} ended with ${status}`);
    }
    console.log('all ended');
  });
  endedWell(t, result, 'all ended');
});

// how the first short expiry is given, what the warning calls it
const SHORT = [
  [
    'to newMutex()',
    { expiry: 99 },
    '"options.expiry" is 99 milliseconds. Did you mean 99 seconds? Write 99000',
  ],
  ['none', {}, ''],
  ['that is not short', { expiry: 100 }, ''],
];

for (const [title, options, expected] of SHORT) {
  test.serial(`a short expiry is warned of once: ${title}`, async (t) => {
    const body = async (file, options) => {
      const warnings = [];
      process.on('warning', ({ code, message }) => warnings.push(`${code} ${message}`));
      const { Redsync } = require(file);
      new Redsync('memory:').newMutex('name', options);
      if (options.expiry < 100)
        new Redsync('memory:', { expiry: 5 }).newMutex('name', { expiry: 6 });
      await new Promise(setImmediate);
      console.log(warnings.join('\n'));
    };
    const result = await startProcess({ nodeArgs: ['--no-warnings'] }, body, options).ended;
    endedWell(t, result, expected && `REDSYNC_SHORT_EXPIRY ${expected}`);
  });
}

test.serial(
  'a short expiry of the Redsync is warned of, too, and seen without a listener',
  async (t) => {
    const { stderr } = await runProcess((file) => {
      const { Redsync } = require(file);
      new Redsync('memory:', { expiry: 30 });
    });
    t.regex(
      stderr,
      /^\(node:\d+\) \[REDSYNC_SHORT_EXPIRY\] Warning: "options\.expiry" is 30 milliseconds\. Did you mean 30 seconds\? Write 30000\n/,
    );
  },
);

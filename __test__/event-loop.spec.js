'use strict';

// Over pools alone the engine runs on the event loop, and no thread is there.

const { execFile } = require('node:child_process');
const { promisify } = require('node:util');
const { Worker } = require('node:worker_threads');

const test = require('ava');
const { Redis } = require('ioredis');

const { FailedError, Redsync } = require('../index.js');
const { newPool } = require('redsync/ioredis');
const { rejection, until } = require('./helpers/async.js');
const { believed } = require('./helpers/believed.js');
const { startServer } = require('./helpers/servers.js');

/** A busy machine does not matter. */
const PATIENT = { timeoutFactor: 0.5, tries: Infinity };

let server;
test.before(async () => {
  server = await startServer();
});
test.after.always(() => server.stop());

function useRedsync(t, options = PATIENT) {
  const client = new Redis(server.url);
  const redsync = new Redsync([newPool(client)], options);
  t.teardown(async () => {
    await redsync.close();
    client.disconnect();
  });
  return redsync;
}

/** What the threads of a process are called that locks once over these nodes. */
async function threadsAfter(nodes) {
  const script = `
    const { readdirSync, readFileSync } = require('node:fs');
    const { Redis } = require('ioredis');
    const { Redsync } = require('redsync');
    const { newPool } = require('redsync/ioredis');
    const client = new Redis(process.argv[1]);
    const redsync = new Redsync([${nodes}]);
    redsync.using('threads', async () => {}).then(async () => {
      const threads = readdirSync('/proc/self/task');
      console.log(threads.map((id) => readFileSync('/proc/self/task/' + id + '/comm', 'utf8')).join(''));
      await redsync.close();
      client.disconnect();
    });`;
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', script, server.url], {
    cwd: __dirname,
  });
  return stdout.split('\n');
}

const onLinux = process.platform === 'linux' ? test : test.skip;

/** The WebAssembly module starts none for other nodes either. */
const mayStart = process.env.REDSYNC_ENGINE !== 'wasm';

onLinux('a process that has pools only starts no thread', async (t) => {
  t.false((await threadsAfter('newPool(client)')).includes('redsync'));
  for (const nodes of ['newPool(client), "memory:", "memory:"', '"memory:"']) {
    t.is((await threadsAfter(nodes)).includes('redsync'), mayStart);
  }
});

test('whoever has both kinds of nodes is told by both', async (t) => {
  const here = useRedsync(t);
  const client = new Redis(server.url);
  let conn = newPool(client).get();
  const failing = new Redsync([{ get: () => conn }], { tries: 1, expiry: 600_000 });
  const there = new Redsync(['memory:', 'memory:', 'memory:'], PATIENT);
  t.teardown(() => Promise.all([failing.close(), there.close(), client.quit()]));
  await believed(failing);
  conn = { close() {} }; // fails at once, while the questions of the engine are read
  for (let round = 0; round < 20; round++) {
    const calls = Array.from({ length: 100 }, async (_, i) => {
      const name = `both:${round}:${i}`;
      const [lock, other, error] = await Promise.all([
        here.newMutex(name).lock(),
        there.newMutex(name).lock(),
        rejection(failing.newMutex(name).lock()),
      ]);
      t.true(error instanceof FailedError);
      t.not(error.errors[0].cause.code, 'ETIMEDOUT');
      await Promise.all([other.unlock(), lock.unlock()]);
    });
    await Promise.all(calls);
  }
});

test('deadlines come without a call', async (t) => {
  const redsync = useRedsync(t);
  const lock = await redsync.newMutex('deadlines', { expiry: 1000 }).lock();
  t.false(lock.signal.aborted);
  await until(() => lock.signal.aborted);
  const silent = new Redsync([{ get: () => new Promise(() => {}) }], { tries: 1, expiry: 2000 });
  t.teardown(() => silent.close());
  const error = await rejection(silent.newMutex('deadlines').lock());
  t.is(error.errors[0].cause.code, 'ETIMEDOUT');
  // Who waits for a lock tries again.
  const held = await redsync.newMutex('turn', { expiry: 1000 }).lock();
  const next = await redsync.newMutex('turn', { wait: 30_000 }).lock();
  t.false(held.remaining > 0);
  await next.unlock();
});

test('a lock is kept alive, and the process ends all the same', async (t) => {
  const script = `
    const { Redis } = require('ioredis');
    const { Redsync } = require('redsync');
    const { newPool } = require('redsync/ioredis');
    const client = new Redis(process.argv[1]);
    const redsync = new Redsync([newPool(client)], { expiry: 2000, timeoutFactor: 0.5, autoExtend: true });
    redsync.newMutex('alive').lock().then(async (lock) => {
      const before = lock.until;
      while (lock.until === before) await new Promise((resolve) => setTimeout(resolve, 10));
      console.log(lock.signal.aborted);
      client.disconnect();
    });`;
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', script, server.url], {
    cwd: __dirname,
  });
  t.is(stdout, 'false\n');
});

test('a worker that is terminated amid its calls leaves the others alone', async (t) => {
  const redsync = useRedsync(t);
  for (let round = 0; round < 5; round++) {
    const worker = new Worker(
      `const { parentPort, workerData } = require('node:worker_threads');
      const { Redis } = require('ioredis');
      const { Redsync } = require('redsync');
      const { newPool } = require('redsync/ioredis');
      const redsync = new Redsync([newPool(new Redis(workerData.url))], { autoExtend: true, timeoutFactor: 0.5 });
      const turn = async (i) => {
        const lock = await redsync.newMutex('worker:' + workerData.round + ':' + i).lock();
        parentPort.postMessage(i);
        await lock.unlock();
        turn(i);
      };
      for (let i = 0; i < 64; i++) turn(i);`,
      { eval: true, workerData: { url: server.url, round } },
    );
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    await worker.terminate();
    const lock = await redsync.newMutex(`own:${round}`).lock();
    await lock.unlock();
  }
  t.pass();
});

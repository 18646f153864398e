'use strict';

// The core checks, for runtimes that ava does not run on: a plain program. Usage: core.js URL…
// Prints a line a check; ends with status 1 if one has failed.

const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');
const { once } = require('node:events');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');

const { LockExpiredError, Redsync, RedsyncError, TakenError } = require('../../index.js');

const EXPIRY = 600;

function block(ms) {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

const CHECKS = {
  async 'lock and unlock'(redsync, name) {
    const lock = await redsync.newMutex(name).lock();
    assert.ok(lock.remaining > 0 && lock.until > new Date());
    assert.equal(await lock.mutex.valid(), true);
    assert.equal(await lock.unlock(), true);
    assert.equal(await lock.mutex.valid(), false);
  },

  async taken(redsync, name) {
    const lock = await redsync.newMutex(name).lock();
    const other = redsync.newMutex(name, { tries: 2, retryDelay: 1 });
    assert.equal(await other.tryLock(), null);
    const error = await other.lock().catch((error) => error);
    assert.ok(error instanceof TakenError && error instanceof RedsyncError);
    assert.equal(error.code, 'ERR_LOCK_TAKEN');
    assert.equal(error.attempts, 2);
    const waiting = redsync.newMutex(name).lock();
    await lock.unlock();
    await (await waiting).unlock();
  },

  async extend(redsync, name) {
    const lock = await redsync.newMutex(name).lock();
    const { until } = lock;
    block(5);
    assert.equal(await lock.extend(), true);
    assert.ok(lock.until > until);
    await lock.unlock();
    await assert.rejects(lock.unlock(), LockExpiredError);
  },

  async abort(redsync, name) {
    const lock = await redsync.newMutex(name).lock();
    const controller = new AbortController();
    const reason = new Error('enough');
    const waiting = redsync.newMutex(name).lock({ signal: controller.signal });
    controller.abort(reason);
    assert.equal(await waiting.catch((error) => error), reason);
    await lock.unlock();
    await (await redsync.newMutex(name).lock()).unlock();
  },

  async 'a lock lives on while the event loop is blocked'(redsync, name) {
    const lock = await redsync.newMutex(name, { expiry: EXPIRY, autoExtend: true }).lock();
    block(3 * EXPIRY);
    assert.ok(lock.remaining > 0);
    assert.equal(lock.signal.aborted, false);
    assert.equal(await lock.mutex.valid(), true);
    await lock.unlock();
  },

  async 'the loss of a lock aborts its signal'(redsync, name) {
    const lock = await redsync.newMutex(name, { expiry: EXPIRY }).lock();
    const lost = once(lock.signal, 'abort');
    await lost;
    assert.equal(lock.signal.reason.code, 'ERR_LOCK_LOST');
  },

  async using(redsync, name) {
    const result = await redsync.using(name, async (signal, lock) => {
      assert.equal(await lock.mutex.valid(), true);
      return signal.aborted;
    });
    assert.equal(result, false);
    assert.equal(await redsync.newMutex(name).valid(), false);
  },

  async 'many at once'(redsync, name) {
    await Promise.all(
      Array.from({ length: 1000 }, async (_, i) => {
        const lock = await redsync.newMutex(`${name}:${i}`).lock();
        assert.equal(await lock.unlock(), true);
      }),
    );
  },

  async 'worker threads exclude each other'(redsync, name, urls) {
    const workers = Array.from(
      { length: 4 },
      () => new Worker(__filename, { workerData: { urls, name } }),
    );
    const told = await Promise.all(
      workers.map(async (worker) => (await once(worker, 'message'))[0]),
    );
    await Promise.all(workers.map((worker) => worker.terminate()));
    assert.deepEqual(told.sort(), [false, false, false, true]);
  },

  async 'a worker is terminated with calls in flight'(redsync, name, urls) {
    const worker = new Worker(__filename, { workerData: { urls, name, calls: 1000 } });
    await once(worker, 'message');
    await worker.terminate();
    await (await redsync.newMutex(name).lock()).unlock();
  },

  async 'ESM and CommonJS give the same classes'() {
    const imported = await import('../../index.js');
    const required = require('../../index.js');
    for (const name of Object.keys(required)) assert.equal(imported[name], required[name], name);
  },
};

async function work({ urls, name, calls }) {
  const redsync = new Redsync(urls);
  if (calls === undefined) {
    // One of the workers gets it, and keeps it.
    const lock = await redsync.newMutex(name, { expiry: 60_000, tries: 10 }).tryLock();
    parentPort.postMessage(lock !== null);
    return;
  }
  for (let i = 0; i < calls; i++) redsync.newMutex(`${name}:${i}`).lock();
  setImmediate(() => parentPort.postMessage('in flight'));
  setInterval(() => {}, 1000);
}

async function main(urls) {
  let failed = 0;
  setInterval(() => {}, 1000); // waiting for the loss of a lock does not keep a process alive
  for (const [title, check] of Object.entries(CHECKS)) {
    const redsync = new Redsync(urls);
    try {
      await check(redsync, `core:${randomUUID()}`, urls);
      console.log(`ok ${title}`);
    } catch (error) {
      failed++;
      console.log(`FAIL ${title}: ${error.stack}`);
    }
    await redsync.close();
  }
  console.log(`${Object.keys(CHECKS).length} checks, ${failed} failed`);
  process.exit(failed > 0 ? 1 : 0);
}

if (isMainThread) main(process.argv.slice(2));
else work(workerData);

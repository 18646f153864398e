'use strict';

// Those who wait for a name in one process stand in one line. None of them is at the mercy of the first.

const { once } = require('node:events');
const { Worker } = require('node:worker_threads');
const test = require('ava');

const { FailedError, Redsync } = require('../index.js');
const { rejection, until } = require('./helpers/async.js');
const { useProxy } = require('./helpers/proxy.js');
const { useServers } = require('./helpers/servers.js');

/** Whoever is held up by another would wait for this long. */
const LONG = 600_000;

function connect(t, urls, options) {
  const redsync = new Redsync(urls, { timeoutFactor: 0.5, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

const urlsOf = (servers) => servers.map(({ url }) => url);

async function isHeld(servers, name) {
  const counts = await Promise.all(servers.map((server) => server.command('EXISTS', name)));
  return counts.every((count) => count === 1);
}

/** A call that waits until the test ends, and is in line before this returns. */
function wait(t, redsync, name, options) {
  const controller = new AbortController();
  const settled = redsync
    .newMutex(name, { tries: Infinity, expiry: LONG, retryDelay: LONG, ...options })
    .lock({ signal: controller.signal });
  settled.catch(() => {});
  t.teardown(async () => {
    controller.abort();
    const lock = await settled.catch(() => undefined);
    await lock?.unlock();
  });
  return settled;
}

test('a wrong password is nobody else’s', async (t) => {
  const servers = await useServers(t, 3, { password: 'right' });
  const urls = (password) => servers.map(({ port }) => `redis://:${password}@127.0.0.1:${port}`);
  const wrong = connect(t, urls('wrong'));
  wait(t, wrong, 'name');
  await until(async () =>
    (await wrong.health()).every(({ error }) => error?.cause.code === 'WRONGPASS'),
  );
  const right = connect(t, urls('right'), { retryDelay: LONG });
  await right.using('name', () => t.pass());
});

test('a value that does not come holds up nobody else', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, urlsOf(servers));
  let isAsked = false;
  const genValue = () => {
    isAsked = true;
    return new Promise(() => {});
  };
  wait(t, redsync, 'name', { genValue });
  await until(() => isAsked);
  await redsync.using('name', { retryDelay: LONG }, () => t.pass());
});

test('a delay that is behind a blocked event loop holds up no other thread', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, urlsOf(servers));
  const lock = await redsync.acquire('name', { expiry: LONG });
  const isBlocked = new Int32Array(new SharedArrayBuffer(4));
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { Redsync } = require(workerData.file);
    const redsync = new Redsync(workerData.urls, { timeoutFactor: 0.5 });
    const retryDelay = () => {
      Atomics.store(workerData.isBlocked, 0, 1);
      Atomics.wait(workerData.isBlocked, 0, 1); // until the test has ended
      return 1;
    };
    redsync.newMutex('name', { tries: Infinity, retryDelay }).lock().catch(() => {});
  `;
  const workerData = { file: require.resolve('../index.js'), urls: urlsOf(servers), isBlocked };
  const worker = new Worker(code, { eval: true, workerData });
  t.teardown(async () => {
    Atomics.store(isBlocked, 0, 0);
    Atomics.notify(isBlocked, 0);
    await worker.terminate();
  });
  worker.on('error', (error) => t.fail(error.message));
  await until(() => Atomics.load(isBlocked, 0) === 1);
  const waiting = redsync.acquire('name', { tries: Infinity, expiry: LONG, retryDelay: LONG });
  await lock.unlock();
  await (await waiting).unlock();
  t.is(Atomics.load(isBlocked, 0), 1, 'the worker has not moved');
});

test('an expiry that is too short for the network holds up nobody else', async (t) => {
  const servers = await useServers(t, 3);
  const proxies = await Promise.all(servers.map((server) => useProxy(t, server)));
  const redsync = connect(t, urlsOf(proxies));
  await redsync.ready();
  proxies.forEach((proxy) => proxy.delay(20));
  // It leaves a node 10 ms.
  const short = { expiry: 100, timeoutFactor: 0.1, retryDelay: 1, tries: Infinity };
  const controller = new AbortController();
  const failing = redsync.newMutex('name', short).lock({ signal: controller.signal });
  const failed = rejection(failing);
  await redsync.using('name', { expiry: LONG, retryDelay: LONG }, () => t.pass());
  controller.abort();
  await failed;
});

test('a call fails by its own errors', async (t) => {
  const servers = await useServers(t, 3);
  const proxies = await Promise.all(servers.map((server) => useProxy(t, server)));
  const redsync = connect(t, urlsOf(proxies));
  const lock = await redsync.acquire('name', { expiry: LONG });
  proxies.forEach((proxy) => proxy.delay(100));
  const short = { expiry: 100, timeoutFactor: 0.1, tries: 30, retryDelay: 1 };
  const failing = redsync.newMutex('name', short).lock();
  const taken = redsync.newMutex('name', { expiry: LONG, tries: 2, retryDelay: 50 }).lock();
  t.is((await rejection(taken)).code, 'ERR_LOCK_TAKEN');
  const error = await rejection(failing);
  t.true(error instanceof FailedError);
  t.true(
    error.errors.every(({ cause }) => cause.code === 'ETIMEDOUT'),
    error.message,
  );
  await lock.unlock();
});

test('a lock is kept while thousands of calls wait for a server that hangs', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, urlsOf(servers), { timeoutFactor: 0.05 });
  await redsync.ready();
  const lock = await redsync.acquire('kept', { expiry: 1500, autoExtend: true });
  const lost = once(lock.signal, 'abort').then(() => true);
  servers[2].pause();
  const controller = new AbortController();
  const { signal } = controller;
  const calls = Array.from({ length: 6000 }, (_, i) =>
    redsync
      .newMutex(`other ${i}`, { expiry: 60_000, tries: 1 })
      .lock({ signal })
      .catch(() => {}),
  );
  // It would have been lost by now.
  const isOver = new Promise((resolve) => setTimeout(resolve, 3000));
  t.not(await Promise.race([lost, isOver]), true);
  t.true(lock.remaining > 0);
  servers[2].resume();
  controller.abort();
  await Promise.all(calls);
  t.true(await isHeld(servers.slice(0, 2), 'kept'));
  await lock.unlock();
});

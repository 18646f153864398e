'use strict';

const { inspect } = require('node:util');

const test = require('ava');

const { ClosedError, FailedError, Redsync } = require('../index.js');
const { delay, elapsed, rejection, until, untilSteady } = require('./helpers/async.js');
const { overBackends } = require('./helpers/backends.js');
const { deadUrl, startServer, useServers } = require('./helpers/servers.js');

const eachBackend = overBackends(test);
const closed = { instanceOf: ClosedError, code: 'ERR_CLOSED' };

function connect(t, nodes, options) {
  const redsync = new Redsync(nodes, options);
  t.teardown(() => redsync.close());
  return redsync;
}

/** Waits for the end of a call, for ten seconds at most. */
async function settles(t, call) {
  const timer = new AbortController();
  const late = delay(10_000, 'late', { signal: timer.signal }).catch(() => {});
  const first = await Promise.race([
    call.then(
      () => 'settled',
      () => 'settled',
    ),
    late,
  ]);
  timer.abort();
  t.is(first, 'settled');
}

for (const [size, quorum] of [
  [1, 1],
  [2, 2],
  [3, 2],
  [4, 3],
  [5, 3],
  [64, 33],
]) {
  test.serial(`${size} nodes have a quorum of ${quorum}`, async (t) => {
    const redsync = connect(t, Array(size).fill('memory:'));
    t.is(redsync.size, size);
    t.is(redsync.quorum, quorum);
    const lock = await redsync.newMutex('name').lock();
    t.true(await lock.unlock());
  });
}

test.serial('a single node needs no array', (t) => {
  t.is(connect(t, 'memory:').size, 1);
});

test.serial('memory: is a node of its own, memory:NAME is shared by name', async (t) => {
  const [one, two] = [connect(t, 'memory:'), connect(t, 'memory:')];
  const lock = await one.newMutex('name').lock();
  t.true(await (await two.newMutex('name').tryLock()).unlock());
  t.true(await lock.unlock());

  const name = `memory:${process.pid}-${performance.now()}`;
  const [left, right] = [connect(t, name), connect(t, name)];
  const held = await left.newMutex('name').lock();
  t.is(await right.newMutex('name').tryLock(), null);
  t.true(await held.unlock());
});

eachBackend('ready() resolves with nothing once the nodes answer', async (t, backend) => {
  const redsync = backend.connect(t);
  t.is(await redsync.ready(), undefined);
  t.is(await redsync.ready({ timeout: 5000 }), undefined);
});

test.serial('ready() is content with a quorum', async (t) => {
  const servers = await useServers(t, 2);
  const redsync = connect(t, [servers[0].url, await deadUrl(), servers[1].url]);
  await t.notThrowsAsync(redsync.ready());
});

test.serial('ready() waits for nodes that come up', async (t) => {
  const [server] = await useServers(t, 1);
  await server.kill();
  const redsync = connect(t, server.url);
  const ready = redsync.ready({ timeout: 30_000 });
  await redsync.health();
  await server.restart();
  await t.notThrowsAsync(ready);
});

test.serial('ready() rejects in time without a quorum', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = connect(t, [await deadUrl(), server.url, await deadUrl()]);
  const call = redsync.ready({ timeout: 200 });
  t.true((await elapsed(call)) < 5000);
  const error = await rejection(call);
  t.true(error instanceof FailedError);
  t.deepEqual(
    error.errors.map(({ node }) => node),
    [0, 2],
  );
});

test.serial('ready() rejects in time for a node that hangs', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = connect(t, server.url);
  server.pause();
  const call = redsync.ready({ timeout: 200 });
  t.true((await elapsed(call)) < 5000);
  t.true((await rejection(call)) instanceof FailedError);
});

test.serial('ready() ends with its signal', async (t) => {
  const redsync = connect(t, await deadUrl());
  const controller = new AbortController();
  const reason = new Error('not interested');
  const call = redsync.ready({ timeout: 60_000, signal: controller.signal });
  setImmediate(() => controller.abort(reason));
  t.is(await rejection(call), reason);
  t.is(await rejection(redsync.ready({ signal: AbortSignal.abort(reason) })), reason);
});

test.serial('health() tells about every node and never rejects', async (t) => {
  const server = await startServer({ password: 'credential' });
  t.teardown(() => server.stop());
  const dead = await deadUrl();
  const redsync = connect(t, [
    server.url.replace('redis://', 'redis://:credential@'),
    dead,
    'memory:',
  ]);
  const [up, down, memory] = await redsync.health();
  t.is(up.node, 0);
  t.is(up.status, 'up');
  t.is(up.endpoint, `127.0.0.1:${server.port}`);
  t.true(up.latency >= 0 && up.latency < 5000);
  const info = await server.command('INFO', 'server');
  const [, name, version] =
    /(valkey)_version:(\S+)/.exec(info) ?? /(redis)_version:(\S+)/.exec(info);
  t.is(up.server, `${name} ${version}`);
  t.is(up.error, undefined);

  t.is(down.node, 1);
  t.not(down.status, 'up');
  t.is(down.endpoint, dead.replace('redis://', ''));
  t.true(down.error instanceof Error);
  t.is(down.latency, undefined);

  t.is(memory.node, 2);
  t.is(memory.status, 'up');
  t.false(inspect([up, redsync], { depth: Infinity, showHidden: true }).includes('credential'));
});

test.serial('health() is in time for a node that hangs, and sees it recover', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = connect(t, server.url);
  await redsync.ready();
  server.pause();
  const call = redsync.health({ timeout: 100 });
  t.true((await elapsed(call)) < 5000);
  const [hung] = await call;
  t.not(hung.status, 'up');
  t.true(hung.error instanceof Error);
  server.resume();
  await until(async () => (await redsync.health())[0].status === 'up');
});

test.serial('the constructor contacts no node', async (t) => {
  const [server] = await useServers(t, 1);
  const connections = async () => {
    const info = await server.command('INFO', 'stats');
    return Number(/total_connections_received:(\d+)/.exec(info)[1]);
  };
  const before = await connections();
  const redsync = connect(t, server.url);
  const mutex = redsync.newMutex('name', { value: 'mine' });
  await untilSteady(async () => (await connections()) === before);
  await mutex.valid();
  t.true((await connections()) > before);
});

test.serial('a node that cannot be reached is no error of the constructor', async (t) => {
  t.is(connect(t, [await deadUrl(), 'redis://host.invalid:6379']).size, 2);
});

eachBackend('close() ends waiting calls and leaves nothing of theirs', async (t, backend) => {
  const name = backend.name();
  const taken = backend.indices.slice(0, backend.quorum);
  await Promise.all(taken.map((i) => backend.plant(i, name)));
  const redsync = backend.connect(t);
  let attempts = 0;
  const call = redsync
    .newMutex(name, {
      tries: Infinity,
      retryDelay: 1,
      genValue: () => `value-${++attempts}`,
    })
    .lock();
  const patient = redsync.newMutex(name, { retryDelay: 600_000 }).lock();
  const rejections = Promise.all([rejection(call), rejection(patient)]);
  await until(() => attempts > 2);
  t.is(await redsync.close(), undefined);
  for (const error of await rejections) {
    t.true(error instanceof ClosedError);
    t.is(error.code, 'ERR_CLOSED');
  }
  await untilSteady(() => backend.isHeldExactlyOn(taken, name));
});

eachBackend('close() in the turn of a call leaves no key', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t);
  const outcome = redsync
    .newMutex(name)
    .lock()
    .catch((error) => error);
  await redsync.close();
  t.true((await outcome) instanceof ClosedError);
  await untilSteady(() => backend.isFreeEverywhere(name));
});

eachBackend('after close() every call rejects', async (t, backend) => {
  const redsync = backend.connect(t);
  const mutex = redsync.newMutex(backend.name());
  const lock = await mutex.lock();
  await redsync.close();
  await t.notThrowsAsync(redsync.close());
  for (const call of [
    () => mutex.lock(),
    () => mutex.tryLock(),
    () => mutex.unlock(),
    () => mutex.extend(),
    () => mutex.valid(),
    () => lock.unlock(),
    () => lock.extend(),
    () => redsync.ready(),
  ]) {
    await t.throwsAsync(call, closed);
  }
  // Held locks are not released: they expire.
  t.true(await backend.isHeldEverywhere(mutex.name, lock.value));
});

eachBackend('close() may be called twice at once', async (t, backend) => {
  const redsync = backend.connect(t);
  await redsync.ready();
  const both = await Promise.all([redsync.close(), redsync.close()]);
  t.deepEqual(both, [undefined, undefined]);
});

eachBackend('disposal closes', async (t, backend) => {
  const redsync = backend.connect(t);
  t.is(await redsync[Symbol.asyncDispose](), undefined);
  await t.throwsAsync(redsync.newMutex('name').lock(), closed);
});

test.serial('close() frees the connections', async (t) => {
  const [server] = await useServers(t, 1);
  const clients = async () => {
    const list = await server.command('CLIENT', 'LIST');
    return list.split('\n').filter((line) => line.includes(' name=redsync ')).length;
  };
  const redsync = connect(t, server.url);
  await redsync.ready();
  t.true((await clients()) > 0);
  await redsync.close();
  await until(async () => (await clients()) === 0);
  t.pass();
});

test.serial('close() does not wait for a node that hangs', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = connect(t, server.url, { expiry: 20_000 });
  await redsync.ready();
  server.pause();
  const pending = rejection(redsync.newMutex('name').lock());
  await settles(t, redsync.close());
  t.true((await pending) instanceof ClosedError);
});

test.serial('close() of one Redsync leaves others alone', async (t) => {
  const name = `memory:${process.pid}-${performance.now()}`;
  const [one, two] = [connect(t, name), connect(t, name)];
  await one.close();
  const lock = await two.newMutex('name').lock();
  t.true(await lock.unlock());
});

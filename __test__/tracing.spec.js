'use strict';

// What is told of a call on the channels of a TracingChannel, and how long a lock was held.

const { AsyncLocalStorage } = require('node:async_hooks');
const diagnostics = require('node:diagnostics_channel');
const { inspect } = require('node:util');

const test = require('ava');

const { Redsync, LockExpiredError, TakenError } = require('../index.js');
const { newPool } = require('../lib/adapters/ioredis.js');
const { serverOf } = require('../lib/addresses.js');
const { newClock } = require('../lib/testing.js');
const { delay, rejection, until } = require('./helpers/async.js');
const { overBackends } = require('./helpers/backends.js');
const { useServers } = require('./helpers/servers.js');

const eachBackend = overBackends(test, { sizes: [1, 3] });
const STEPS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'];

/** What is traced while a test runs, in its order; the tests of this file run one by one. */
function listen(t, calls = ['lock', 'unlock', 'extend']) {
  const events = [];
  for (const call of calls) {
    const hear = Object.fromEntries(
      STEPS.map((step) => [
        step,
        (trace) => events.push({ step, call, trace, seen: { ...trace } }),
      ]),
    );
    const channel = diagnostics.tracingChannel(`redsync:${call}`);
    channel.subscribe(hear);
    t.teardown(() => channel.unsubscribe(hear));
  }
  return events;
}

function stepsOf(events, call) {
  return events.filter((event) => event.call === call).map(({ step }) => step);
}

/** The messages on a channel of redsync's own. */
function hear(t, channel) {
  const messages = [];
  const hear = (message) => messages.push(message);
  diagnostics.subscribe(channel, hear);
  t.teardown(() => diagnostics.unsubscribe(channel, hear));
  return messages;
}

function connect(t, nodes, options) {
  const redsync = new Redsync(nodes, { timeoutFactor: 0.5, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

eachBackend(
  'lock(), extend() and unlock() are traced from beginning to end',
  async (t, backend) => {
    const events = listen(t);
    const redsync = backend.connect(t);
    const names = [backend.name(), backend.name()];
    const lock = await redsync.newMutex(names).lock();
    await lock.extend();
    await lock.unlock();
    const results = { lock, extend: true, unlock: true };
    for (const [call, result] of Object.entries(results)) {
      t.deepEqual(stepsOf(events, call), ['start', 'end', 'asyncStart', 'asyncEnd']);
      const [start, , , asyncEnd] = events.filter((event) => event.call === call);
      t.is(asyncEnd.trace, start.trace, 'one object for all of a call');
      t.deepEqual(Object.keys(start.seen), [
        'redsync',
        'name',
        'names',
        'serverAddress',
        'serverPort',
      ]);
      t.is(start.seen.redsync, redsync);
      t.is(start.seen.name, names[0]);
      t.deepEqual(start.seen.names, names);
      t.is(asyncEnd.seen.result, result);
      t.false('error' in asyncEnd.seen);
      t.true(asyncEnd.seen.duration > 0 && asyncEnd.seen.duration < 10_000);
      t.deepEqual(asyncEnd.seen.votes, Array(backend.size).fill('granted'));
    }
    const of = (call) => events.findLast((event) => event.call === call).seen;
    t.like(of('lock'), { acquired: true, attempts: 1, waits: 0 });
    t.true(of('unlock').heldFor >= of('extend').duration + of('unlock').duration);
  },
);

eachBackend('a call that fails is traced with its error', async (t, backend) => {
  const redsync = backend.connect(t);
  const name = backend.name();
  await backend.plantEverywhere(name);
  const events = listen(t, ['lock']);
  const error = await rejection(redsync.acquire(name, { tries: 1 }));
  t.true(error instanceof TakenError);
  t.deepEqual(stepsOf(events, 'lock'), ['start', 'end', 'error', 'asyncStart', 'asyncEnd']);
  const { seen } = events.at(-1);
  t.is(seen.error, error);
  t.false('result' in seen);
  t.like(seen, { acquired: false, attempts: 1 });

  t.is(await redsync.newMutex(name).tryLock(), null);
  t.deepEqual(stepsOf(events.slice(5), 'lock'), ['start', 'end', 'asyncStart', 'asyncEnd']);
  t.is(events.at(-1).seen.result, null);
  t.false(events.at(-1).seen.acquired);
});

test.serial(
  'a call that its caller aborts is traced with the reason, whatever it is',
  async (t) => {
    const redsync = connect(t, 'memory:');
    await redsync.acquire('name');
    for (const reason of [new Error('enough'), 0]) {
      const events = listen(t, ['lock']);
      const controller = new AbortController();
      const call = redsync
        .newMutex('name', { tries: Infinity })
        .lock({ signal: controller.signal });
      t.deepEqual(stepsOf(events, 'lock'), ['start', 'end']);
      controller.abort(reason);
      t.is(await rejection(call), reason);
      t.deepEqual(stepsOf(events, 'lock'), ['start', 'end', 'error', 'asyncStart', 'asyncEnd']);
      t.is(events.at(-1).seen.error, reason);
      t.like(events.at(-1).seen, { acquired: false, attempts: undefined, votes: undefined });
    }
  },
);

test.serial('a call that does nothing is not traced', async (t) => {
  const redsync = connect(t, 'memory:');
  const events = listen(t);
  const mutex = redsync.newMutex('name');
  await t.throwsAsync(mutex.lock({ signal: 1 }), { instanceOf: TypeError });
  t.is(await rejection(mutex.lock({ signal: AbortSignal.abort('gone') })), 'gone');
  t.is(await rejection(redsync.acquire('name', { signal: AbortSignal.abort('gone') })), 'gone');
  t.deepEqual(events, []);
  await (await mutex.lock()).unlock();
  t.is(events.length, 8);
});

test.serial(
  'what is bound to a trace is there for all of the call, and not behind it',
  async (t) => {
    const storage = new AsyncLocalStorage();
    const { start } = diagnostics.tracingChannel('redsync:lock');
    start.bindStore(storage, (trace) => trace);
    t.teardown(() => start.unbindStore(storage));
    const redsync = connect(t, 'memory:');
    await redsync.acquire('name');
    const stores = [];
    const retryDelay = () => {
      stores.push(storage.getStore());
      return 1;
    };
    await rejection(redsync.acquire('name', { tries: 3, retryDelay }));
    t.is(storage.getStore(), undefined);
    t.is(stores.length, 2);
    for (const store of stores) t.is(store.name, 'name');
    await redsync.using('other', () => t.is(storage.getStore(), undefined));
  },
);

test.serial('a stack leads to the caller, traced or not', async (t) => {
  listen(t, ['lock']);
  const redsync = connect(t, 'memory:');
  await redsync.acquire('name');
  async function whoeverWantsIt() {
    await redsync.acquire('name', { tries: 1 });
  }
  t.regex((await rejection(whoeverWantsIt())).stack, /whoeverWantsIt/);
});

test.serial('one who throws while tracing does no harm to the call', async (t) => {
  const fault = new Error('of the listener');
  const hear = {
    asyncEnd() {
      throw fault;
    },
  };
  const channel = diagnostics.tracingChannel('redsync:lock');
  channel.subscribe(hear);
  t.teardown(() => channel.unsubscribe(hear));
  const thrown = new Promise((resolve) => {
    process.setUncaughtExceptionCaptureCallback(resolve);
  });
  t.teardown(() => process.setUncaughtExceptionCaptureCallback(null));
  const lock = await connect(t, 'memory:').newMutex('name').lock();
  t.true(await lock.unlock());
  t.is(await thrown, fault);
});

test.serial('a trace names the server where there is one', async (t) => {
  const [server, other] = await useServers(t, 2);
  const { Redis } = require('ioredis');
  const redis = new Redis(server.port);
  t.teardown(() => redis.disconnect());
  const events = listen(t, ['lock']);
  const address = { serverAddress: '127.0.0.1', serverPort: server.port };
  const none = { serverAddress: undefined, serverPort: undefined };
  for (const [nodes, expected] of [
    [server.url, address],
    [newPool(redis), { ...address, serverAddress: redis.options.host }],
    [[server.url, other.url], none],
    ['memory:6379', none],
  ]) {
    await connect(t, nodes).newMutex(`${events.length}`).lock();
    t.like(events.at(-1).seen, expected);
  }
});

test('an endpoint is taken for a server if it is one', (t) => {
  for (const [endpoint, expected] of [
    ['10.0.0.1:6379', { address: '10.0.0.1', port: 6379 }],
    ['redis-1.internal:1', { address: 'redis-1.internal', port: 1 }],
    ['[::1]:6379', { address: '::1', port: 6379 }],
    ['ioredis 10.0.0.1:6379', { address: '10.0.0.1', port: 6379 }],
    ['/run/redis.sock', { address: '/run/redis.sock' }],
    ['a:26379,b:26379/main', undefined],
    ['a:26379/main', undefined],
    ['a:1,b:2', undefined],
    ['memory', undefined],
    ['memory:1', undefined],
    ['pool', undefined],
    ['my pool', undefined],
    ['ioredis cluster', undefined],
  ]) {
    t.deepEqual(serverOf(endpoint), expected, endpoint);
  }
});

test.serial('no trace has an ownership value or a password in it', async (t) => {
  const [server] = await useServers(t, 1, { password: 'credential' });
  const url = server.url.replace('redis://', 'redis://:credential@');
  const events = listen(t);
  const redsync = connect(t, url, { genValue: () => 'ownership', tries: 1 });
  const lock = await redsync.newMutex('name').lock();
  await rejection(redsync.newMutex('name').lock());
  await lock.extend();
  await lock.unlock();
  await rejection(lock.unlock());
  t.is(events.length, 4 + 5 + 4 + 4 + 5);
  t.notRegex(inspect(events, { depth: 10, showHidden: true }), /ownership|credential/);
  t.notRegex(JSON.stringify(events), /ownership|credential/);
});

eachBackend('an unlock() tells how long the lock was held', async (t, backend) => {
  const redsync = backend.connect(t);
  const unlocked = hear(t, 'redsync:unlock');
  const lock = await redsync.newMutex(backend.name(), { expiry: 60_000 }).lock();
  const since = performance.now();
  await delay(30);
  const least = performance.now() - since;
  await lock.unlock();
  const most = performance.now() - since + 60_000; // its acquisition counts, too
  t.true(unlocked[0].heldFor >= least && unlocked[0].heldFor < most, `${unlocked[0].heldFor}`);
  t.true((await rejection(lock.unlock())) instanceof LockExpiredError);
  t.is(unlocked[1].heldFor, undefined, 'it is told once');
});

test.serial('a lock that was moved on in time was held for as long', async (t) => {
  const clock = newClock();
  const redsync = connect(t, clock.nodes());
  const unlocked = hear(t, 'redsync:unlock');
  const lost = hear(t, 'redsync:lost');
  const plain = await redsync.newMutex('plain', { expiry: 600_000 }).lock();
  await clock.advance(500_000);
  await plain.unlock();
  t.true(unlocked[0].heldFor >= 500_000 && unlocked[0].heldFor < 560_000);

  const over = await redsync.newMutex('over', { expiry: 10_000 }).lock();
  await clock.advance(20_000);
  await rejection(over.unlock());
  t.true(unlocked[1].error instanceof LockExpiredError);
  t.true(unlocked[1].heldFor >= 20_000, 'work went on for so long');

  const watched = await redsync.newMutex('watched', { expiry: 10_000 }).lock();
  t.false(watched.signal.aborted);
  await clock.advance(20_000);
  await until(() => lost.length === 1);
  t.is(lost[0].redsync, redsync);
  await rejection(watched.unlock());
  t.is(unlocked[2].heldFor, undefined, 'its loss has told');
});

test.serial('how long it was held elsewhere is not known', async (t) => {
  const redsync = connect(t, 'memory:');
  const unlocked = hear(t, 'redsync:unlock');
  const { value } = await redsync.acquire('name');
  await redsync.newMutex('name', { value }).unlock();
  await rejection(redsync.newMutex('never').unlock());
  t.deepEqual(
    unlocked.map(({ heldFor }) => heldFor),
    [undefined, undefined],
  );
});

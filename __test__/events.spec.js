'use strict';

const diagnostics = require('node:diagnostics_channel');
const { inspect } = require('node:util');

const test = require('ava');
const { Redis } = require('ioredis');

const {
  ClosedError,
  ExtendError,
  FailedError,
  LockExpiredError,
  LockLostError,
  RedisError,
  Redsync,
  TakenError,
} = require('../index.js');
const { newPool } = require('../lib/adapters/ioredis.js');
const { newClock } = require('../lib/testing.js');
const { rejection, until } = require('./helpers/async.js');
const { overBackends } = require('./helpers/backends.js');
const { deadUrl, useServers } = require('./helpers/servers.js');

const eachBackend = overBackends(test, { sizes: [1, 3] });
const CHANNELS = ['lock', 'unlock', 'extend', 'lost', 'node'];

/** What is published while a test runs, in its order; the tests of this file run one by one. */
function listen(t, channels = CHANNELS) {
  const events = [];
  for (const name of channels) {
    const hear = (message, channel) => {
      t.is(channel, `redsync:${name}`);
      events.push({ event: name, ...message });
    };
    diagnostics.subscribe(`redsync:${name}`, hear);
    t.teardown(() => diagnostics.unsubscribe(`redsync:${name}`, hear));
  }
  return events;
}

function connect(t, nodes, options) {
  const redsync = new Redsync(nodes, { timeoutFactor: 0.5, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

eachBackend('lock(), extend() and unlock() are told with their votes', async (t, backend) => {
  const events = listen(t);
  const redsync = backend.connect(t);
  const granted = Array(backend.size).fill('granted');
  const names = [backend.name(), backend.name()];
  const lock = await redsync.newMutex(names).lock();
  await lock.extend();
  await lock.unlock();
  t.deepEqual(
    events.map(({ event }) => event),
    ['lock', 'extend', 'unlock'],
  );
  for (const { name, names: all, duration, votes, error } of events) {
    t.is(name, names[0]);
    t.deepEqual(all, names);
    t.true(duration > 0 && duration < 10_000);
    t.deepEqual(votes, granted);
    t.is(error, undefined);
  }
  t.like(events[0], { acquired: true, attempts: 1, waits: 0 });
});

eachBackend(
  'a lock that is taken is told, with the error where there is one',
  async (t, backend) => {
    const redsync = backend.connect(t);
    const name = backend.name();
    const taken = Array(backend.size).fill('taken');
    await backend.plantEverywhere(name);
    const events = listen(t);
    t.is(await redsync.newMutex(name).tryLock(), null);
    const error = await rejection(redsync.newMutex(name, { tries: 3, retryDelay: 5 }).lock());
    t.true(error instanceof TakenError);
    t.like(events[0], { acquired: false, attempts: 1, waits: 0, error: undefined });
    t.deepEqual(events[0].votes, taken);
    t.like(events[1], { acquired: false, waits: 2 });
    t.true(events[1].attempts >= 1 && events[1].attempts <= 3);
    t.deepEqual(events[1].votes, taken);
    t.is(events[1].error, error);
    t.like(redsync.stats(), { locks: 0, taken: 2, failures: 0, aborted: 0, waits: 2, waiting: 0 });
  },
);

test.serial('the wait for a lock is told with its attempts', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(
    t,
    servers.map(({ url }) => url),
  );
  for (const server of servers) await server.command('SET', 'name', 'other', 'PX', 300);
  const events = listen(t, ['lock']);
  await redsync.newMutex('name', { retryDelay: 50, tries: Infinity }).lock();
  const [{ attempts, waits, acquired, duration }] = events;
  t.true(acquired);
  t.true(attempts > 1 && waits >= 1, `${attempts} attempts, ${waits} waits`);
  t.true(duration > 150);
  t.like(redsync.stats(), { attempts, waits, locks: 1 });
});

test.serial('a minority that does not grant is told with a success', async (t) => {
  const servers = await useServers(t, 2);
  const events = listen(t);
  const redsync = connect(t, [servers[0].url, await deadUrl(), servers[1].url]);
  const lock = await redsync.newMutex('name').lock();
  await lock.extend();
  await lock.unlock();
  const calls = events.filter(({ event }) => event !== 'node');
  t.is(calls.length, 3);
  for (const { votes, error } of calls) {
    t.deepEqual(votes, ['granted', 'error', 'granted']);
    t.is(error, undefined);
  }
});

test.serial('calls that fail are told with their errors', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = connect(t, server.url, { tries: 1 });
  const lock = await redsync.newMutex('name').lock();
  await server.command('DEL', 'name');
  const events = listen(t);
  const errors = [await rejection(lock.extend()), await rejection(lock.unlock())];
  t.true(errors[0] instanceof ExtendError);
  t.true(errors[1] instanceof LockExpiredError);
  errors.push(await rejection(lock.extend()));
  await server.kill();
  await until(async () => {
    errors[3] = await rejection(redsync.newMutex('name').lock());
    return errors[3].errors[0].cause.code === 'ECONNREFUSED';
  });
  const reason = new Error('enough');
  const signal = AbortSignal.abort(reason);
  t.is(await rejection(redsync.newMutex('name').lock({ signal })), reason);
  await redsync.close();
  errors.push(await rejection(redsync.newMutex('name').lock()));
  t.true(errors[4] instanceof ClosedError);

  const calls = events.filter(({ event }) => event !== 'node');
  const told = [...calls.slice(0, 3), ...calls.slice(-2)];
  t.deepEqual(
    told.map(({ event }) => event),
    ['extend', 'unlock', 'extend', 'lock', 'lock'],
  );
  told.forEach(({ error }, i) => t.is(error, errors[i]));
  const [extended, unlocked, late, failed, closed] = told;
  for (const { votes } of [extended, unlocked]) t.deepEqual(votes, ['absent']);
  t.is(late.votes, undefined);
  t.like(failed, { acquired: false, attempts: 1 });
  t.deepEqual(failed.votes, ['error']);
  t.like(closed, { acquired: false, attempts: undefined, votes: undefined });
  const { extensionFailures, unlockFailures, failures } = redsync.stats();
  t.deepEqual([extensionFailures, unlockFailures, failures], [2, 1, calls.length - 3]);
});

eachBackend('an aborted call is told when its caller is', async (t, backend) => {
  const redsync = backend.connect(t);
  const name = backend.name();
  await backend.plantEverywhere(name);
  const events = listen(t, ['lock']);
  const controller = new AbortController();
  const reason = new Error('enough');
  const call = redsync.newMutex(name, { tries: Infinity }).lock({ signal: controller.signal });
  t.is(redsync.stats().waiting, 1);
  controller.abort(reason);
  t.is(await rejection(call), reason);
  t.is(events.length, 1);
  t.like(events[0], {
    name,
    acquired: false,
    attempts: undefined,
    waits: undefined,
    votes: undefined,
  });
  t.is(events[0].error, reason);
  t.like(redsync.stats(), { waiting: 0, aborted: 1, failures: 0 });
});

eachBackend(
  'a call that rejects with nothing is told and counted as any other',
  async (t, backend) => {
    const redsync = backend.connect(t);
    const events = listen(t, ['lock']);
    const genValue = () => Promise.reject();
    t.is(await rejection(redsync.newMutex(backend.name(), { genValue }).lock()), undefined);
    t.is(events.length, 1);
    t.like(events[0], { acquired: false, attempts: undefined, error: undefined });
    t.like(redsync.stats(), { waiting: 0, aborted: 1, locks: 0, taken: 0, failures: 0 });
  },
);

eachBackend('a lock that is lost is told, with or without its signal', async (t, backend) => {
  const redsync = backend.connect(t);
  const events = listen(t, ['lost']);
  const name = backend.name();
  const lock = await redsync.newMutex(name, { expiry: 300, autoExtend: true }).lock();
  t.is(redsync.stats().held, 1);
  await backend.removeEverywhere(name, lock.value);
  await until(() => events.length === 1);
  t.like(events[0], { name, names: [name] });
  t.true(events[0].error instanceof LockLostError);
  t.true(events[0].duration > 0);
  t.is(lock.signal.reason, events[0].error);
  t.like(redsync.stats(), { lost: 1, held: 0 });

  const watched = await redsync.newMutex(name, { expiry: 100 }).lock();
  t.false(watched.signal.aborted);
  t.is(redsync.stats().held, 1);
  await until(() => events.length === 2);
  t.is(watched.signal.reason, events[1].error);
  t.true(events[1].duration >= 90, `${events[1].duration}`);
  t.like(redsync.stats(), { lost: 2, held: 0 });
});

eachBackend('a lock that is released is not told as lost', async (t, backend) => {
  const redsync = backend.connect(t);
  const events = listen(t, ['lost']);
  await redsync.using(backend.name(), () => t.is(redsync.stats().held, 1));
  await redsync.close();
  t.deepEqual(events, []);
  t.like(redsync.stats(), { locks: 1, unlocks: 1, lost: 0, held: 0 });
});

eachBackend('every lock that is held counts as held', async (t, backend) => {
  const redsync = backend.connect(t, { expiry: 60_000 });
  const held = () => redsync.stats().held;
  const plain = await redsync.newMutex(backend.name()).lock();
  t.is(held(), 1);
  const kept = await redsync.acquire(backend.name(), { autoExtend: true });
  await redsync.using(backend.name(), () => t.is(held(), 3));
  t.is(held(), 2);
  await plain.extend();
  t.false(plain.signal.aborted);
  t.is(held(), 2, 'the same lock, with an end or watched');
  const unlocking = plain.unlock();
  await Promise.all([unlocking, kept.unlock()]);
  t.is(held(), 0);

  const name = backend.name();
  const { value } = await redsync.newMutex(name).lock();
  const other = backend.connect(t);
  await other.newMutex(name, { value }).extend();
  t.is(other.stats().held, 1, 'here, too');
});

test.serial('a lock that nobody releases is held until it is over', async (t) => {
  const clock = newClock();
  const redsync = connect(t, clock.nodes());
  await redsync.newMutex('long', { expiry: 100_000 }).lock();
  for (const name of ['a', 'b']) await redsync.newMutex(name, { expiry: 10_000 }).lock();
  t.is(redsync.stats().held, 3);
  await clock.advance(11_000);
  t.is(redsync.stats().held, 1, 'also behind one that lasts longer');
  await clock.advance(90_000);
  t.is(redsync.stats().held, 0);
});

test.serial('a node that goes down and comes up is told once each', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(
    t,
    servers.map(({ url }) => url),
  );
  const events = listen(t, ['node']);
  const cycle = async () => (await redsync.newMutex('name').lock()).unlock();
  await cycle();
  t.deepEqual(events, []);

  await servers[1].kill();
  await until(async () => {
    await cycle();
    return events.length > 0;
  });
  for (let i = 0; i < 3; i++) await cycle();
  t.is(events.length, 1);
  const endpoint = `127.0.0.1:${servers[1].port}`;
  t.like(events[0], { node: 1, endpoint, status: 'down' });
  t.true(events[0].error instanceof RedisError);
  t.is(events[0].error.node, 1);
  const down = redsync.stats().nodes;
  t.deepEqual(
    down.map(({ status }) => status),
    ['up', 'down', 'up'],
  );
  t.true(down[1].errors >= 4);
  t.is(down[0].errors, 0);

  await servers[1].restart();
  await until(async () => {
    await cycle();
    return events.length > 1;
  });
  await cycle();
  t.is(events.length, 2);
  t.deepEqual(events[1], { event: 'node', node: 1, endpoint, status: 'up', error: undefined });
  t.deepEqual(
    redsync.stats().nodes.map(({ status }) => status),
    ['up', 'up', 'up'],
  );
});

test.serial('health() and failed calls tell of nodes, too', async (t) => {
  const events = listen(t, ['node']);
  const redsync = connect(t, ['memory:', await deadUrl()]);
  await redsync.health();
  t.like(events[0], { node: 1, status: 'down' });
  const other = connect(t, await deadUrl(), { tries: 1 });
  t.true((await rejection(other.newMutex('name').lock())) instanceof FailedError);
  t.is(events.length, 2);
  t.like(events[1], { node: 0, status: 'down' });
});

for (const client of ['url', 'ioredis']) {
  test.serial(`a key that is no lock says nothing about its node: ${client}`, async (t) => {
    const [server] = await useServers(t, 1);
    await server.command('RPUSH', 'name', 'no string');
    const redis = new Redis(server.port, { lazyConnect: true });
    t.teardown(() => redis.disconnect());
    const redsync = connect(t, client === 'url' ? server.url : newPool(redis));
    const events = listen(t);
    const { errors } = await rejection(redsync.newMutex('name', { value: 'mine' }).unlock());
    t.is(errors[0].cause.code, 'WRONGTYPE');
    t.deepEqual(
      events.map(({ event, votes }) => [event, votes]),
      [['unlock', ['error']]],
    );
    t.like(redsync.stats().nodes[0], { status: 'up', errors: 0 });
  });
}

test.serial('a node that would grant another fencing token is not down', async (t) => {
  const servers = await useServers(t, 3);
  const ahead = (Date.now() + 1_800_000) * 1000;
  await servers[1].command('SET', 'name:fence', `${ahead}`);
  const redsync = connect(
    t,
    servers.map(({ url }) => url),
    { fencing: true, tries: 1 },
  );
  const events = listen(t);
  const lock = await redsync.newMutex('name').lock();
  t.true(lock.token < ahead);
  t.deepEqual(
    events.map(({ event, votes }) => [event, votes]),
    [['lock', ['granted', 'error', 'granted']]],
  );
  t.like(redsync.stats().nodes[1], { status: 'up', errors: 0 });

  for (const server of servers) await server.command('DEL', 'name');
  for (const server of servers) {
    await server.command('SET', 'name:fence', `${Number.MAX_SAFE_INTEGER}`);
  }
  const { errors } = await rejection(redsync.newMutex('name').lock());
  t.deepEqual(
    errors.map(({ cause }) => cause.code),
    ['ETOKEN', 'ETOKEN', 'ETOKEN'],
  );
  t.deepEqual(
    events.map(({ event }) => event),
    ['lock', 'lock'],
  );
});

test.serial('no message has an ownership value or a password in it', async (t) => {
  const [server] = await useServers(t, 1, { password: 'credential' });
  const url = server.url.replace('redis://', 'redis://:credential@');
  const events = listen(t);
  const redsync = connect(t, [url, await deadUrl()], { genValue: () => 'ownership', tries: 1 });
  await rejection(redsync.newMutex('name').lock());
  const single = connect(t, url, { genValue: () => 'ownership' });
  const lock = await single.newMutex('name', { expiry: 200, autoExtend: true }).lock();
  await lock.extend();
  await server.command('DEL', 'name');
  await until(() => events.some(({ event }) => event === 'lost'));
  await rejection(lock.unlock());
  const all = inspect([events, single.stats(), redsync.stats()], { depth: 10, showHidden: true });
  t.notRegex(all, /ownership|credential/);
});

test.serial('one who throws while listening does no harm to the call', async (t) => {
  const fault = new Error('of the listener');
  const hear = () => {
    throw fault;
  };
  diagnostics.subscribe('redsync:lock', hear);
  t.teardown(() => diagnostics.unsubscribe('redsync:lock', hear));
  const thrown = new Promise((resolve) => {
    process.setUncaughtExceptionCaptureCallback(resolve);
  });
  t.teardown(() => process.setUncaughtExceptionCaptureCallback(null));
  const lock = await connect(t, 'memory:').newMutex('name').lock();
  t.true(await lock.unlock());
  t.is(await thrown, fault);
});

eachBackend('inspect() shows what each node stores', async (t, backend) => {
  const redsync = backend.connect(t, { keyPrefix: 'test:' });
  const name = backend.name();
  const { value } = await redsync.newMutex(name, { expiry: 60_000 }).lock();
  const held = await redsync.inspect(name);
  t.deepEqual(
    held.map(({ node }) => node),
    backend.indices,
  );
  for (const entry of held) {
    t.like(entry, { status: 'held', value, error: undefined });
    t.true(entry.remaining > 1000 && entry.remaining <= 60_000);
  }
  for (const entry of await redsync.inspect(backend.name())) {
    t.is(entry.status, 'free');
    t.false('value' in entry || 'remaining' in entry);
  }
});

test('inspect() tells of a life of any length', async (t) => {
  const [server] = await useServers(t, 1);
  const client = new Redis(server.port);
  t.teardown(() => client.disconnect());
  await server.command('SET', 'name', 'for ages', 'PX', '900719925474099');
  for (const node of [server.url, newPool(client)]) {
    const [found] = await connect(t, [node]).inspect('name');
    t.like(found, { status: 'held', value: 'for ages', error: undefined });
    t.true(found.remaining > 9e14 && found.remaining <= 900_719_925_474_099);
  }
});

test.serial(
  'inspect() tells of nodes that do not answer, and of keys that are no locks',
  async (t) => {
    const servers = await useServers(t, 2);
    await servers[0].command('RPUSH', 'name', 'no string');
    await servers[1].command('SET', 'name', `tabs\tlines\n${'\u{1f512}'.repeat(100)}`);
    const hung = connect(t, [servers[0].url, servers[1].url, await deadUrl()]);
    const [list, other, dead] = await hung.inspect('name');
    t.like(list, { status: 'unknown' });
    t.is(list.error.cause.code, 'WRONGTYPE');
    t.like(other, {
      status: 'held',
      value: `tabs\tlines\n${'\u{1f512}'.repeat(100)}`,
      remaining: Infinity,
    });
    t.is(dead.error.cause.code, 'ECONNREFUSED');
    servers[1].pause();
    const [, paused] = await hung.inspect('name', { timeout: 100 });
    t.like(paused, { status: 'unknown' });
    t.is(paused.error.cause.code, 'ETIMEDOUT');
    await t.throwsAsync(hung.inspect(['a', 'b']), { code: 'ERR_INVALID_ARG_TYPE' });
    await t.throwsAsync(hung.inspect('a', { timeout: 0 }), { code: 'ERR_OUT_OF_RANGE' });
    await hung.close();
    t.true((await rejection(hung.inspect('a'))) instanceof ClosedError);
  },
);

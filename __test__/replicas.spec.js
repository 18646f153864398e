'use strict';

// What replication and persistence of a server give a lock, and what not: each line of the tables in
// docs/operations.md. The nodes are real masters with real replicas, one of them cut off.

const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');

const test = require('ava');

const { ExtendError, FailedError, Redsync, TakenError } = require('../index.js');
const { rejection, until } = require('./helpers/async.js');
const { useProxy } = require('./helpers/proxy.js');
const { usePair } = require('./helpers/replicas.js');
const { useSentinels } = require('./helpers/sentinels.js');
const { useServers } = require('./helpers/servers.js');

const OPTIONS = { expiry: 60_000, timeoutFactor: 0.05, tries: 1 };

/** For a lock that is to expire, on a machine that may be slow. */
const SHORT = { expiry: 3000, timeoutFactor: 0.4 };

// In seconds, for min-replicas-max-lag: far longer than a slow machine needs for one lock.
const MAX_LAG = 4;
const MIN_REPLICAS = ['--min-replicas-to-write', '1', '--min-replicas-max-lag', MAX_LAG];

const shown = [];

/** A test that a line of the guide names. */
function shows(title, body) {
  shown.push(title);
  test(title, body);
}

/** A client of its own: another process, as far as the nodes can tell. */
function connect(t, nodes, options) {
  const redsync = new Redsync(nodes, { ...OPTIONS, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

/** Why the first node refused. */
function causeOf(error) {
  return error.errors[0].cause.code;
}

/** Another connection to a server, for what concerns the connection. */
async function connectTo(t, server) {
  const client = await server.connect();
  t.teardown(() => client.close());
  return client;
}

/** Has the server handed all that it was told to the operating system? */
async function isWritten(server) {
  return /^aof_buffer_length:0\r?$/m.test(await server.command('INFO', 'persistence'));
}

/** Waits until a lock could be had, then gives it. */
function granted(redsync, name) {
  return until(() =>
    redsync
      .newMutex(name)
      .tryLock()
      .catch(() => null),
  );
}

async function isFree(server, name) {
  return (await server.command('EXISTS', name)) === 0;
}

/** Two clients hold the lock now. */
function holdBoth(t, first, second) {
  t.not(first.value, second.value);
  t.true(first.remaining > 0);
  t.true(second.remaining > 0);
}

/** Waits until the master refuses new locks for want of a replica; gives what lock() rejected with. */
async function refusal(redsync) {
  let tried = 0;
  return until(async () => {
    try {
      await redsync.newMutex(`tried:${tried++}`).lock();
      return false;
    } catch (error) {
      return error;
    }
  });
}

shows('a failover forgets what the replica has not received, and two hold the lock', async (t) => {
  const pair = await usePair(t);
  await pair.isLinked();
  const redsync = connect(t, pair.url);
  const replicated = await redsync.newMutex('replicated').lock();
  await pair.isReplicated('replicated', replicated.value);
  await pair.cutOff();
  const lost = await redsync.newMutex('lost').lock();

  await pair.failOver();
  const other = connect(t, pair.url);
  t.is(await other.newMutex('replicated').tryLock(), null);
  holdBoth(t, lost, await other.newMutex('lost').lock());
  t.true(await until(() => replicated.extend().catch(() => false)));
  t.true(await replicated.unlock());
});

shows('one of three nodes may fail over, but no vote may be missing then', async (t) => {
  const pair = await usePair(t);
  const [second, third] = await useServers(t, 2);
  const toThird = await useProxy(t, third);
  const nodes = [pair.url, second.url, toThird.url];
  await pair.isLinked();
  await pair.cutOff();
  const redsync = connect(t, nodes);
  const byThree = await redsync.newMutex('by-three').lock();
  t.true(await byThree.mutex.valid());
  toThird.refuse();
  toThird.reset();
  const byTwo = await redsync.newMutex('by-two').lock();
  t.true(await isFree(third, 'by-two'));

  await pair.failOver();
  await toThird.heal();
  const other = connect(t, nodes);
  await other.ready();
  const error = await rejection(other.newMutex('by-three').lock());
  t.true(error instanceof TakenError);
  t.deepEqual([...error.nodes], [1, 2]);
  t.true(byThree.remaining > 0);
  holdBoth(t, byTwo, await other.newMutex('by-two').lock());
});

shows('min-replicas-to-write refuses locks, but only once the lag has passed', async (t) => {
  const pair = await usePair(t, { args: MIN_REPLICAS });
  await pair.isLinked();
  const redsync = connect(t, pair.url);
  const before = await redsync.newMutex('before').lock();
  await pair.isReplicated('before', before.value);
  const start = performance.now();
  pair.link.swallow();
  const within = await redsync.newMutex('within').lock();
  t.true(await isFree(pair.replica, 'within'));

  const error = await refusal(redsync);
  // The replica tells every second how far it is.
  t.true(performance.now() - start > (MAX_LAG - 1) * 1000);
  t.true(error instanceof FailedError);
  t.false(error instanceof TakenError);
  t.is(causeOf(error), 'NOREPLICAS');
  t.is(causeOf(await rejection(redsync.newMutex('refused').tryLock())), 'NOREPLICAS');
  t.is(causeOf(await rejection(redsync.newMutex(['refused', 'both']).lock())), 'NOREPLICAS');
  t.true(await isFree(pair.master, 'refused'));

  await pair.failOver();
  const other = connect(t, pair.url);
  // The new master has no replica of its own.
  t.is(causeOf(await refusal(other)), 'NOREPLICAS');
  await pair.replica.command('CONFIG', 'SET', 'min-replicas-to-write', 0);
  t.is(await other.newMutex('before').tryLock(), null);
  holdBoth(t, within, await other.newMutex('within').lock());
});

shows('min-replicas-to-write refuses extensions and releases, too', async (t) => {
  const pair = await usePair(t, { args: MIN_REPLICAS });
  await pair.isLinked();
  const redsync = connect(t, pair.url);
  const [kept, released] = [
    await redsync.newMutex('kept').lock(),
    await redsync.newMutex('released').lock(),
  ];
  const lease = await redsync.newMutex('lease', { ...SHORT, autoExtend: true }).lock();
  await pair.cutOff(); // which the master notices: it does not wait for the lag
  t.is(causeOf(await rejection(redsync.newMutex('refused').lock())), 'NOREPLICAS');

  const notExtended = await rejection(kept.extend());
  t.true(notExtended instanceof ExtendError);
  t.is(causeOf(notExtended), 'NOREPLICAS');
  t.true(await kept.mutex.valid());
  const notReleased = await rejection(released.unlock());
  t.is(notReleased.code, 'ERR_LOCK_FAILED');
  t.is(causeOf(notReleased), 'NOREPLICAS');
  t.is(await pair.master.command('GET', 'released'), released.value);

  if (!lease.signal.aborted) await once(lease.signal, 'abort');
  t.is(lease.signal.reason.code, 'ERR_LOCK_LOST');
  t.is(lease.remaining, 0);
  await until(() => isFree(pair.master, 'lease')); // expiry needs no replica

  await pair.link.heal();
  await until(() => kept.extend().catch(() => false));
  await until(() => isFree(pair.master, 'released'));
  t.true(await kept.unlock());
});

shows('min-replicas-to-write takes one vote of three', async (t) => {
  const pair = await usePair(t, { args: MIN_REPLICAS });
  const others = await useServers(t, 2);
  const redsync = connect(t, [pair.url, ...others.map(({ url }) => url)]);
  await pair.isLinked();
  await pair.cutOff();
  const lock = await redsync.newMutex('decided').lock();
  t.true(await isFree(pair.master, 'decided'));
  t.true(await lock.extend());
  t.true(await lock.unlock());
  await others[0].kill();
  const error = await rejection(redsync.newMutex('undecided').lock());
  t.false(error instanceof TakenError);
  t.deepEqual(
    error.errors.map(({ node }) => node),
    [0, 1],
  );
  t.is(causeOf(error), 'NOREPLICAS');
  t.true(await isFree(others[1], 'undecided'));
});

shows('WAIT counts the replicas that have received a write, and undoes nothing', async (t) => {
  const pair = await usePair(t);
  await pair.isLinked();
  const [writer, asker] = [await connectTo(t, pair.master), await connectTo(t, pair.master)];
  await writer.command('SET', 'acknowledged', 'value', 'NX', 'PX', 60_000);
  t.is(await writer.command('WAIT', 1, 0), 1);
  t.is(await pair.replica.command('GET', 'acknowledged'), 'value');

  pair.link.swallow();
  await writer.command('SET', 'alone', 'value', 'NX', 'PX', 60_000);
  t.is(await writer.command('WAIT', 1, 100), 0);
  t.is(await pair.master.command('GET', 'alone'), 'value');
  t.true(await isFree(pair.replica, 'alone'));
  // A connection that wrote nothing has nothing to wait for.
  t.is(await asker.command('WAIT', 1, 100), 1);

  await pair.replica.restart();
  t.true(await isFree(pair.replica, 'acknowledged')); // received is not stored
});

shows('WAIT behind a later write tells whether a replica has a lock', async (t) => {
  const pair = await usePair(t);
  await pair.isLinked();
  const redsync = connect(t, pair.url);
  const client = await connectTo(t, pair.master);
  const replicasWith = async () => {
    await client.command('SET', 'written-later', '', 'PX', 1000);
    return client.command('WAIT', 1, 100);
  };
  const lock = await redsync.newMutex('lock').lock();
  await until(async () => (await replicasWith()) === 1);
  t.is(await pair.replica.command('GET', 'lock'), lock.value);

  pair.link.swallow();
  t.true(await lock.extend());
  t.is(await replicasWith(), 0);
  const alone = await redsync.newMutex('alone').lock();
  t.is(await replicasWith(), 0);
  t.true(await alone.mutex.valid()); // until its holder takes it back
  t.true(await alone.unlock());
});

shows('WAIT blocks its connection', async (t) => {
  const pair = await usePair(t);
  await pair.isLinked();
  pair.link.swallow();
  const client = await connectTo(t, pair.master);
  await client.command('SET', 'name', 'value', 'NX', 'PX', 60_000);
  const order = [];
  const start = performance.now();
  const waiting = client.command('WAIT', 1, 500).then(() => order.push('WAIT'));
  const behind = client.command('SET', 'behind', 'value', 'NX', 'PX', 60_000);
  const lock = await connect(t, pair.url).newMutex('beside').lock();
  order.push('beside');
  t.is(await behind, 'OK');
  t.true(performance.now() - start > 450);
  await waiting;
  t.deepEqual(order, ['beside', 'WAIT']);
  t.true(await lock.unlock());
});

shows('WAIT does not decide which replica is elected', async (t) => {
  const password = 'replicated';
  const group = await useSentinels(t, { password, replicas: 2, sentinels: 1 });
  const master = await group.master();
  const [waited, elected] = group.servers.filter((server) => server !== master);
  await waited.command('CONFIG', 'SET', 'replica-priority', 0); // never to be elected
  // A sentinel elects no replica that has told it nothing for five of these, and asks one without a
  // master every second. Older ones know only this value.
  const [sentinel] = group.sentinels;
  await sentinel.command('SENTINEL', 'DEBUG', 'ping-period', 1000).catch(() => {});
  await until(async () => {
    const replicas = await sentinel.command('SENTINEL', 'replicas', group.name);
    return replicas.some((fields) => fields[fields.indexOf('slave-priority') + 1] === '0');
  });
  const redsync = connect(t, group.url().replace('://', `://:${password}@`), { expiry: 600_000 });
  await redsync.ready();
  const client = await connectTo(t, master);
  // It cannot log in again.
  await elected.command('CONFIG', 'SET', 'masterauth', 'wrong');
  // There is no link yet while it loads what the master had.
  await until(async () => (await elected.command('CLIENT', 'KILL', 'TYPE', 'master')) === 1);
  await until(async () => (await master.command('ROLE'))[2].length === 1);
  const lock = await redsync.newMutex('elected').lock();
  await client.command('SET', 'written-later', '');
  t.is(await client.command('WAIT', 1, 0), 1);
  t.is(await waited.command('GET', 'elected'), lock.value);

  await master.kill();
  t.is(await group.failover(master), elected);
  const other = connect(t, group.url().replace('://', `://:${password}@`), { expiry: 600_000 });
  holdBoth(t, lock, await granted(other, 'elected'));
});

const POLICIES = ['always', 'everysec', 'no'];

for (const policy of POLICIES) {
  shows(`appendfsync ${policy}: a killed process comes back with its locks`, async (t) => {
    const args = ['--appendonly', 'yes', '--appendfsync', policy];
    const [server] = await useServers(t, 1, { args });
    const redsync = connect(t, server.url);
    const lock = await redsync.newMutex('kept').lock();
    const short = await redsync.newMutex('short', { ...SHORT, expiry: 1000 }).lock();
    // With everysec, a write may stand back behind a sync that is still under way.
    await until(() => isWritten(server));
    const left = await server.command('PTTL', 'kept');
    const start = performance.now();
    await server.kill();
    await until(() => short.remaining === 0);
    const away = performance.now() - start;
    await server.restart();

    // Its life is over at the time that it was given, whether the server was there or not.
    t.is(await server.command('GET', 'kept'), lock.value);
    const now = await server.command('PTTL', 'kept');
    t.true(now <= left - away + 5, `${left} - ${away} -> ${now}`);
    t.true(now >= left - (performance.now() - start) - 1000, `${left} -> ${now}`);
    const other = connect(t, server.url);
    t.is(await other.newMutex('kept').tryLock(), null);
    t.truthy(await other.newMutex('short').tryLock());
    t.true(await until(() => lock.extend().catch(() => false)));
    t.true(await lock.unlock());
  });
}

shows('no persistence: a killed process forgets its locks, and two hold one', async (t) => {
  const [server] = await useServers(t, 1);
  const lock = await connect(t, server.url).newMutex('gone').lock();
  await server.restart();
  holdBoth(t, lock, await connect(t, server.url).newMutex('gone').lock());
});

shows('no persistence: a master that comes back empty empties its replica', async (t) => {
  const pair = await usePair(t);
  await pair.isLinked();
  const lock = await connect(t, pair.url).newMutex('emptied').lock();
  await pair.isReplicated('emptied', lock.value);
  await pair.master.restart();
  await pair.isReplicated('emptied', null);
  holdBoth(t, lock, await connect(t, pair.url).newMutex('emptied').lock());
});

shows('save: a killed process forgets new locks, and brings released ones back', async (t) => {
  const [server] = await useServers(t, 1, { args: ['--save', '3600', '1'] });
  const redsync = connect(t, server.url);
  const released = await redsync.newMutex('released').lock();
  const short = await redsync.newMutex('short', SHORT).lock();
  await server.command('SAVE');
  t.true(await released.unlock());
  const later = await redsync.newMutex('later').lock();
  await server.restart();

  const other = connect(t, server.url);
  holdBoth(t, later, await other.newMutex('later').lock());
  t.is(await other.newMutex('released').tryLock(), null); // though nobody holds it
  t.is(await server.command('GET', 'released'), released.value);
  await granted(other, 'short');
  t.is(short.remaining, 0);
});

shows('save: a planned stop keeps the locks', async (t) => {
  const [server] = await useServers(t, 1, { args: ['--save', '3600', '1'] });
  const lock = await connect(t, server.url).newMutex('kept').lock();
  await rejection(server.command('SHUTDOWN')); // the answer is that the connection is closed
  await server.restart();
  t.is(await server.command('GET', 'kept'), lock.value);
  t.is(await connect(t, server.url).newMutex('kept').tryLock(), null);
});

test('the guide names every test of this file', (t) => {
  const guide = fs.readFileSync(path.join(__dirname, '..', 'docs', 'operations.md'), 'utf8');
  t.true(shown.length > 0);
  for (const title of shown) t.true(guide.includes(`\`${title}\``), title);
});

'use strict';

// What replication and persistence of a server give a lock, and what not: each line of the tables in
// docs/operations.md. The nodes are real masters with real replicas, one of them cut off.

const { once } = require('node:events');

const test = require('ava');

const { ExtendError, FailedError, Redsync, TakenError } = require('../index.js');
const { rejection, until } = require('./helpers/async.js');
const { useProxy } = require('./helpers/proxy.js');
const { usePair } = require('./helpers/replicas.js');
const { useSentinels } = require('./helpers/sentinels.js');
const { useServers } = require('./helpers/servers.js');

const OPTIONS = { expiry: 60_000, timeoutFactor: 0.05, tries: 1 };

// In seconds, for min-replicas-max-lag: far longer than a slow machine needs for one lock.
const MAX_LAG = 4;
const MIN_REPLICAS = ['--min-replicas-to-write', '1', '--min-replicas-max-lag', MAX_LAG];

/** A client of its own: another process, as far as the nodes can tell. */
function connect(t, nodes, options) {
  const redsync = new Redsync(nodes, { ...OPTIONS, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

/** Why the only node refused. */
function causeOf(error) {
  return error.errors[0].cause.code;
}

/** Another connection to a server, for what concerns the connection. */
async function connectTo(t, server) {
  const client = await server.connect();
  t.teardown(() => client.close());
  return client;
}

/** A field of INFO. */
async function info(server, section, field) {
  return new RegExp(`^${field}:(.*?)\r?$`, 'm').exec(await server.command('INFO', section))[1];
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

test('a failover to a replica that was cut off forgets the lock, and two hold it', async (t) => {
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

test('one of three nodes may fail over; with one more mishap, two hold the lock', async (t) => {
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

test('min-replicas-to-write refuses locks, but only once the lag has passed', async (t) => {
  const pair = await usePair(t, { args: MIN_REPLICAS });
  await until(async () => (await info(pair.master, 'replication', 'min_slaves_good_slaves')) === '1');
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

  await pair.replica.command('CONFIG', 'SET', 'min-replicas-to-write', 0);
  await pair.failOver();
  const other = connect(t, pair.url);
  t.is(await other.newMutex('before').tryLock(), null);
  holdBoth(t, within, await other.newMutex('within').lock());
});

test('without its replica, a held lock can be neither extended nor released', async (t) => {
  const pair = await usePair(t, { args: MIN_REPLICAS });
  await until(async () => (await info(pair.master, 'replication', 'min_slaves_good_slaves')) === '1');
  await pair.isLinked();
  const redsync = connect(t, pair.url);
  const [kept, released] = [await redsync.newMutex('kept').lock(), await redsync.newMutex('released').lock()];
  const lease = await redsync.newMutex('lease', { expiry: 3000, autoExtend: true }).lock();
  await pair.cutOff(); // which the master notices: there is no lag
  t.is(causeOf(await refusal(redsync)), 'NOREPLICAS');

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

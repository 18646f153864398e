'use strict';

// A lock whose loss somebody listens for is told lost as soon as its keys are gone, and not by the next extension.

const test = require('ava');

const { LockLostError, Redsync } = require('../index.js');
const { aborted, delay, until } = require('./helpers/async.js');
const { overBackends } = require('./helpers/backends.js');
const { useCluster } = require('./helpers/cluster.js');
const { monitor, useServers } = require('./helpers/servers.js');

const eachBackend = overBackends(test, { kinds: ['memory', 'redis'], sizes: [1, 3] });

// The next extension would come after 40 s.
const KEPT = { expiry: 120_000, autoExtend: true };
/** How late the news may be on a busy machine. */
const SOON = 10_000;

const [DELETED, TAKEN] = ['it was deleted', 'another holder has taken it'];

/** Resolves with the reason when the lock is told lost. */
async function lost(lock) {
  const reason = await Promise.race([aborted(lock.signal), delay(SOON)]);
  if (reason === undefined) throw new Error('the loss was not told in time');
  return reason;
}

function connect(t, nodes, options) {
  const redsync = new Redsync(nodes, { ...KEPT, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

async function field(server, section, name) {
  const info = await server.command('INFO', section);
  return Number(new RegExp(`^${name}:(?:calls=)?(\\d+)`, 'm').exec(info)?.[1] ?? 0);
}

/** How often a script was called, or so many of what counts as one. */
const scriptsOn = async (server) =>
  (await field(server, 'commandstats', 'cmdstat_eval')) +
  (await field(server, 'commandstats', 'cmdstat_evalsha'));

/** Servers that tell of changes to that many keys. */
async function tell(servers, keys = 1) {
  for (const server of servers) {
    await until(async () => (await field(server, 'stats', 'tracking_total_keys')) >= keys);
  }
}

/** A lock on servers that tell of it. */
async function useLock(t, count, options) {
  const servers = await useServers(t, count);
  const redsync = connect(t, urls(servers), options);
  const lock = await redsync.newMutex('name').lock();
  t.false(lock.signal.aborted);
  await tell(servers);
  return { servers, redsync, lock };
}

const urls = (servers) => servers.map(({ url }) => url);
const onAll = (servers, ...command) =>
  Promise.all(servers.map((server) => server.command(...command)));

eachBackend('a lock that is released by its value elsewhere is told lost', async (t, backend) => {
  const lock = await backend.connect(t, KEPT).newMutex(backend.name()).lock();
  t.false(lock.signal.aborted);
  await backend.removeEverywhere(lock.mutex.name, lock.value);
  t.true((await lost(lock)) instanceof LockLostError);
  t.is(lock.remaining, 0);
});

for (const [how, why, ...command] of [
  ['deleted', DELETED, 'DEL', 'name'],
  ['flushed', DELETED, 'FLUSHALL'],
  ['overwritten', TAKEN, 'SET', 'name', 'foreign'],
]) {
  for (const count of [1, 3]) {
    test(`${how} on ${count}, it is told lost`, async (t) => {
      const { servers, lock } = await useLock(t, count);
      await onAll(servers, ...command);
      t.is((await lost(lock)).message, `lock "name" is lost: ${why}`);
    });
  }
}

test('so is one that has no autoExtend, and one of several names', async (t) => {
  const servers = await useServers(t, 1);
  const redsync = connect(t, urls(servers), { autoExtend: false });
  const locks = [
    await redsync.newMutex('one').lock(),
    await redsync.newMutex(['two', 'three']).lock(),
    await redsync.newMutex('fenced', { fencing: true }).lock(),
    await redsync.newMutex('permit', { permits: 3 }).lock(),
    await redsync.newMutex('written', { mode: 'write' }).lock(),
  ];
  t.false(locks.some(({ signal }) => signal.aborted));
  await tell(servers, 6);
  await servers[0].command('DEL', 'three');
  await lost(locks[1]);
  t.is(locks.filter(({ signal }) => signal.aborted).length, 1);
  await servers[0].command('FLUSHALL');
  await Promise.all(locks.map(lost));
});

test('the routine of using() is told', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, urls(servers));
  await redsync.using('name', async (signal) => {
    await tell(servers);
    await onAll(servers, 'DEL', 'name');
    t.true((await aborted(signal)) instanceof LockLostError);
  });
});

test('whoever steals a lock is not alone in knowing', async (t) => {
  const { servers, lock } = await useLock(t, 3);
  const thief = connect(t, urls(servers)).newMutex('name');
  await onAll(servers, 'DEL', 'name');
  const stolen = await thief.lock();
  t.regex((await lost(lock)).message, /deleted|taken/);
  t.true(await stolen.unlock());
});

test('a minority that deletes it is asked, and no more', async (t) => {
  const { servers, lock } = await useLock(t, 3);
  const others = servers.slice(1);
  const before = await Promise.all(others.map(scriptsOn));
  await servers[0].command('DEL', 'name');
  for (const [i, server] of others.entries()) {
    await until(async () => (await scriptsOn(server)) > before[i]);
  }
  t.true(await lock.mutex.valid());
  t.false(lock.signal.aborted);
  await servers[1].command('DEL', 'name');
  t.is((await lost(lock)).message, `lock "name" is lost: ${DELETED}`);
});

test('what an extension changes makes nobody look', async (t) => {
  const expiry = 60_000;
  const { servers, lock } = await useLock(t, 1, { expiry, autoExtend: { interval: 50 } });
  const [server] = servers;
  const { commands, settle } = await monitor(t, server);
  await until(() => commands.length >= 20);
  const sent = (await settle()).filter(([verb]) => verb !== 'ECHO' && verb !== 'INFO');
  // After the first look, each of them is an extension: it has the expiry among its operands.
  const looks = sent.filter((words) => !words.includes(String(expiry)));
  t.true(looks.length <= 1, JSON.stringify(looks));
  t.false(lock.signal.aborted);
  // It still tells, for what an extension has changed it has read again.
  await server.command('DEL', 'name');
  await lost(lock);
});

test('a server is asked to tell only where somebody listens', async (t) => {
  const servers = await useServers(t, 1);
  const redsync = connect(t, urls(servers), { autoExtend: { interval: 50 } });
  const lock = await redsync.newMutex('name').lock();
  const before = await scriptsOn(servers[0]);
  await until(async () => (await scriptsOn(servers[0])) >= before + 3);
  t.is(await field(servers[0], 'clients', 'tracking_clients'), 0);
  t.false(lock.signal.aborted);
  await until(async () => (await field(servers[0], 'clients', 'tracking_clients')) === 1);
});

test('what happens while the connection is lost is found when it is back', async (t) => {
  const { servers, lock } = await useLock(t, 1);
  const client = await servers[0].connect();
  t.teardown(() => client.close());
  // In one transaction: nobody is connected who could be told.
  await client.command('MULTI');
  await client.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  await client.command('DEL', 'name');
  await client.command('EXEC');
  t.is((await lost(lock)).message, `lock "name" is lost: ${DELETED}`);
});

test('a server that may not tell leaves it to the extensions', async (t) => {
  const [server] = await useServers(t, 1);
  const rule = ['on', 'nopass', '~*', '+@all', '-client|tracking'];
  await server.command('ACL', 'SETUSER', 'quiet', ...rule);
  const url = server.url.replace('redis://', 'redis://quiet:any@');
  const redsync = connect(t, [url], { autoExtend: { interval: 100 } });
  const lock = await redsync.newMutex('name').lock();
  const { signal } = lock;
  const first = lock.until;
  await until(() => lock.until > first);
  await server.command('DEL', 'name');
  t.is((await aborted(signal)).message, `lock "name" is lost: ${DELETED}`);
  t.is(await field(server, 'clients', 'tracking_clients'), 0);
});

test('the servers of a cluster tell, too', async (t) => {
  const cluster = await useCluster(t);
  const redsync = connect(t, cluster.url());
  const locks = [];
  for (const server of cluster.servers) {
    const lock = await redsync.newMutex(cluster.nameOn(server)).lock();
    t.false(lock.signal.aborted);
    locks.push(lock);
  }
  await tell(cluster.servers);
  for (const [i, server] of cluster.servers.entries()) {
    await server.command('DEL', locks[i].mutex.name);
    await lost(locks[i]);
    t.is(locks.filter(({ signal }) => signal.aborted).length, i + 1);
  }
});

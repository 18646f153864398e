'use strict';

// Older versions of the clients, which the peer ranges let in: each locks, and no two hold a lock.

const test = require('ava');

const { Redsync } = require('../index.js');
const { newPool } = require('../lib/adapters/node-redis.js');
const { SCRIPTS } = require('../lib/scripts.js');
const { rejection } = require('./helpers/async.js');
const { believed } = require('./helpers/believed.js');
const { likeIoredis, likeNodeRedis } = require('./helpers/clients.js');
const { useCluster } = require('./helpers/cluster.js');
const { monitor, useServers } = require('./helpers/servers.js');

const OPTIONS = { expiry: 20_000, timeoutFactor: 0.25, tries: 1 };

const OLDER = {
  'ioredis 4': likeIoredis('ioredis', {
    Redis: require('ioredis-4'),
    Cluster: require('ioredis-4').Cluster,
  }),
  'ioredis 5': likeIoredis('ioredis', require('ioredis-5')),
  'node-redis 4': likeNodeRedis(require('redis-4')),
  'node-redis 5': likeNodeRedis(require('redis-5')),
};

function open(t, nodes) {
  const redsync = new Redsync(nodes, OPTIONS);
  t.teardown(() => redsync.close());
  return redsync;
}

async function use(t, making) {
  const made = await making;
  t.teardown(() => made.close());
  return made;
}

for (const [kind, makers] of Object.entries(OLDER)) {
  test(`one holder at a time, and with an expiry [${kind}]`, async (t) => {
    const [server] = await useServers(t, 1);
    const { pool } = await use(t, makers.server(server));
    const [one, other] = [open(t, pool), open(t, server.url)];
    const { settle } = await monitor(t, server);
    // By a script first, and by SET once the client is believed.
    for (const name of ['by a script', 'by SET', ['one', 'two']]) {
      const lock = await one.newMutex(name).lock();
      t.is(await one.newMutex(name).tryLock(), null);
      t.is(await other.newMutex(name).tryLock(), null);
      const left = await server.command('PTTL', [name].flat()[0]);
      t.true(left > 10_000 && left <= OPTIONS.expiry, `${left}`);
      t.true(await lock.mutex.valid());
      t.true(await lock.extend());
      t.true(await lock.unlock());
      t.is((await rejection(lock.unlock())).code, 'ERR_LOCK_EXPIRED');
      t.is((await believed(one))[0].status, 'up');
    }
    const [set] = (await settle()).filter((words) => words.includes('by SET'));
    t.deepEqual([set[0].toUpperCase(), ...set.slice(3).sort()], ['SET', '20000', 'NX', 'PX']);
    t.is(await server.command('DBSIZE'), 0);
  });

  test.serial(`the same on a cluster [${kind}]`, async (t) => {
    const cluster = await useCluster(t);
    const { pool } = await use(t, makers.cluster(cluster.servers));
    const redsync = open(t, pool);
    await redsync.ready();
    for (let i = 0; i < 20; i++) {
      const name = i % 2 === 0 ? `name ${i}` : [`{tag}:${i}`, `{tag}:${i} too`];
      const lock = await redsync.newMutex(name).lock();
      t.is(await redsync.newMutex(name).tryLock(), null);
      t.true(await lock.extend());
      t.true(await lock.unlock());
    }
    const { source } = SCRIPTS.owner;
    t.regex(await (await pool.get()).scriptLoad({ source }), /^[0-9a-f]{40}$/);
    t.throws(() => redsync.newMutex(['a', 'b']), { instanceOf: TypeError, message: /one slot/ });
    await redsync.close();
    t.is(await cluster.size(), 0);
  });
}

test('the legacy mode of node-redis 4 is a TypeError that names what to give', async (t) => {
  const [server] = await useServers(t, 1);
  const client = require('redis-4').createClient({ url: server.url, legacyMode: true });
  client.on('error', () => {});
  await client.connect();
  t.teardown(() => client.disconnect());
  const error = t.throws(() => newPool(client), { instanceOf: TypeError });
  t.is(error.code, 'ERR_INVALID_ARG_TYPE');
  t.regex(error.message, /"client" argument .*legacyMode: give newPool\(client\.v4\)$/);
  const redsync = open(t, newPool(client.v4));
  t.is((await believed(redsync))[0].status, 'up');
  t.true(await (await redsync.newMutex('name').lock()).unlock());
});

test('list() finds what is on each master of a cluster', async (t) => {
  const cluster = await useCluster(t);
  const names = cluster.servers.map((server) => cluster.nameOn(server)).sort();
  const holder = open(t, cluster.url());
  for (const name of names) await holder.newMutex(name).lock();
  for (const [kind, makers] of Object.entries(OLDER)) {
    const { pool } = await use(t, makers.cluster(cluster.servers));
    const found = await open(t, pool).list('*', { timeout: 60_000 });
    t.deepEqual(
      found.map(({ name }) => name),
      names,
      kind,
    );
  }
  // A prefix of the client goes before the names, and a tag in it does not hide that this is a cluster.
  for (const keyPrefix of ['app:', 'a{pp}:']) {
    const { pool } = await use(t, OLDER['ioredis 5'].cluster(cluster.servers, { keyPrefix }));
    const redsync = open(t, pool);
    for (const name of names) await redsync.newMutex(name).lock();
    const found = await redsync.list('*', { timeout: 60_000 });
    t.deepEqual(
      found.map(({ name }) => name),
      names,
      keyPrefix,
    );
  }
});

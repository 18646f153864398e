'use strict';

// A server that was given as one that stands alone, and is none: the error says what it is, and how to give it.

const test = require('ava');

const { FailedError, Redsync } = require('../index.js');
const { slotOf } = require('../lib/slots.js');
const { rejection, until } = require('./helpers/async.js');
const { CLIENTS } = require('./helpers/clients.js');
const { useCluster } = require('./helpers/cluster.js');
const { only, useProxy } = require('./helpers/proxy.js');
const { useServers } = require('./helpers/servers.js');
const { useSentinels } = require('./helpers/sentinels.js');

const OPTIONS = { tries: 1, expiry: 20_000, timeoutFactor: 0.25 };

const CLUSTER = 'the server is one of a cluster: give it as redis+cluster://';
const REPLICA =
  'the server is a replica of a master: give its master, or its sentinels as redis+sentinel://';
const SENTINEL =
  'the server is a sentinel: give it as redis+sentinel://, with the name of the master';

function connect(t, nodes, options) {
  const redsync = new Redsync(nodes, { ...OPTIONS, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

/** The only node's error. */
async function causeOf(call) {
  const error = await rejection(call);
  if (!(error instanceof FailedError)) throw error;
  return error.errors[0].cause;
}

async function replicaOf(server) {
  const { port } = server.replica;
  await server.replica.command('REPLICAOF', '127.0.0.1', server.port);
  await until(async () => (await server.command('ROLE'))[2].length === 1);
  return `redis://127.0.0.1:${port}`;
}

async function usePairOf(t) {
  const [master, replica] = await useServers(t, 2, { args: ['--repl-diskless-sync-delay', '0'] });
  master.replica = replica;
  return { master, replica, url: await replicaOf(master) };
}

/** What every call says of such a node. */
async function saysSo(t, redsync, code, message) {
  for (const call of [
    () => redsync.newMutex('name').lock(),
    () => redsync.newMutex('name').tryLock(),
    () => redsync.newMutex(['{a}name', '{a}other']).lock(),
    () => redsync.newMutex('name', { fencing: true }).lock(),
    () => redsync.newMutex('name', { mode: 'read' }).lock(),
    () => redsync.using('name', () => {}),
    () => redsync.ready({ timeout: 500 }),
  ]) {
    const cause = await causeOf(call());
    t.deepEqual([cause.code, cause.message], [code, message]);
  }
  const [health] = await redsync.health();
  t.is(health.status, 'down');
  t.is(health.error.message, `node 0 (${health.endpoint}): ${message}`);
  const [found] = await redsync.inspect('name');
  t.is(found.error.message, `node 0 (${health.endpoint}): ${message}`);
}

test.serial('one of a cluster', async (t) => {
  const { servers } = await useCluster(t, 3);
  const [{ url, port }] = servers;
  await saysSo(t, connect(t, url), 'ECLUSTER', CLUSTER);
  const error = await rejection(connect(t, url).newMutex('name').lock());
  t.is(
    error.message,
    `lock "name": no quorum of 1 of 1 node after 1 attempt (node 0 (127.0.0.1:${port}): ${CLUSTER})`,
  );
  for (const server of servers) t.is(await server.command('DBSIZE'), 0);
  const right = connect(t, url.replace('redis:', 'redis+cluster:'));
  t.true(await (await right.newMutex('name').lock()).unlock());
});

test.serial('a proxy before a cluster is none of it, though it says so', async (t) => {
  const { servers } = await useCluster(t, 1);
  const proxy = await useProxy(t, servers[0]);
  proxy.answerWith(only('CLUSTER', "-ERR unknown command 'CLUSTER'\r\n"));
  const redsync = connect(t, proxy.url);
  t.true(await (await redsync.newMutex('name').lock()).unlock());
  t.is((await redsync.health())[0].status, 'up');
});

test.serial('one of a cluster that does not say so: by what it refuses', async (t) => {
  const cluster = await useCluster(t, 3);
  const [server] = cluster.servers;
  await server.command('ACL', 'SETUSER', 'default', '-info');
  const redsync = connect(t, server.url);
  const own = cluster.nameOn(server);
  t.true(await (await redsync.newMutex(own).lock()).unlock());
  const moved = await causeOf(redsync.newMutex(cluster.nameOn(cluster.servers[1])).lock());
  t.deepEqual([moved.code, moved.message], ['MOVED', `SET was refused: ${CLUSTER}`]);
  const others = [own, cluster.nameOn(cluster.servers[1])];
  t.not(...others.map(slotOf));
  const crossing = await causeOf(redsync.newMutex(others).lock());
  t.is(crossing.code, 'CROSSSLOT');
  t.regex(crossing.message, / was refused: the names are in different slots of a cluster$/);
});

test.serial('a replica, and once more a master', async (t) => {
  const { replica, url } = await usePairOf(t);
  const redsync = connect(t, url);
  await saysSo(t, redsync, 'READONLY', REPLICA);
  await replica.command('REPLICAOF', 'NO', 'ONE');
  const lock = await until(() =>
    redsync
      .newMutex('name')
      .lock()
      .catch(() => undefined),
  );
  t.true(await lock.unlock());
});

test.serial('a replica that takes writes, which its master overwrites', async (t) => {
  const { replica, url } = await usePairOf(t);
  await replica.command('CONFIG', 'SET', 'replica-read-only', 'no');
  await saysSo(t, connect(t, url), 'READONLY', REPLICA);
  t.is(await replica.command('DBSIZE'), 0);
});

test.serial('a replica that does not say so: by what it refuses', async (t) => {
  const { replica, url } = await usePairOf(t);
  await replica.command('ACL', 'SETUSER', 'default', '-role');
  const cause = await causeOf(connect(t, url).newMutex('name').lock());
  t.deepEqual([cause.code, cause.message], ['READONLY', `SET was refused: ${REPLICA}`]);
});

test.serial('a sentinel', async (t) => {
  const group = await useSentinels(t, { replicas: 1, sentinels: 1 });
  const [{ url }] = group.sentinels;
  await saysSo(t, connect(t, url), 'ESENTINEL', SENTINEL);
});

for (const [kind, make] of Object.entries(CLIENTS)) {
  test.serial(`${kind} of a replica, and of one of a cluster`, async (t) => {
    const { replica } = await usePairOf(t);
    const cluster = await useCluster(t, 2);
    for (const [server, code, what] of [
      [
        replica,
        'READONLY',
        'READONLY, the server is a replica of a master: give a client of its master',
      ],
      [
        cluster.servers[0],
        'MOVED',
        'MOVED, the server is one of a cluster: give a client of the cluster',
      ],
    ]) {
      // GLIDE connects to no replica by itself.
      if (kind === 'valkey-glide' && server === replica) continue;
      const { pool, close } = await make(server);
      t.teardown(close);
      const redsync = connect(t, pool);
      const name = cluster.nameOn(cluster.servers[1]);
      const cause = await causeOf(redsync.newMutex(name).lock());
      t.deepEqual([cause.code, cause.message], [code, `eval() of the pool failed: ${what}`]);
    }
  });
}

'use strict';

// The drop-in over the clients that node-redlock takes.

const { randomUUID } = require('node:crypto');

const test = require('ava');
const { Cluster, Redis } = require('ioredis');

const { default: Redlock, ExecutionError, ResourceLockedError } = require('redsync/redlock');
const { delay, rejection, until } = require('../__test__/helpers/async.js');
const { useCluster } = require('../__test__/helpers/cluster.js');
const { deadUrl, useServers } = require('../__test__/helpers/servers.js');

/** Clients of throw-away servers, which end with the test. */
async function useClients(t, count) {
  const servers = await useServers(t, count);
  const clients = servers.map(({ url }) => new Redis(url));
  t.teardown(() => clients.forEach((client) => client.disconnect()));
  return { servers, clients };
}

function newName() {
  return `{clients}:${randomUUID()}`;
}

test.serial('ioredis clients vote, each under its own name', async (t) => {
  const { servers, clients } = await useClients(t, 3);
  const redlock = new Redlock(clients, { retryCount: 1, retryDelay: 10, retryJitter: 0 });
  const [a, b] = [newName(), newName()];
  t.deepEqual([...redlock.clients], clients);
  const lock = await redlock.acquire([a, b], 5000);
  t.deepEqual([...(await lock.attempts[0]).votesFor], clients);
  for (const server of servers) t.is(await server.command('GET', b), lock.value);

  const error = await rejection(redlock.acquire([b], 5000));
  t.true(error instanceof ExecutionError);
  t.is(error.attempts.length, 2);
  const { votesAgainst } = await error.attempts[1];
  t.deepEqual([...votesAgainst.keys()], clients);
  for (const reason of votesAgainst.values()) t.true(reason instanceof ResourceLockedError);

  const extended = await lock.extend(20_000);
  t.true((await servers[2].command('PTTL', a)) > 15_000);
  await extended.release();
  for (const server of servers) t.is(await server.command('EXISTS', a, b), 0);
});

test.serial('a client given twice counts once', async (t) => {
  const {
    clients: [client],
  } = await useClients(t, 1);
  const redlock = new Redlock([client, client]);
  t.is(redlock.clients.size, 1);
  await (await redlock.acquire([newName()], 5000)).release();
});

test.serial('a tie on two clients ends', async (t) => {
  const { servers, clients } = await useClients(t, 2);
  const name = newName();
  await servers[0].command('SET', name, 'foreign');
  const error = await rejection(new Redlock(clients, { retryCount: 0 }).acquire([name], 5000));
  const { votesFor, votesAgainst } = await error.attempts[0];
  t.deepEqual([...votesFor], [clients[1]]);
  t.deepEqual([...votesAgainst.keys()], [clients[0]]);
  await until(async () => (await servers[1].command('EXISTS', name)) === 0);
});

test.serial('using keeps a lock alive, and releases it', async (t) => {
  const { servers, clients } = await useClients(t, 3);
  const name = newName();
  const redlock = new Redlock(clients, { automaticExtensionThreshold: 300 });
  await redlock.using([name], 800, async (signal) => {
    await delay(2000);
    t.false(signal.aborted);
    t.is(await servers[0].command('EXISTS', name), 1);
  });
  t.is(await servers[0].command('EXISTS', name), 0);
});

test.serial('a minority of clients that is down does no harm', async (t) => {
  const { clients } = await useClients(t, 2);
  const dead = new Redis(await deadUrl(), { retryStrategy: () => 100 });
  dead.on('error', () => {});
  t.teardown(() => dead.disconnect());
  const redlock = new Redlock([...clients, dead], { retryCount: 0 });
  for (let i = 0; i < 3; i++) {
    const lock = await redlock.acquire([newName()], 5000);
    t.is((await lock.release()).attempts.length, 1);
  }
});

test.serial('a cluster is one client', async (t) => {
  const cluster = await useCluster(t);
  const client = new Cluster(cluster.servers.map(({ port }) => ({ host: '127.0.0.1', port })));
  t.teardown(() => client.disconnect());
  const redlock = new Redlock([client], { retryCount: 0 });
  const [a, b] = [newName(), newName()];
  const lock = await redlock.acquire([a, b], 5000);
  t.is(await client.get(b), lock.value);
  t.true((await rejection(redlock.acquire([b], 5000))) instanceof ExecutionError);
  await (await lock.extend(10_000)).release();
  t.is(await client.exists(a, b), 0);
  t.is(await redlock.using([a], 5000, async () => 1), 1);
});

test.serial('quit ends the clients', async (t) => {
  const { clients } = await useClients(t, 3);
  const redlock = new Redlock(clients);
  await (await redlock.acquire([newName()], 5000)).release();
  await redlock.quit();
  await until(() => clients.every(({ status }) => status === 'end'));
  t.pass();
});

'use strict';

// Nodes over the clients that an application has already.

const test = require('ava');

const { FailedError, Redsync } = require('../index.js');
const { newScript } = require('../lib/scripts.js');
const { rejection, until, untilSteady } = require('./helpers/async.js');
const { believed } = require('./helpers/believed.js');
const { CLIENTS, CLUSTER_CLIENTS } = require('./helpers/clients.js');
const { useCluster } = require('./helpers/cluster.js');
const { worksAgain } = require('./helpers/recovery.js');
const { useSentinels } = require('./helpers/sentinels.js');
const { monitor, useServers } = require('./helpers/servers.js');

const PATIENT = { timeoutFactor: 0.5, tries: 1 };
const SETTLED = { timeout: 100_000 };
const KINDS = Object.keys(CLIENTS);
const ADAPTERS = Object.keys(CLUSTER_CLIENTS);

async function use(t, kind, target, options, makers = CLIENTS) {
  const made = await makers[kind](target, options);
  t.teardown(() => made.close());
  return made;
}

function open(t, nodes, options) {
  const redsync = new Redsync(nodes, { ...PATIENT, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

/** Locks, looks, extends and unlocks. */
async function works(t, redsync, name) {
  const lock = await redsync.newMutex(name).lock();
  t.is(await redsync.newMutex(name).tryLock(), null);
  t.true(await lock.mutex.valid());
  t.true(await lock.extend());
  t.true(await lock.unlock());
}

test('the wire is the same over every client', async (t) => {
  const [server] = await useServers(t, 1);
  const made = await Promise.all(KINDS.map((kind) => use(t, kind, server)));
  const nodes = [server.url, ...made.map(({ pool }) => pool)];
  const all = nodes.map((node) => open(t, node));
  await Promise.all(all.map((redsync) => believed(redsync)));
  for (const [i, one] of all.entries()) {
    for (const [j, other] of all.entries()) {
      const what = `${i} ${j}`;
      for (const names of [[what], [what, `${what} too`]]) {
        const lock = await one.newMutex(names, { expiry: 20_000 }).lock();
        t.is(await server.command('GET', what), lock.value, what);
        t.is(await other.newMutex(names).tryLock(), null, what);
        const taken = other.newMutex(names, { value: lock.value, expiry: 60_000 });
        t.true(await taken.valid(), what);
        t.true(await taken.extend(), what);
        t.true((await server.command('PTTL', what)) > 30_000, what);
        t.true(await taken.unlock(), what);
        t.is((await rejection(lock.unlock())).code, 'ERR_LOCK_EXPIRED', what);
      }
    }
  }
  t.is(await server.command('DBSIZE'), 0);
});

for (const kind of ADAPTERS) {
  test(`what redsync does not call does what it says, too [${kind}]`, async (t) => {
    const [server] = await useServers(t, 1);
    const { pool } = await use(t, kind, server);
    const conn = await pool.get();
    t.is(await conn.get('none'), null);
    t.true(await conn.set('name', 'value'));
    t.is(await conn.get('name'), 'value');
    t.is(await conn.pttl('name'), -1);
    const script = newScript('return 1');
    t.is(await conn.scriptLoad(script), script.sha1);
  });
}

for (const kind of KINDS) {
  test(`a Conn does what it says [${kind}]`, async (t) => {
    const [server] = await useServers(t, 1);
    const { pool } = await use(t, kind, server);
    const conn = await pool.get();
    t.true(await conn.setNX('name', 'value', 20_000));
    t.false(await conn.setNX('name', 'other', 20_000));
    t.is(await server.command('GET', 'name'), 'value');
    t.true((await conn.pttl('name')) > 10_000);
    t.is(await conn.pttl('none'), -2);
    await server.command('PERSIST', 'name');
    t.is(await conn.pttl('name'), -1);
    const script = newScript('return ARGV[1] .. KEYS[1]');
    t.is(await conn.eval(script, ['key'], ['value-']), 'value-key');
    await server.command('SCRIPT', 'FLUSH');
    t.is(await conn.eval(script, ['key'], [7]), '7key');
    await t.throwsAsync(async () =>
      conn.eval({ source: 'return {', sha1: '0'.repeat(40) }, [], []),
    );
    await conn.close();
  });

  test(`a server that has forgotten its scripts is told them again [${kind}]`, async (t) => {
    const [server] = await useServers(t, 1);
    const { pool } = await use(t, kind, server);
    const redsync = open(t, pool);
    await believed(redsync);
    for (const options of [{}, { setNXOnExtend: true }]) {
      const lock = await redsync.newMutex(['a', 'b'], options).lock();
      for (const call of [() => lock.extend(), () => lock.mutex.valid(), () => lock.unlock()]) {
        await server.command('SCRIPT', 'FLUSH');
        t.true(await call());
      }
    }
    t.is(await server.command('DBSIZE'), 0);
  });

  test(`close() leaves the client to its owner, with its listeners [${kind}]`, async (t) => {
    const [server] = await useServers(t, 1);
    const { client, pool } = await use(t, kind, server);
    const conn = await pool.get();
    t.true(await conn.setNX('mine', 'value', 600_000));
    const before = listenersOf(client);
    for (let i = 0; i < 20; i++) {
      const redsync = open(t, pool);
      await Promise.all(Array.from({ length: 10 }, (_, j) => works(t, redsync, `name ${i} ${j}`)));
      await redsync.close();
    }
    t.deepEqual(listenersOf(client), before);
    t.false(await conn.setNX('mine', 'other', 600_000));
    await conn.close();
  });

  test(`servers come and go while locks are in flight [${kind}]`, async (t) => {
    const servers = await useServers(t, 3);
    const made = await Promise.all(servers.map((server) => use(t, kind, server)));
    const redsync = open(
      t,
      made.map(({ pool }) => pool),
      { timeoutFactor: 0.025 },
    );
    await worksAgain(t, redsync, 'before', SETTLED);

    let running = true;
    const inFlight = Promise.all(
      Array.from({ length: 8 }, async (_, i) => {
        while (running) {
          // Whatever becomes of it is told in a typed error.
          const lock = await redsync.newMutex(`flight ${i}`).lock().catch(typed);
          await lock?.unlock().catch(typed);
        }
      }),
    );
    await servers[0].kill();
    await worksAgain(t, redsync, 'without the first', SETTLED);
    await servers[0].restart();
    await servers[1].kill();
    await worksAgain(t, redsync, 'without the second', SETTLED);
    await servers[1].restart();
    await worksAgain(t, redsync, 'with all', SETTLED);
    running = false;
    await inFlight;
    await until(
      async () => (await redsync.health()).every(({ status }) => status === 'up'),
      SETTLED,
    );
    const sizes = () => Promise.all(servers.map((server) => server.command('DBSIZE')));
    await until(async () => (await sizes()).every((size) => size === 0), SETTLED);
  });
}

function typed(error) {
  if (!(error instanceof FailedError)) throw error;
}

function listenersOf(client) {
  if (typeof client.eventNames !== 'function') return {};
  return Object.fromEntries(
    client.eventNames().map((event) => [String(event), client.listenerCount(event)]),
  );
}

for (const [kind, leave, comeBack] of [
  ['ioredis', (client) => client.disconnect(), (client) => client.connect()],
  ['ioredis', (client) => client.quit(), (client) => client.connect()],
  ['iovalkey', (client) => client.disconnect(), (client) => client.connect()],
  ['iovalkey', (client) => client.quit(), (client) => client.connect()],
  ['node-redis', (client) => client.destroy(), (client) => client.connect()],
  ['node-redis', (client) => client.close(), (client) => client.connect()],
]) {
  test(`the owner closes the client, and opens it again [${kind} ${leave}]`, async (t) => {
    const servers = await useServers(t, 3);
    const made = await Promise.all(servers.map((server) => use(t, kind, server)));
    const redsync = open(
      t,
      made.map(({ pool }) => pool),
    );
    const held = await redsync.newMutex('held').lock();
    const inFlight = Array.from({ length: 50 }, (_, i) => redsync.newMutex(`flight ${i}`).lock());
    // Commands behind its QUIT can make the server drop the connection before the client has its answer.
    const left = Promise.resolve(leave(made[0].client)).catch(() => {});
    for (const lock of await Promise.all(inFlight)) t.true(await lock.unlock());
    await left;

    const [health] = await redsync.health({ timeout: 300 });
    t.is(health.status, 'down');
    t.regex(health.error.message, /^node 0 \(.*\): pttl\(\) of the pool failed: /);
    t.true(await held.extend());
    await works(t, redsync, 'a minority is away');
    await made[1].client.disconnect?.();
    if (kind === 'node-redis') await made[1].client.destroy();
    const error = await rejection(redsync.newMutex('most are away').lock());
    t.true(error instanceof FailedError, error.message);
    t.deepEqual(
      error.errors.map(({ node }) => node),
      [0, 1],
    );

    for (const { client } of made.slice(0, 2)) {
      // ioredis tells when the socket is gone.
      await until(() => client.status === undefined || client.status === 'end');
      await comeBack(client);
    }
    await worksAgain(t, redsync, 'all are back');
    t.true(await held.unlock());
    await until(async () => (await servers[0].command('DBSIZE')) === 0);
  });
}

test('a GLIDE client that its owner has closed is a node that is down', async (t) => {
  const [server] = await useServers(t, 1);
  const { client, pool } = await use(t, 'valkey-glide', server);
  const redsync = open(t, pool);
  await works(t, redsync, 'open');
  client.close();
  const error = await rejection(redsync.newMutex('closed').lock());
  t.is(error.errors[0].cause.message, 'setNX() of the pool failed: ClosingError');
});

for (const [kind, options, prefix, db] of [
  ['ioredis', { keyPrefix: 'app:', db: 3 }, 'app:', 3],
  ['iovalkey', { keyPrefix: 'app:', db: 3 }, 'app:', 3],
  ['ioredis', { enableAutoPipelining: true, stringNumbers: true }, '', 0],
  ['iovalkey', { enableAutoPipelining: true, stringNumbers: true }, '', 0],
  ['node-redis', { database: 3 }, '', 3],
  ['node-redis', { RESP: 3 }, '', 0],
  ['valkey-glide', { databaseId: 3 }, '', 3],
]) {
  test(`its settings hold [${kind} ${JSON.stringify(options)}]`, async (t) => {
    const [server] = await useServers(t, 1);
    const { pool } = await use(t, kind, server, options);
    const redsync = open(t, pool, { keyPrefix: 'lock:' });
    await believed(redsync);
    const lock = await redsync.newMutex(['one', 'two']).lock();
    const admin = await server.connect();
    t.teardown(() => admin.close());
    await admin.command('SELECT', db);
    const keys = [`${prefix}lock:one`, `${prefix}lock:two`];
    t.deepEqual((await admin.command('KEYS', '*')).sort(), keys);
    t.is(await admin.command('GET', keys[0]), lock.value);
    t.true(await lock.mutex.valid());
    t.true(await lock.extend());
    t.true(await lock.unlock());
    await works(t, redsync, 'one');
    t.is((await believed(redsync))[0].status, 'up');
    t.is(await admin.command('DBSIZE'), 0);
  });
}

test('a raw client is a TypeError that names its newPool()', async (t) => {
  const [server] = await useServers(t, 1);
  for (const kind of ADAPTERS) {
    const { client } = await use(t, kind, server);
    for (const nodes of [client, ['memory:', client]]) {
      const error = t.throws(() => new Redsync(nodes), { instanceOf: TypeError });
      t.is(error.code, 'ERR_INVALID_ARG_TYPE');
      t.true(error.message.includes(`newPool(client) of redsync/${kind}`), error.message);
      t.regex(error.message, nodes === client ? /"nodes" argument/ : /"nodes\[1\]" argument/);
    }
  }
  const unknown = { get() {}, set() {}, sendCommand() {} };
  t.throws(() => new Redsync(unknown), { instanceOf: TypeError, message: /docs\/clients\.md/ });
});

test('newPool() of another client is a TypeError that names the right one', async (t) => {
  const [server] = await useServers(t, 1);
  for (const kind of ADAPTERS) {
    const { newPool } = require(`../lib/adapters/${kind}.js`);
    for (const nothing of [undefined, null, 7, 'redis://user:secret@host', {}, []]) {
      const error = t.throws(() => newPool(nothing), { instanceOf: TypeError });
      t.is(error.code, 'ERR_INVALID_ARG_TYPE');
      t.regex(error.message, /"client" argument must be a client of /);
      t.notRegex(error.message, /secret/);
    }
    for (const other of ADAPTERS) {
      const { client } = await use(t, other, server);
      const family = ['ioredis', 'iovalkey'];
      if (other === kind || (family.includes(other) && family.includes(kind))) {
        t.is(newPool(client), newPool(client), 'one pool a client');
        continue;
      }
      const error = t.throws(() => newPool(client), { instanceOf: TypeError });
      t.true(error.message.endsWith(`newPool() of redsync/${other}`), error.message);
    }
  }
});

test('the same client twice is one node', async (t) => {
  const [server] = await useServers(t, 1);
  const { client, pool } = await use(t, 'ioredis', server);
  const { newPool } = require('../lib/adapters/ioredis.js');
  t.throws(() => new Redsync([pool, newPool(client)]), {
    instanceOf: RangeError,
    message: 'nodes[1] is the same node as nodes[0]',
  });
});

test('the adapters load no client', (t) => {
  const { execFileSync } = require('node:child_process');
  const source = `
    for (const name of ${JSON.stringify(ADAPTERS)}) require('redsync/' + name);
    require('redsync/testing');
    const loaded = Object.keys(require.cache).filter((file) => /node_modules/.test(file));
    console.log(JSON.stringify(loaded));
  `;
  const output = execFileSync(process.execPath, ['-e', source], {
    cwd: `${__dirname}/..`,
    encoding: 'utf8',
  });
  t.deepEqual(JSON.parse(output), []);
});

const onAllServers = Array.from({ length: 60 }, (_, i) => `name:${i}`);

for (const [kind, options] of [
  ['ioredis', {}],
  ['ioredis', { enableAutoPipelining: true }],
  ['iovalkey', {}],
  ['iovalkey', { enableAutoPipelining: true }],
  ['node-redis', {}],
  ['valkey-glide', {}],
]) {
  test.serial(`a cluster [${kind} ${JSON.stringify(options)}]`, async (t) => {
    const cluster = await useCluster(t);
    const { pool } = await use(t, kind, cluster.servers, options, CLUSTER_CLIENTS);
    const redsync = open(t, pool);
    await believed(redsync);
    // None of the servers knows a script yet, nor do all of them after the first lock.
    await Promise.all(onAllServers.map((name) => works(t, redsync, name)));
    await works(t, redsync, ['{tag}:1', '{tag}:2']);
    t.throws(() => redsync.newMutex(['a', 'b']), { instanceOf: TypeError, message: /one slot/ });
    t.is((await believed(redsync))[0].status, 'up');
    t.is(await cluster.size(), 0);

    // A slot moves.
    const [from, to] = cluster.servers;
    const name = cluster.nameOn(from);
    const { slotOf } = require('../lib/slots.js');
    const slot = slotOf(name);
    await cluster.startMove(slot, from, to);
    await works(t, redsync, name);
    await cluster.endMove(slot, from, to);
    await works(t, redsync, name);
    t.is(await cluster.size(), 0);
  });
}

for (const kind of ['ioredis', 'iovalkey']) {
  test.serial(
    `a tag in the prefix of a client makes one slot of all names [${kind}]`,
    async (t) => {
      const { servers } = await useCluster(t);
      const openWith = async (keyPrefix) => {
        const { pool } = await use(t, kind, servers, { keyPrefix }, CLUSTER_CLIENTS);
        return open(t, pool);
      };
      const tagged = await openWith('{app}:');
      await works(t, tagged, ['a', 'b']);
      const plain = await openWith('app:');
      await works(t, plain, 'a');
      t.throws(() => plain.newMutex(['a', 'b']), { instanceOf: TypeError, message: /one slot/ });
    },
  );
}

for (const [kind, options] of [
  ['ioredis', { scaleReads: 'slave' }],
  ['iovalkey', { scaleReads: 'slave' }],
  ['node-redis', { useReplicas: true }],
  ['valkey-glide', { readFrom: 'preferReplica' }],
]) {
  test.serial(`reads go to the master [${kind} ${JSON.stringify(options)}]`, async (t) => {
    const cluster = await useCluster(t);
    const [master] = cluster.servers;
    const replica = await cluster.addReplica(master);
    const { pool } = await use(t, kind, cluster.servers, options, CLUSTER_CLIENTS);
    const redsync = open(t, pool);
    const name = cluster.nameOn(master);
    await works(t, redsync, name);

    const { settle } = await monitor(t, replica);
    const conn = await pool.get();
    const lock = await redsync.newMutex(name).lock();
    t.is(await conn.get(name), lock.value);
    t.true((await conn.pttl(name)) > 0);
    t.true(await lock.mutex.valid());
    t.true(await lock.extend());
    t.true(await lock.unlock());
    const reads = /^(get|pttl|eval|evalsha|eval_ro)$/i;
    t.deepEqual(
      (await settle()).filter(([command]) => reads.test(command)),
      [],
    );
  });
}

const SENTINEL_CLIENTS = {
  ioredis(group) {
    const { Redis } = require('ioredis');
    const { newPool } = require('../lib/adapters/ioredis.js');
    return overSentinels(Redis, newPool, group);
  },

  iovalkey(group) {
    const { Redis } = require('iovalkey');
    const { newPool } = require('../lib/adapters/iovalkey.js');
    return overSentinels(Redis, newPool, group);
  },

  async 'node-redis'(group) {
    const { createSentinel } = require('redis');
    const { newPool } = require('../lib/adapters/node-redis.js');
    const client = createSentinel({
      name: group.name,
      sentinelRootNodes: group.options().sentinels,
      scanInterval: 200,
    });
    client.on('error', () => {});
    await client.connect();
    return { client, pool: newPool(client), close: () => client.destroy() };
  },
};

function overSentinels(Redis, newPool, group) {
  const client = new Redis({ sentinels: group.options().sentinels, name: group.name });
  client.on('error', () => {});
  return { client, pool: newPool(client), close: () => client.disconnect() };
}

for (const kind of Object.keys(SENTINEL_CLIENTS)) {
  test.serial(`a failover behind sentinels [${kind}]`, async (t) => {
    const group = await useSentinels(t, { replicas: 1 });
    const { pool } = await use(t, kind, group, {}, SENTINEL_CLIENTS);
    const redsync = open(t, pool, { expiry: 20_000, timeoutFactor: 0.025 });
    await works(t, redsync, 'before');
    const former = await group.master();
    await former.kill();
    const master = await group.failover(former);
    await worksAgain(t, redsync, 'after', SETTLED);
    await untilSteady(async () => (await master.command('DBSIZE')) === 0, SETTLED);
  });
}

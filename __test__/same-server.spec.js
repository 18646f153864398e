'use strict';

// Nodes that are one server, by two of its names or two of its databases: a warning says so, and health() does.

const test = require('ava');

const { Redsync } = require('../index.js');
const { until } = require('./helpers/async.js');
const { CLIENTS } = require('./helpers/clients.js');
const { useCluster } = require('./helpers/cluster.js');
const { endedWell, startProcess } = require('./helpers/processes.js');
const { useProxy } = require('./helpers/proxy.js');
const { monitor, useServers } = require('./helpers/servers.js');

const PASSWORD = 'hunter2';

/** For a machine that is busy. */
const PATIENT = { expiry: 60_000, timeoutFactor: 0.25 };

/** What a program of its own is warned of that locks over these nodes, and what health() says there. */
async function told(t, ...lists) {
  const running = startProcess(
    { nodeArgs: ['--no-warnings'] },
    async (file, lists) => {
      const { Redsync } = require(file);
      const warnings = [];
      process.on('warning', ({ code, message }) => warnings.push(`${code} ${message}`));
      const [healths, locks] = [[], []];
      for (const nodes of lists) {
        const redsync = new Redsync(nodes, { expiry: 60_000, timeoutFactor: 0.25 });
        // The same key of the same server is taken for the second vote.
        const lock = await redsync
          .newMutex('name', { wait: 0 })
          .lock()
          .catch(({ code }) => code);
        locks.push(lock.value ? await lock.unlock() : lock);
        const health = await redsync.health();
        healths.push(health.map(({ sameServerAs }) => sameServerAs ?? null));
        await redsync.close();
      }
      console.log(JSON.stringify({ warnings, healths, locks }));
    },
    lists,
  );
  const ended = await running.ended;
  endedWell(t, ended);
  return JSON.parse(ended.stdout);
}

const warning = (one, other) =>
  `REDSYNC_SAME_SERVER ${one} and ${other} are one server and have one fate: what it forgets, both forget. ` +
  'A quorum needs servers that do not fail together';

/** Two ways to give one server. */
const TWICE = {
  'two names of one host': ({ port }) => [`redis://localhost:${port}`, `redis://127.0.0.1:${port}`],
  'two databases': ({ url }) => [url, `${url}/1`],
  'a login and none': ({ port }) => [
    `redis://app:${PASSWORD}@127.0.0.1:${port}`,
    `redis://localhost:${port}`,
  ],
};

for (const [title, nodesOf] of Object.entries(TWICE)) {
  const isOneKey = title !== 'two databases';
  test.serial(`one server twice is warned of: ${title}`, async (t) => {
    const [server] = await useServers(t, 1);
    await server.command('ACL', 'SETUSER', 'app', 'on', `>${PASSWORD}`, '~*', '&*', '+@all');
    const nodes = nodesOf(server);
    const { warnings, healths, locks } = await told(t, nodes);
    t.deepEqual(locks, [isOneKey ? 'ERR_LOCK_FAILED' : true]);
    const shown = nodes.map((url, i) => `nodes[${i}] (${/([\w.]+:\d+)(\/1)?$/.exec(url)[1]})`);
    t.deepEqual(warnings, [warning(...shown)]);
    t.deepEqual(healths, [[[1], [0]]]);
    t.false(JSON.stringify(warnings).includes(PASSWORD));
  });
}

test.serial('one of three servers is no other, and there is one warning a process', async (t) => {
  const servers = await useServers(t, 3);
  const urls = servers.map(({ url }) => url);
  const { warnings, healths } = await told(
    t,
    urls,
    [urls[0], urls[1], `${urls[0]}/1`],
    [urls[0], `${urls[0]}/1`, `${urls[0]}/2`],
  );
  t.deepEqual(healths, [
    [null, null, null],
    [[2], null, [0]],
    [
      [1, 2],
      [0, 2],
      [0, 1],
    ],
  ]);
  const [port] = urls.map((url) => new URL(url).port);
  t.deepEqual(warnings, [warning(`nodes[0] (127.0.0.1:${port})`, `nodes[2] (127.0.0.1:${port})`)]);
});

test.serial(
  'the warning comes by itself, also of a node that no call has waited for',
  async (t) => {
    const servers = await useServers(t, 2);
    const proxy = await useProxy(t, servers[0]);
    proxy.delay(500);
    const running = startProcess(
      { nodeArgs: ['--no-warnings'] },
      async (file, nodes) => {
        const { Redsync } = require(file);
        process.on('warning', ({ code }) => console.log(`warned ${code}`));
        const redsync = new Redsync(nodes, { failFast: true });
        await redsync.acquire('name');
        console.log('locked');
        setInterval(() => {}, 1000);
      },
      [...servers.map(({ url }) => url), { url: proxy.url, connectTimeout: 60_000 }],
    );
    await running.says('locked');
    t.is(await running.says('warned'), 'REDSYNC_SAME_SERVER');
    process.kill(running.pid);
    t.regex(running.output.stdout, /^locked\nwarned/);
  },
);

test.serial('two seeds of one cluster are one cluster', async (t) => {
  const cluster = await useCluster(t, 3);
  const [first, second] = cluster.servers;
  const nodes = [cluster.url([first]), cluster.url([second])];
  const redsync = new Redsync(nodes, PATIENT);
  t.teardown(() => redsync.close());
  // Each node asks its seed first, and is led to the master of the slot: in another order than the other node.
  for (const server of [first, second]) {
    await redsync
      .newMutex(cluster.nameOn(server), { wait: 0 })
      .lock()
      .catch(() => {});
  }
  t.deepEqual(
    (await redsync.health()).map(({ sameServerAs }) => sameServerAs),
    [[1], [0]],
  );
});

test.serial('what health() says follows the servers', async (t) => {
  const servers = await useServers(t, 2);
  const proxy = await useProxy(t, servers[0]);
  const redsync = new Redsync([servers[0].url, proxy.url]);
  t.teardown(() => redsync.close());
  const same = async () => (await redsync.health()).map(({ sameServerAs }) => sameServerAs);
  await until(async () => (await same())[1] !== undefined);
  t.deepEqual(await same(), [[1], [0]]);
  // The name leads elsewhere now.
  proxy.server = servers[1];
  proxy.cut();
  await until(async () => (await same())[1] === undefined);
  await until(async () => (await redsync.health())[1].status === 'up');
  t.deepEqual(await same(), [undefined, undefined]);
});

test.serial('where INFO is refused nothing is known, and locks work', async (t) => {
  const [server] = await useServers(t, 1);
  await server.command('ACL', 'SETUSER', 'default', '-info');
  const { warnings, healths, locks } = await told(t, [server.url, `${server.url}/1`]);
  t.deepEqual(locks, [true]);
  t.deepEqual(warnings, []);
  t.deepEqual(healths, [[null, null]]);
});

test.serial('it costs no command but one a connection', async (t) => {
  const [server] = await useServers(t, 1);
  const recorded = await monitor(t, server);
  const redsync = new Redsync([server.url, `${server.url}/1`], PATIENT);
  t.teardown(() => redsync.close());
  for (let i = 0; i < 5; i++) await (await redsync.acquire(`name ${i}`)).unlock();
  const infos = (await recorded.settle()).filter(([verb]) => /^info$/i.test(verb));
  t.is(infos.length, 2);
});

test.serial('memory nodes are nodes of their own', async (t) => {
  const { warnings, healths } = await told(t, ['memory:', 'memory:', 'memory:x']);
  t.deepEqual(warnings, []);
  t.deepEqual(healths, [[null, null, null]]);
});

for (const [kind, connect] of Object.entries(CLIENTS)) {
  const isKnown = kind !== 'hand-written Pool';
  test.serial(`${kind} and a URL: ${isKnown ? 'known' : 'not known'}`, async (t) => {
    const [server] = await useServers(t, 1);
    const { pool, close } = await connect(server);
    t.teardown(close);
    const redsync = new Redsync([pool, `${server.url}/1`], PATIENT);
    t.teardown(() => redsync.close());
    await (await redsync.acquire('name')).unlock();
    const same = async () => (await redsync.health()).map(({ sameServerAs }) => sameServerAs);
    if (isKnown) await until(async () => (await same())[0] !== undefined);
    t.deepEqual(await same(), isKnown ? [[1], [0]] : [undefined, undefined]);
    // What was seen of the pool is known at once to whoever uses it next.
    const next = new Redsync([pool, `${server.url}/2`], PATIENT);
    t.teardown(() => next.close());
    await (await next.acquire('name')).unlock();
    const health = await next.health();
    t.deepEqual(health[0].sameServerAs, isKnown ? [1] : undefined);
  });
}

'use strict';

const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { once } = require('node:events');

const test = require('ava');

const { FailedError, Redsync } = require('../index.js');
const { slotOf } = require('../lib/slots.js');
const { delay, elapsed, rejection, until, untilSteady } = require('./helpers/async.js');
const { createAuthority, fingerprintOf } = require('./helpers/certificates.js');
const { useCluster } = require('./helpers/cluster.js');
const { LOCKING, useProxy } = require('./helpers/proxy.js');
const { BOUND, causeOf, worksAgain } = require('./helpers/recovery.js');
const { deadUrl, monitor, useServers } = require('./helpers/servers.js');

// What a failover may take on a slow machine: it needs the masters to agree.
const SETTLED = { timeout: 60_000 };
const OPTIONS = { expiry: 20_000, timeoutFactor: 0.025, tries: 1 };

// What a server that is gone, or a cluster that misses it, may say.
const DOWN = ['ECONNRESET', 'ECONNREFUSED', 'ETIMEDOUT', 'CLUSTERDOWN'];

function connect(t, nodes, options) {
  const redsync = new Redsync(nodes, { ...OPTIONS, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

/** Locks, looks, extends and unlocks; the key is on that server meanwhile. */
async function works(t, redsync, name, server) {
  const lock = await redsync.newMutex(name).lock();
  t.is(await server.command('GET', name), lock.value);
  t.true(await lock.mutex.valid());
  t.true(await lock.extend());
  t.true(await lock.unlock());
  t.is(await server.command('EXISTS', name), 0);
}

async function configure(cluster, ...settings) {
  await Promise.all(cluster.servers.map((server) => server.command('CONFIG', 'SET', ...settings)));
}

/** How often these servers have sent a command on. */
async function redirectsBy(servers) {
  const stats = await Promise.all(servers.map((server) => server.command('INFO', 'errorstats')));
  return stats.reduce(
    (sum, text) => sum + Number(/^errorstat_MOVED:count=(\d+)/m.exec(text)?.[1] ?? 0),
    0,
  );
}

test.serial('any name can be locked, by any server that is given', async (t) => {
  const cluster = await useCluster(t);
  const names = Array.from({ length: 200 }, (_, i) => `all:${i}`);
  t.is(new Set(names.map((name) => cluster.ownerOf(name))).size, 3);
  for (const seeds of [cluster.servers, [cluster.servers[2]]]) {
    const redsync = connect(t, cluster.url(seeds));
    await Promise.all(names.map((name) => works(t, redsync, name, cluster.ownerOf(name))));
    const [health] = await redsync.health();
    t.is(health.status, 'up');
  }
  const servers = cluster.servers.map(({ port }) => ({ host: '127.0.0.1', port }));
  await works(t, connect(t, { cluster: servers }), names[0], cluster.ownerOf(names[0]));
  t.is(await cluster.size(), 0);
});

test.serial('a lock excludes others, whatever server they were given', async (t) => {
  const cluster = await useCluster(t);
  const [one, two] = [0, 1].map((i) => connect(t, cluster.url([cluster.servers[i]])));
  for (const server of cluster.servers) {
    const name = cluster.nameOn(server);
    const lock = await one.newMutex(name).lock();
    t.is(await two.newMutex(name).tryLock(), null);
    t.is((await rejection(two.newMutex(name).lock())).code, 'ERR_LOCK_TAKEN');
    t.true(await two.newMutex(name, { value: lock.value }).unlock());
  }
  t.is(await cluster.size(), 0);
});

test.serial('servers that are dead do not matter as long as one is there', async (t) => {
  const cluster = await useCluster(t);
  const dead = (await deadUrl()).replace('redis://', '');
  const redsync = connect(t, cluster.url([cluster.servers[0]]).replace('://', `://${dead},`));
  const name = cluster.nameOn(cluster.servers[1]);
  await worksAgain(t, redsync, name, SETTLED);
  await works(t, redsync, name, cluster.servers[1]);
});

test.serial('several names need one slot, which a tag gives them', async (t) => {
  const cluster = await useCluster(t);
  const redsync = connect(t, cluster.url());
  for (const server of cluster.servers) {
    const tag = cluster.nameOn(server, 'tag');
    const names = [`{${tag}}:1`, `{${tag}}:2`, tag];
    const lock = await redsync.newMutex(names).lock();
    for (const name of names) t.is(await server.command('GET', name), lock.value);
    t.is(await redsync.newMutex(names.slice(1)).tryLock(), null);
    t.true(await lock.extend());
    t.true(await lock.unlock());
  }
  t.is(await cluster.size(), 0);
});

test.serial('names of several slots are refused before anything is sent', async (t) => {
  const cluster = await useCluster(t);
  const redsync = connect(t, cluster.url());
  const [one, two] = cluster.servers.map((server) => cluster.nameOn(server));
  const error = t.throws(() => redsync.newMutex([one, two]), { instanceOf: TypeError });
  t.is(error.code, 'ERR_INVALID_ARG_TYPE');
  t.true(error.message.includes(`{tag}${one}`), error.message);
  for (const server of cluster.servers) {
    t.notRegex(await server.command('CLIENT', 'LIST'), / name=redsync /);
  }
});

test.serial('a cluster is one node of several', async (t) => {
  const cluster = await useCluster(t);
  const servers = await useServers(t, 2);
  const redsync = connect(t, [cluster.url(), ...servers.map(({ url }) => url)]);
  t.is(redsync.size, 3);
  t.is(redsync.quorum, 2);
  const name = cluster.nameOn(cluster.servers[1]);
  const nodes = [cluster.servers[1], ...servers];
  const valuesOf = () => Promise.all(nodes.map((node) => node.command('GET', name)));

  const lock = await redsync.newMutex(name).lock();
  t.deepEqual(await valuesOf(), [lock.value, lock.value, lock.value]);
  t.true(await lock.unlock());
  t.deepEqual(await valuesOf(), [null, null, null]);

  // Two of the three votes are enough, the cluster's among them or not.
  await servers[0].kill();
  t.true(await (await redsync.newMutex(name).lock()).unlock());
  await servers[0].restart();
  await until(() => redsync.health().then((all) => all.every(({ status }) => status === 'up')));
  await Promise.all(cluster.servers.map((server) => server.kill()));
  t.true(await (await redsync.newMutex(name).lock()).unlock());
  await servers[0].kill();
  const error = await rejection(redsync.newMutex(name).lock());
  t.is(error.code, 'ERR_LOCK_FAILED');
  t.deepEqual(error.errors.map(({ node }) => node).sort(), [0, 1]);
  await untilSteady(async () => (await servers[1].command('DBSIZE')) === 0);
});

test.serial('a slot that is being moved is asked for where its keys are', async (t) => {
  const cluster = await useCluster(t);
  const [from, to] = cluster.servers;
  const tag = cluster.nameOn(from, 'tag');
  const slot = slotOf(tag);
  const redsync = connect(t, cluster.url());
  const before = await redsync.newMutex(`{${tag}}:before`).lock();

  await cluster.startMove(slot, from, to);
  t.is(await redsync.newMutex(`{${tag}}:before`).tryLock(), null);
  t.true(await before.extend());
  t.is(await from.command('GET', `{${tag}}:before`), before.value);
  const meanwhile = await redsync.newMutex(`{${tag}}:meanwhile`).lock();
  t.is(await from.command('CLUSTER', 'COUNTKEYSINSLOT', slot), 1);
  t.is(await to.command('CLUSTER', 'COUNTKEYSINSLOT', slot), 1);
  t.true(await meanwhile.extend());
  t.true(await meanwhile.mutex.valid());
  t.is(await redsync.newMutex(`{${tag}}:meanwhile`).tryLock(), null);
  await cluster.moveKeys(slot, from, to);
  t.true(await before.mutex.valid());
  await cluster.endMove(slot, from, to);

  t.true(await before.extend());
  t.is(await to.command('GET', `{${tag}}:before`), before.value);
  t.true(await before.unlock());
  t.true(await meanwhile.unlock());
  await works(t, redsync, `{${tag}}:after`, to);
  t.is(await cluster.size(), 0);
});

test.serial('locks go on while a slot moves to and fro', async (t) => {
  const cluster = await useCluster(t);
  const [one, two] = cluster.servers;
  const tag = cluster.nameOn(one, 'tag');
  const slot = slotOf(tag);
  const redsync = connect(t, cluster.url(), { tries: 100, retryDelay: 5 });
  let isMoving = true;
  const holders = new Map();
  let cycles = 0;
  // Two workers a name, so that a lock given twice would be seen.
  const workers = Array.from({ length: 16 }, async (_, i) => {
    const name = `{${tag}}:${i % 8}`;
    const names = i % 8 < 6 ? name : [name, `${name}:more`];
    while (isMoving) {
      const lock = await redsync.newMutex(names).lock();
      t.false(holders.has(name));
      holders.set(name, lock);
      await lock.extend();
      holders.delete(name);
      await lock.unlock();
      cycles++;
    }
  });
  const all = Promise.all(workers);
  const move = async () => {
    for (let round = 0; round < 6; round++) {
      const [from, to] = round % 2 === 0 ? [one, two] : [two, one];
      const enough = cycles + 50;
      await Promise.race([until(() => cycles >= enough), all]);
      await cluster.startMove(slot, from, to);
      await Promise.race([until(() => cycles >= enough + 50), all]);
      await cluster.moveKeys(slot, from, to);
      await cluster.endMove(slot, from, to);
    }
  };
  try {
    await move();
  } finally {
    isMoving = false;
  }
  await all;
  await untilSteady(async () => (await cluster.size()) === 0);
});

test.serial('servers that do not agree on who has a slot get time to', async (t) => {
  const cluster = await useCluster(t);
  const [from, to] = cluster.servers;
  const name = cluster.nameOn(from);
  const id = await cluster.idOf(to);
  const redsync = connect(t, cluster.url(), { expiry: 60_000 }); // a node timeout of three seconds

  await from.command('CLUSTER', 'SETSLOT', slotOf(name), 'NODE', id);
  const before = await redirectsBy([from, to]);
  const locked = redsync.newMutex(name).tryLock();
  await until(async () => (await redirectsBy([from, to])) >= before + 8);
  await to.command('CLUSTER', 'SETSLOT', slotOf(name), 'NODE', id);

  const lock = await locked;
  t.is(await to.command('GET', name), lock.value);
  t.true(await lock.unlock());
  t.is(await to.command('GET', name), null);
});

// A quorum of other nodes decides, so that the lock is over before the cluster has taken it in.
for (const [what, begin] of [
  ['SET', async (redsync, name) => redsync.newMutex(name).lock()],
  [
    'extension that stores the key again',
    async (redsync, name, server) => {
      const lock = await redsync.newMutex(name, { setNXOnExtend: true }).lock();
      await until(async () => (await server.command('DEL', name)) === 1);
      return { lock, begin: () => lock.extend() };
    },
  ],
]) {
  test.serial(
    `no ${what} is overtaken by its own release while it is sent to and fro`,
    async (t) => {
      const cluster = await useCluster(t);
      const others = await useServers(t, 2);
      const redsync = connect(t, [cluster.url(), ...others.map(({ url }) => url)], {
        expiry: 120_000,
        failFast: true, // a node timeout of three seconds
      });
      await redsync.ready();
      let [from, to] = cluster.servers;
      const tag = cluster.nameOn(from, 'tag');
      let left = 0;
      for (let round = 0; round < 20; round++) {
        const name = `{${tag}}:${round}`;
        const id = await cluster.idOf(to);
        const prepared = what === 'SET' ? null : await begin(redsync, name, from);
        const before = await redirectsBy([from, to]);
        await from.command('CLUSTER', 'SETSLOT', slotOf(name), 'NODE', id);
        const lock = prepared?.lock ?? (await begin(redsync, name));
        if (prepared) t.true(await prepared.begin());
        // After so many it is sent again after a pause of 50 ms only.
        await until(async () => (await redirectsBy([from, to])) >= before + 12);
        await to.command('CLUSTER', 'SETSLOT', slotOf(name), 'NODE', id);
        t.true(await lock.unlock());
        const isGone = async () => (await to.command('EXISTS', name)) === 0;
        left += await untilSteady(isGone, { timeout: 2000 }).then(
          () => 0,
          () => to.command('DEL', name),
        );
        [from, to] = [to, from];
      }
      t.is(left, 0);
      t.is(await cluster.size(), 0);
    },
  );
}

test.serial(
  'no SET is overtaken by its own release while the answer to it is on its way',
  async (t) => {
    const cluster = await useCluster(t, 2);
    const others = await useServers(t, 2);
    const [asked, master] = cluster.servers;
    const proxy = await useProxy(t, asked);
    const redsync = connect(t, [cluster.url([proxy]), ...others.map(({ url }) => url)], {
      expiry: 120_000,
      failFast: true,
    });
    await redsync.ready();
    const tag = cluster.nameOn(master, 'tag');
    const { commands, settle } = await monitor(t, master);
    let heldBack = 0;
    proxy.answerWith(([verb]) => {
      if (verb !== 'SET') return undefined;
      heldBack++;
      return '';
    });
    const moved = `-MOVED ${slotOf(tag)} 127.0.0.1:${master.port}\r\n`;
    const first = await redsync.newMutex(`{${tag}}:1`).lock();
    await until(() => heldBack === 1);
    const second = await redsync.newMutex(`{${tag}}:2`).lock();
    await until(() => heldBack === 2);
    proxy.forge(moved);
    await delay(50); // for the engine to read it, and know the way to the master
    t.true(await second.unlock());
    t.true(await first.unlock());
    proxy.forge(moved);
    await proxy.heal();
    await until(async () =>
      /cmdstat_set:calls=2/.test(await master.command('INFO', 'commandstats')),
    );
    await untilSteady(async () => (await master.command('DBSIZE')) === 0, { timeout: 2000 });
    // Not even to be deleted by a release that is sent once more, because nobody waited for its answer.
    await settle();
    for (const name of [`{${tag}}:1`, `{${tag}}:2`]) {
      t.is(commands.find((words) => words.includes(name))[0], 'SET');
    }
  },
);

// The server has got the slot back in between.
test.serial('no SET is sent on when its release has been answered meanwhile', async (t) => {
  const [server, ...others] = await useServers(t, 3);
  const [asked, further] = [await useProxy(t, server), await useProxy(t, server)];
  const nodes = [`redis+cluster://127.0.0.1:${asked.port}`, ...others.map(({ url }) => url)];
  const redsync = connect(t, nodes, { expiry: 120_000, failFast: true });
  await redsync.ready();
  const heldBack = [];
  asked.answerWith(([verb]) => {
    if (!LOCKING.split(' ').includes(verb)) return undefined;
    heldBack.push(verb);
    return '';
  });
  const lock = await redsync.newMutex('{tag}:1').lock();
  await until(() => heldBack.length === 1);
  t.true(await lock.unlock());
  await until(() => heldBack.length === 2);
  asked.forge(`-MOVED ${slotOf('{tag}')} 127.0.0.1:${further.port}\r\n:-1\r\n`);
  await redsync.health(); // of the same connection, so that it has read both answers
  // What is asked later about the same slot goes the way that the SET would have gone, behind it; and it goes, for
  // somebody waits for its answer.
  const later = await redsync.newMutex('{tag}:2', { failFast: false }).lock();
  await until(async () => (await server.command('EXISTS', '{tag}:2')) === 1);
  t.is(await server.command('EXISTS', '{tag}:1'), 0);
  t.true(await later.unlock());
});

/** Servers that let the user in that `url` has. */
async function useLogin(cluster) {
  await Promise.all(
    cluster.servers.map((server) =>
      server.command('ACL', 'SETUSER', 'app', 'on', '>pw', '~*', '&*', '+@all'),
    ),
  );
  return cluster.url([cluster.servers[0]]).replace('://', '://app:pw@');
}

/** Listens where that server was, and counts those who would log in. */
async function takeThePlaceOf(t, server) {
  await server.kill();
  const listener = net.createServer((client) => {
    client.on('error', () => {});
    client.on('data', (bytes) => {
      if (bytes.includes('AUTH')) listener.logins++;
      client.destroy();
    });
  });
  listener.logins = 0;
  listener.listen(server.port, '127.0.0.1');
  await once(listener, 'listening');
  t.teardown(() => listener.close());
  return listener;
}

/** Locks these names for longer than any link waits before it connects again. */
async function workFor(redsync, names, ms) {
  const deadline = performance.now() + ms;
  while (performance.now() < deadline) {
    for (const name of names) await (await redsync.newMutex(name).lock()).unlock();
    await delay(5);
  }
}

test.serial('a server that has no slot any more is let go, and gets no login', async (t) => {
  const cluster = await useCluster(t, 3, { args: ['--cluster-require-full-coverage', 'no'] });
  const [seed, leaving, taking] = cluster.servers;
  const redsync = connect(t, await useLogin(cluster));
  const name = cluster.nameOn(leaving);
  await works(t, redsync, name, leaving);
  const isConnected = async () => / name=redsync /.test(await leaving.command('CLIENT', 'LIST'));
  t.true(await isConnected());

  await cluster.startMove(slotOf(name), leaving, taking);
  await cluster.endMove(slotOf(name), leaving, taking);
  await works(t, redsync, name, taking);
  await until(async () => !(await isConnected()));

  const listener = await takeThePlaceOf(t, leaving);
  await workFor(redsync, [name, cluster.nameOn(seed)], 3000);
  t.is(listener.logins, 0);
});

test.serial('a server that is gone gets no login before somebody asks for it', async (t) => {
  const cluster = await useCluster(t, 3, { args: ['--cluster-require-full-coverage', 'no'] });
  const [seed, gone] = cluster.servers;
  const redsync = connect(t, await useLogin(cluster));
  await works(t, redsync, cluster.nameOn(gone), gone);
  const listener = await takeThePlaceOf(t, gone);
  await workFor(redsync, [cluster.nameOn(seed)], 3000);
  t.is(listener.logins, 0);
  await until(async () => {
    await rejection(redsync.newMutex(cluster.nameOn(gone)).lock());
    return listener.logins > 0;
  });
});

test.serial('servers that were once heard of take no room from others', async (t) => {
  const [server] = await useServers(t, 1);
  const proxy = await useProxy(t, server);
  const redsync = connect(t, `redis+cluster://127.0.0.1:${proxy.port}`);
  await redsync.ready();
  // Nobody listens on port 1 of any of these addresses.
  let heardOf = 0;
  proxy.answerWith(([verb, name]) => {
    if (verb !== 'SET') return undefined;
    heardOf++;
    return `-MOVED ${slotOf(name)} 127.1.${heardOf >> 8}.${heardOf & 255}:1\r\n`;
  });
  const refused = (name) =>
    redsync
      .newMutex(name)
      .lock()
      .catch(({ errors }) => errors[0].cause.code);
  // Each is the master of a slot, and then one after the other of the same one.
  for (let round = 0; round < 21; round++) {
    const names = Array.from({ length: 200 }, (_, i) => `${round}:${i}`);
    for (const code of await Promise.all(names.map(refused))) t.not(code, 'MOVED');
  }
  for (let i = 0; i < 100; i++) t.not(await refused('same'), 'MOVED');
  t.true(heardOf > 2100);
  await proxy.heal();
  await worksAgain(t, redsync, 'healed', SETTLED);
  await works(t, redsync, 'healed', server);
});

test.serial(
  'the ACL of the operations page, and ASKING, are enough while a slot moves',
  async (t) => {
    const page = path.join(__dirname, '..', 'docs', 'operations.md');
    const operations = fs.readFileSync(page, 'utf8');
    const [, rule] = /^ACL SETUSER \S+ on >\S+ (.*)$/m.exec(operations);
    const cluster = await useCluster(t);
    const [from, to] = cluster.servers;
    await Promise.all(
      cluster.servers.map((server) =>
        server.command('ACL', 'SETUSER', 'app', 'on', '>pw', ...rule.split(' '), '+asking'),
      ),
    );
    const url = cluster.url().replace('://', '://app:pw@');
    const redsync = connect(t, url, { keyPrefix: 'lock:' });
    const name = cluster.nameOn(from, 'lock:name').slice('lock:'.length);
    await cluster.startMove(slotOf(`lock:${name}`), from, to);
    const lock = await redsync.newMutex(name).lock();
    t.is(await to.command('CLUSTER', 'COUNTKEYSINSLOT', slotOf(`lock:${name}`)), 1);
    t.true(await lock.extend());
    t.true(await lock.unlock());
    t.is(await cluster.size(), 0);

    const wrong = cluster.url().replace('://', '://app:wrong@');
    t.is((await causeOf(connect(t, wrong).newMutex('lock:x').lock())).code, 'WRONGPASS');
  },
);

test.serial('the names of a master that died fail, the others do not', async (t) => {
  const cluster = await useCluster(t, 3, { args: ['--cluster-require-full-coverage', 'no'] });
  const [dead, ...living] = cluster.servers;
  const redsync = connect(t, cluster.url());
  const lost = cluster.nameOn(dead);
  for (const server of cluster.servers) await works(t, redsync, cluster.nameOn(server), server);
  await dead.kill();
  const isKnown = async () => {
    const info = await living[0].command('CLUSTER', 'INFO');
    return /cluster_slots_fail:[1-9]/.test(info);
  };
  for (let round = 0; round < 3; round++) {
    const call = redsync.newMutex(lost).lock();
    t.true((await elapsed(call)) < BOUND);
    t.true(DOWN.includes((await causeOf(call)).code));
    for (const server of living) await works(t, redsync, cluster.nameOn(server), server);
    if (round === 1) await until(isKnown, SETTLED);
  }
  await dead.restart();
  await worksAgain(t, redsync, lost, SETTLED);
  await works(t, redsync, lost, dead);
});

test.serial('a cluster that is down as a whole is told, and used when it is back', async (t) => {
  const cluster = await useCluster(t);
  const [dead, living] = cluster.servers;
  const redsync = connect(t, cluster.url());
  const name = cluster.nameOn(living);
  await works(t, redsync, name, living);
  await dead.kill();
  await until(async () => {
    const outcome = await redsync
      .newMutex(name)
      .lock()
      .catch((error) => error);
    if (!(outcome instanceof FailedError)) return void (await outcome.unlock().catch(() => {}));
    return outcome.errors[0].cause.code === 'CLUSTERDOWN';
  }, SETTLED);
  await dead.restart();
  await worksAgain(t, redsync, name, SETTLED);

  await Promise.all(cluster.servers.map((server) => server.kill()));
  for (let round = 0; round < 3; round++) {
    const call = redsync.newMutex(name).lock();
    t.true((await elapsed(call)) < BOUND);
    t.true(DOWN.includes((await causeOf(call)).code));
  }
});

test.serial('any server that is back is found, also if the first one is not', async (t) => {
  const cluster = await useCluster(t, 3, { args: ['--cluster-require-full-coverage', 'no'] });
  const [, ...others] = cluster.servers;
  const redsync = connect(t, cluster.url());
  const name = cluster.nameOn(others[0]);
  await works(t, redsync, name, others[0]);
  await Promise.all(cluster.servers.map((server) => server.kill()));
  // Each has refused a connection once the reason is the same three times.
  for (let round = 0; round < 3;) {
    const { code } = await causeOf(redsync.newMutex(name).lock());
    round = code === 'ECONNREFUSED' ? round + 1 : 0;
  }
  await Promise.all(others.map((server) => server.restart()));
  await cluster.settle(others);
  await worksAgain(t, redsync, name, { timeout: 5000 });
  await works(t, redsync, name, others[0]);
});

for (const [how, stop, start] of [
  ['was killed', (server) => server.kill(), (server) => server.restart()],
  ['hangs', (server) => server.pause(), (server) => server.resume()],
]) {
  test.serial(`the replica of a master that ${how} is followed`, async (t) => {
    const cluster = await useCluster(t);
    const [former] = cluster.servers;
    const replica = await cluster.addReplica(former);
    const redsync = connect(t, cluster.url());
    const name = cluster.nameOn(former);
    await works(t, redsync, name, former);
    await stop(former);
    await worksAgain(t, redsync, name, SETTLED);
    await works(t, redsync, name, replica);

    // A former master that is back sends everybody on to the next one.
    await start(former);
    for (let round = 0; round < 5; round++) await works(t, redsync, name, replica);
    await works(t, connect(t, cluster.url()), name, replica);
  });
}

test.serial('a hand-over to the replica is followed', async (t) => {
  const cluster = await useCluster(t);
  const [former] = cluster.servers;
  const replica = await cluster.addReplica(former);
  const redsync = connect(t, cluster.url(), { tries: 100, retryDelay: 20 });
  const name = cluster.nameOn(former);
  const lock = await redsync.newMutex(name).lock();
  await until(async () => (await replica.command('DBSIZE')) === 1);
  // At once, without the others' votes, for which a slow machine may leave no time.
  await replica.command('CLUSTER', 'FAILOVER', 'TAKEOVER');
  await until(async () => (await former.command('ROLE'))[0] === 'slave', SETTLED);
  t.is(await redsync.newMutex(name).tryLock(), null);
  t.true(await lock.extend());
  t.true(await lock.unlock());
  await works(t, redsync, name, replica);
});

test.serial('a replica that is given as a server sends on to its master', async (t) => {
  const cluster = await useCluster(t, 2);
  const [master] = cluster.servers;
  const replica = await cluster.addReplica(master);
  await works(t, connect(t, cluster.url([replica])), cluster.nameOn(master), master);
});

test.serial('a redirect without a host leads to the host that answered', async (t) => {
  const cluster = await useCluster(t);
  await configure(cluster, 'cluster-preferred-endpoint-type', 'unknown-endpoint');
  const [first, second] = cluster.servers;
  const name = cluster.nameOn(second);
  const told = await rejection(first.command('GET', name));
  t.is(told.message, `MOVED ${slotOf(name)} :${second.port}`);
  await works(t, connect(t, cluster.url([first])), name, second);
});

test.serial('a redirect may name a host', async (t) => {
  const cluster = await useCluster(t);
  await configure(cluster, 'cluster-announce-hostname', 'localhost');
  await configure(cluster, 'cluster-preferred-endpoint-type', 'hostname');
  const [first, second] = cluster.servers;
  const name = cluster.nameOn(second);
  // They have to tell each other first.
  await until(
    async () => /localhost/.test((await rejection(first.command('GET', name))).message),
    SETTLED,
  );
  await works(t, connect(t, cluster.url([first])), name, second);
});

test.serial('rediss+cluster: is TLS to every server', async (t) => {
  const authority = await createAuthority();
  const tls = await authority.issue({ addresses: ['127.0.0.1'] });
  const cluster = await useCluster(t, 2, { tls });
  const url = cluster.url([cluster.servers[0]]).replace('redis+', 'rediss+');
  const redsync = connect(t, { url, tls: { ca: authority.cert } });
  for (const server of cluster.servers) await works(t, redsync, cluster.nameOn(server), server);
  t.is((await causeOf(connect(t, url).newMutex('refused').lock())).code, 'ERR_TLS');

  // Each has its own certificate here, so each has its own pin.
  const [first, second] = cluster.servers;
  const own = await authority.issue({ addresses: ['127.0.0.1'] });
  await second.useCertificate(own);
  const [ofFirst, ofSecond] = [tls.cert, own.cert].map(fingerprintOf);
  const pinned = (fingerprint256) => connect(t, { url, tls: { fingerprint256 } });
  const both = pinned([ofFirst, ofSecond]);
  for (const server of cluster.servers) await works(t, both, cluster.nameOn(server), server);
  const one = pinned(ofFirst);
  await works(t, one, cluster.nameOn(first), first);
  const { code, message } = await causeOf(one.newMutex(cluster.nameOn(second)).lock());
  t.is(code, 'ERR_TLS');
  t.true(message.endsWith(ofSecond), message);

  // Servers are found by their addresses, and have certificates for a name.
  const named = await authority.issue({ names: ['redis.example'] });
  for (const server of cluster.servers) await server.useCertificate(named);
  const servername = 'redis.example';
  const byName = connect(t, { url, tls: { ca: authority.cert, servername } });
  for (const server of cluster.servers) await works(t, byName, cluster.nameOn(server), server);
});

'use strict';

// One row for each fault that a link can see, with a minority and with a majority of the nodes
// affected: the right error in bounded time, nothing left behind, and quick recovery.

const net = require('node:net');
const { once } = require('node:events');

const test = require('ava');

const { FailedError, NodeTakenError, Redsync, RedisError, TakenError } = require('../index.js');
const { delay, elapsed, rejection, until, untilSteady } = require('./helpers/async.js');
const { LOCKING, only, useProxy } = require('./helpers/proxy.js');
const { useServers } = require('./helpers/servers.js');
const { blockSnapshots, letSnapshots } = require('./helpers/snapshots.js');

// Far longer than any test, so that no key goes by itself.
const EXPIRY = 120_000;
const NODE_TIMEOUT = 250;
const OPTIONS = { expiry: EXPIRY, timeoutFactor: NODE_TIMEOUT / EXPIRY, tries: 1 };

// A call takes one node timeout, or two with the release after it. Machines can be slow.
const BOUND = 10 * NODE_TIMEOUT;
const HEALED_WITHIN = 3000;

const SOAK_SECONDS = Number(process.env.REDSYNC_SOAK_SECONDS ?? 5);

const NOBODY = ['127.0.0.1', '1']; // no server listens there

/** A server, behind a proxy if the fault needs one, and the URL to reach it by. */
async function useNodes(t, count, options = {}) {
  const { proxied = false, isRaw, scheme = 'redis', login = '', args, prepare } = options;
  const servers = await useServers(t, count, { args });
  return Promise.all(
    servers.map(async (server) => {
      await prepare?.(server);
      const proxy = proxied ? await useProxy(t, server, { isRaw }) : undefined;
      const url = (proxy ?? server).url.replace('redis://', `${scheme}://${login}`);
      return { server, proxy, url };
    }),
  );
}

function connect(t, nodes, options) {
  const redsync = new Redsync(
    nodes.map(({ url }) => url),
    { ...OPTIONS, ...options },
  );
  t.teardown(() => redsync.close());
  return redsync;
}

/** Waits for a call that must not take long, whatever comes of it. */
async function bounded(t, call) {
  const took = await elapsed(call);
  t.true(took < BOUND, `took ${took} ms`);
  return call;
}

async function isEmpty(nodes) {
  const sizes = await Promise.all(nodes.map(({ server }) => server.command('DBSIZE')));
  return sizes.every((size) => size === 0);
}

/** Waits until a lock is stored on all of these nodes; gives the time it took. */
async function recovery(redsync, nodes) {
  const start = performance.now();
  await until(async () => {
    const lock = await redsync
      .newMutex('recovered')
      .lock()
      .catch(() => null);
    if (!lock) return false;
    const values = await Promise.all(nodes.map(({ server }) => server.command('GET', 'recovered')));
    await lock.unlock().catch(() => {});
    return values.every((value) => value === lock.value);
  });
  return performance.now() - start;
}

async function disconnectOthers(server) {
  await server.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
}

// A cluster's server looks after a slot that is not asked for here.
async function serveSlots(server) {
  await server.command('CLUSTER', 'ADDSLOTS', ...Array.from({ length: 16_384 }, (_, slot) => slot));
  await until(async () => (await server.command('CLUSTER', 'INFO')).includes('cluster_state:ok'));
}

async function allowApp(server) {
  await server.command('ACL', 'SETUSER', 'app', 'on', '>old', '~*', '&*', '+@all');
}

/**
 * `begin` and `end` do it to one node. `code` is what the error of the node comes to; `onTheWay`
 * are codes that it may have before, while the connection is being lost.
 */
const FAULTS = [
  {
    title: 'refuses connections',
    code: 'ECONNREFUSED',
    onTheWay: ['ECONNRESET'],
    proxied: true,
    begin({ proxy }) {
      proxy.refuse();
      proxy.cut();
    },
    end: ({ proxy }) => proxy.heal(),
  },
  {
    title: 'resets every connection',
    code: 'ECONNREFUSED',
    onTheWay: ['ECONNRESET'],
    proxied: true,
    begin({ proxy }) {
      proxy.refuse();
      proxy.reset();
    },
    end: ({ proxy }) => proxy.heal(),
  },
  {
    title: 'resets in the middle of a reply',
    code: 'ECONNRESET',
    proxied: true,
    begin: ({ proxy }) => proxy.cutAfterBytes(1, ([verb]) => LOCKING.includes(verb)),
    end: ({ proxy }) => proxy.heal(),
  },
  {
    title: 'is a black hole',
    code: 'ETIMEDOUT',
    proxied: true,
    begin: ({ proxy }) => proxy.swallow(),
    end: ({ proxy }) => proxy.heal(),
  },
  {
    title: 'hears everything, and is not heard',
    code: 'ETIMEDOUT',
    proxied: true,
    begin: ({ proxy }) => proxy.swallow('replies'),
    end: ({ proxy }) => proxy.heal(),
  },
  {
    title: 'does not hear anything, and what it says would be heard',
    code: 'ETIMEDOUT',
    proxied: true,
    begin: ({ proxy }) => proxy.swallow('commands'),
    end: ({ proxy }) => proxy.heal(),
  },
  {
    title: 'has forgotten the connection (half-open)',
    code: 'ETIMEDOUT',
    proxied: true,
    begin: ({ proxy }) => proxy.lose(),
    end: () => {}, // a new connection is all it takes
  },
  {
    title: 'answers too late',
    code: 'ETIMEDOUT',
    proxied: true,
    begin: ({ proxy }) => proxy.delay(NODE_TIMEOUT),
    end: ({ proxy }) => proxy.heal(),
  },
  {
    title: 'is heard byte by byte',
    code: 'ETIMEDOUT',
    proxied: true,
    isRaw: true,
    begin: ({ proxy }) => proxy.trickle(NODE_TIMEOUT / 10),
    end: ({ proxy }) => proxy.heal(),
  },
  {
    title: 'is stopped (SIGSTOP)',
    code: 'ETIMEDOUT',
    begin: ({ server }) => server.pause(),
    end: ({ server }) => server.resume(),
  },
  {
    title: 'is killed',
    code: 'ECONNREFUSED',
    onTheWay: ['ECONNRESET'],
    begin: ({ server }) => server.kill(),
    end: ({ server }) => server.restart(),
  },
  {
    title: 'has no room for a client (maxclients)',
    code: 'ERR',
    message: /no room for another client \(maxclients\)/,
    onTheWay: ['ECONNRESET'],
    async begin({ server }) {
      await server.command('CONFIG', 'SET', 'maxclients', 1);
      await disconnectOthers(server);
    },
    end: ({ server }) => server.command('CONFIG', 'SET', 'maxclients', 1000),
  },
  {
    title: 'is out of memory',
    code: 'OOM',
    servesHolders: true,
    begin: ({ server }) => server.command('CONFIG', 'SET', 'maxmemory', 1),
    end: ({ server }) => server.command('CONFIG', 'SET', 'maxmemory', 0),
  },
  {
    title: 'cannot save its data (MISCONF)',
    code: 'MISCONF',
    begin: ({ server }) => blockSnapshots(server),
    end: ({ server }) => letSnapshots(server),
  },
  {
    title: 'is loading its data',
    code: 'LOADING',
    proxied: true,
    begin: ({ proxy }) =>
      proxy.answerWith(only(LOCKING, '-LOADING Redis is loading the dataset in memory\r\n')),
    end: ({ proxy }) => proxy.heal(),
  },
  {
    title: 'belongs to a cluster that is down',
    code: 'CLUSTERDOWN',
    scheme: 'redis+cluster',
    args: ['--cluster-enabled', 'yes'],
    prepare: serveSlots,
    begin: ({ server }) => server.command('CLUSTER', 'DELSLOTS', 0),
    end: ({ server }) => server.command('CLUSTER', 'ADDSLOTS', 0),
  },
  {
    title: 'is a replica without its master',
    code: 'MASTERDOWN',
    async begin({ server }) {
      await server.command('CONFIG', 'SET', 'replica-serve-stale-data', 'no');
      await server.command('CONFIG', 'SET', 'replica-read-only', 'no');
      await server.command('REPLICAOF', ...NOBODY);
    },
    end: ({ server }) => server.command('REPLICAOF', 'NO', 'ONE'),
  },
  {
    title: 'has become a replica',
    code: 'READONLY',
    onTheWay: ['ECONNRESET'],
    begin: ({ server }) => server.command('REPLICAOF', ...NOBODY),
    end: ({ server }) => server.command('REPLICAOF', 'NO', 'ONE'),
  },
  {
    title: 'has another password by now',
    code: 'WRONGPASS',
    onTheWay: ['ECONNRESET'],
    login: 'app:old@',
    prepare: allowApp,
    async begin({ server }) {
      await server.command('ACL', 'SETUSER', 'app', 'resetpass', '>new');
      await disconnectOthers(server);
    },
    end: ({ server }) => server.command('ACL', 'SETUSER', 'app', '>old'),
  },
  {
    title: 'wants a password by now',
    code: 'NOAUTH',
    onTheWay: ['ECONNRESET'],
    async begin({ server }) {
      await server.command('CONFIG', 'SET', 'requirepass', 'new');
      await disconnectOthers(server);
    },
    end: ({ server }) => server.command('CONFIG', 'SET', 'requirepass', ''),
  },
  {
    title: 'does not allow the commands any more',
    code: 'NOPERM',
    message: /\bSET was refused: NOPERM/,
    login: 'app:old@',
    prepare: allowApp,
    begin: ({ server }) => server.command('ACL', 'SETUSER', 'app', '-@string', '-@scripting'),
    end: ({ server }) => server.command('ACL', 'SETUSER', 'app', '+@string', '+@scripting'),
  },
];

/** Every error of these nodes is the fault's, and no other node has one. */
function isTheFaults(t, fault, error, sick, nodes) {
  const failed = error.errors.filter((each) => !(each instanceof NodeTakenError));
  t.deepEqual(
    failed.map(({ node }) => node),
    sick,
  );
  for (const each of failed) {
    t.true(each instanceof RedisError, each.stack);
    t.is(each.code, 'ERR_REDIS');
    t.true(each.cause instanceof Error);
    t.true([fault.code, ...(fault.onTheWay ?? [])].includes(each.cause.code), each.message);
    t.true(each.message.includes(`:${new URL(nodes[each.node].url).port})`), each.message);
    t.true(error.message.includes(each.message));
  }
  return failed.every(({ cause }) => cause.code === fault.code);
}

for (const fault of FAULTS) {
  for (const [sick, well] of [
    [[1], [0, 2]],
    [[0, 2], [1]],
  ]) {
    test.serial(`a node ${fault.title}, ${sick.length} of 3`, async (t) => {
      const nodes = await useNodes(t, 3, fault);
      const redsync = connect(t, nodes);
      await redsync.ready();
      const held = await redsync.newMutex('held').lock();
      const lastHeld = await redsync.newMutex('held to the end').lock();
      await Promise.all(sick.map((i) => fault.begin(nodes[i])));

      // A healthy node that is taken makes every attempt fail, so that its errors can be seen.
      await nodes[well[0]].server.command('SET', 'witness', 'foreign');
      let witnessed;
      await until(async () => {
        witnessed = await rejection(bounded(t, redsync.newMutex('witness').lock()));
        t.is(witnessed.constructor, FailedError);
        return isTheFaults(t, fault, witnessed, sick, nodes);
      });
      if (fault.message) t.regex(witnessed.message, fault.message);

      const isQuorum = sick.length === 1;
      for (let round = 0; round < 3; round++) {
        const call = bounded(t, redsync.newMutex(`round ${round}`).lock());
        if (isQuorum) {
          const lock = await call;
          t.true(await bounded(t, lock.extend()));
          t.true(await bounded(t, lock.mutex.valid()));
          t.true(await bounded(t, lock.unlock()));
        } else {
          const error = await rejection(call);
          t.is(error.code, 'ERR_LOCK_FAILED');
          isTheFaults(t, fault, error, sick, nodes);
        }
      }
      if (isQuorum || fault.servesHolders) {
        t.true(await bounded(t, held.extend()));
        t.true(await bounded(t, held.unlock()));
      } else {
        const extended = await rejection(bounded(t, held.extend()));
        t.is(extended.code, 'ERR_EXTEND_FAILED');
        isTheFaults(t, fault, extended, sick, nodes);
        const unlocked = await rejection(bounded(t, held.unlock()));
        t.is(unlocked.code, 'ERR_LOCK_FAILED');
        isTheFaults(t, fault, unlocked, sick, nodes);
      }

      await Promise.all(sick.map((i) => fault.end(nodes[i])));
      const took = await recovery(redsync, nodes);
      t.true(took < HEALED_WITHIN, `recovered after ${took} ms`);
      t.log(`recovered after ${Math.round(took)} ms`);
      const health = await redsync.health();
      t.deepEqual(
        health.map(({ status }) => status),
        ['up', 'up', 'up'],
      );

      await lastHeld.unlock().catch(() => {}); // there is no quorum of it where data was lost
      await nodes[well[0]].server.command('DEL', 'witness');
      await untilSteady(() => isEmpty(nodes), { period: 300 });
    });
  }
}

test.serial('a node with the key in another type counts as taken', async (t) => {
  for (const [sick, well] of [
    [[1], [0, 2]],
    [[0, 2], [1]],
  ]) {
    const nodes = await useNodes(t, 3);
    const redsync = connect(t, nodes);
    for (const i of sick) await nodes[i].server.command('RPUSH', 'list', 'item');
    if (sick.length === 1) {
      const lock = await redsync.newMutex('list').lock();
      t.true(await lock.extend());
      t.true(await lock.unlock());
    } else {
      const error = await rejection(redsync.newMutex('list').lock());
      t.true(error instanceof TakenError);
      t.deepEqual(error.nodes, sick);
      const mutex = redsync.newMutex('list', { value: 'mine', setNXOnExtend: true });
      const refused = await rejection(mutex.unlock());
      t.deepEqual(
        refused.errors
          .filter((each) => each instanceof RedisError && each.cause.code === 'WRONGTYPE')
          .map(({ node }) => node),
        sick,
      );
      t.is((await rejection(mutex.extend())).code, 'ERR_EXTEND_FAILED');
    }
    for (const i of sick) {
      t.deepEqual(await nodes[i].server.command('LRANGE', 'list', 0, -1), ['item']);
      t.is(await nodes[i].server.command('PTTL', 'list'), -1);
      await nodes[i].server.command('DEL', 'list');
    }
    for (const i of well) t.is(await nodes[i].server.command('EXISTS', 'list'), 0);
  }
});

// A proxy may have lost its server after the SET: only what a server says instead of running it counts.
for (const words of ['ERR Connection timed out', 'upstream failure']) {
  test.serial(`a SET that was refused by "${words}" is released all the same`, async (t) => {
    const [node] = await useNodes(t, 1, { proxied: true });
    const redsync = connect(t, [node]);
    await redsync.ready();
    node.proxy.answerWith(([verb, ...operands]) => {
      if (verb !== 'SET') return undefined;
      node.server.command(verb, ...operands).then(() => node.proxy.forge(`-${words}\r\n`));
      return '';
    });
    const error = await rejection(redsync.newMutex('name').lock());
    t.is(error.errors[0].cause.code, 'ERR');
    await untilSteady(() => isEmpty([node]), { timeout: 2000 });
  });
}

test.serial('a node that forgets its scripts in the middle of a burst costs nothing', async (t) => {
  for (const sick of [[1], [0, 2]]) {
    const nodes = await useNodes(t, 3);
    const redsync = connect(t, nodes, { timeoutFactor: 0.5 });
    await (await redsync.newMutex('warm-up').lock()).unlock();
    const names = Array.from({ length: 300 }, (_, i) => `burst ${i}`);
    const locks = await Promise.all(names.map((name) => redsync.newMutex(name).lock()));
    const flushing = sick.map((i) => nodes[i].server.command('SCRIPT', 'FLUSH'));
    const unlocked = await Promise.all(
      locks.map(async (lock) => {
        await lock.extend();
        return lock.unlock();
      }),
    );
    await Promise.all(flushing);
    t.true(unlocked.every((each) => each === true));
    t.true(await isEmpty(nodes));
  }
});

// The address may lead to the new master by now.
test.serial('a link connects again when its server has become a replica', async (t) => {
  const [node] = await useNodes(t, 1, { proxied: true });
  const redsync = connect(t, [node]);
  await (await redsync.newMutex('name').lock()).unlock();
  const before = node.proxy.accepted;
  await node.server.command('REPLICAOF', ...NOBODY);
  const error = await rejection(redsync.newMutex('name').lock());
  t.is(error.errors[0].cause.code, 'READONLY');
  await until(() => node.proxy.accepted > before);
  const [replica, master] = [node.proxy.server, (await useServers(t, 1))[0]];
  node.proxy.server = master;
  await until(async () => {
    const lock = await redsync
      .newMutex('name')
      .lock()
      .catch(() => null);
    return lock && (await master.command('GET', 'name')) === lock.value;
  });
  t.is(await replica.command('EXISTS', 'name'), 0);
});

test.serial('a node that hangs costs one call its timeout, and later ones nothing', async (t) => {
  const nodes = await useNodes(t, 3);
  const timeout = 1500;
  const redsync = connect(t, nodes, { timeoutFactor: timeout / EXPIRY });
  const cycle = async () => {
    const call = redsync.newMutex('name').lock();
    const took = await elapsed(call);
    await (await call).unlock();
    await delay(2);
    return took;
  };
  await redsync.ready();
  const healthy = [];
  for (let i = 0; i < 200; i++) healthy.push(await cycle());
  nodes[1].server.pause();
  t.true((await cycle()) >= timeout - 1);
  // Long enough to see the link being given up, and connecting again fail, all behind these calls.
  const hung = [];
  const deadline = performance.now() + 4500;
  while (performance.now() < deadline) hung.push(await cycle());
  t.true(Math.max(...hung) < timeout / 2, `took ${Math.max(...hung)} ms`);
  const median = (times) => times.sort((a, b) => a - b)[Math.floor(times.length / 2)].toFixed(3);
  t.log(`median of lock(): ${median(healthy)} ms healthy, ${median(hung)} ms with 1 of 3 hung`);
  nodes[1].server.resume();
  await untilSteady(() => isEmpty(nodes), { period: 300 });
});

// Before its link is given up, which takes two seconds.
test.serial('a server that owes an answer is not waited for again', async (t) => {
  const nodes = await useNodes(t, 3);
  const timeout = 600;
  const redsync = connect(t, nodes, { timeoutFactor: timeout / EXPIRY });
  await redsync.ready();
  nodes[1].server.pause();
  const lock = await redsync.newMutex('name').lock();
  for (const call of [() => lock.extend(), () => lock.mutex.valid(), () => lock.unlock()]) {
    const took = await elapsed(call());
    t.true(took < timeout / 2, `took ${took} ms`);
  }
  nodes[1].server.resume();
  await untilSteady(() => isEmpty(nodes), { period: 300 });
});

// Closed otherwise, what is still in the network would arrive behind the release on the next link.
test.serial('a link that is owed an answer is ended by a reset', async (t) => {
  const [{ server }] = await useNodes(t, 1);
  const ends = [];
  const listener = net
    .createServer((client) => {
      const upstream = net.connect(server.port, '127.0.0.1').on('error', () => {});
      client.on('close', () => upstream.destroy());
      client.on('data', (bytes) => {
        if (!bytes.includes('$3\r\nSET\r\n')) upstream.write(bytes);
      });
      upstream.pipe(client);
      client.on('error', ({ code }) => ends.push(code));
      client.on('end', () => ends.push('end'));
    })
    .listen(0, '127.0.0.1');
  await once(listener, 'listening');
  t.teardown(() => listener.close());
  const redsync = connect(t, [{ url: `redis://127.0.0.1:${listener.address().port}` }]);
  await redsync.ready();
  t.is((await rejection(redsync.newMutex('name').lock())).errors[0].cause.code, 'ETIMEDOUT');
  await until(() => ends.length > 0);
  t.is(ends[0], 'ECONNRESET');
});

test.serial('a server that cannot say how a key is does not make it free', async (t) => {
  const [node] = await useNodes(t, 1, { proxied: true });
  await node.server.command('SET', 'name', 'foreign');
  const redsync = connect(t, [node], { tries: 3, retryDelay: 300 });
  await redsync.ready();
  const asked = { SET: 0, PTTL: 0 };
  node.proxy.answerWith(([verb]) => {
    if (verb in asked) asked[verb]++;
    return verb === 'PTTL' ? '-LOADING Redis is loading the dataset in memory\r\n' : undefined;
  });
  t.true((await rejection(redsync.newMutex('name').lock())) instanceof TakenError);
  t.true(asked.PTTL > 0);
  t.is(asked.SET, 3);
});

test.serial('lock() gives up after its tries, each of one node timeout at most', async (t) => {
  const nodes = await useNodes(t, 3);
  const redsync = connect(t, nodes);
  await redsync.ready();
  for (const i of [0, 2]) nodes[i].server.pause();
  const tries = 3;
  const retryDelay = 10;
  for (const name of ['first', 'second']) {
    const call = redsync.newMutex(name, { tries, retryDelay }).lock();
    const took = await elapsed(call);
    const error = await rejection(call);
    t.is(error.constructor, FailedError);
    t.is(error.attempts, tries);
    t.deepEqual(
      error.errors.map(({ node }) => node),
      [0, 2],
    );
    t.true(error.errors.every(({ cause }) => cause.code === 'ETIMEDOUT'));
    // The timers of a slow machine may add to it, as another half.
    t.true(took < 1.5 * tries * (NODE_TIMEOUT + retryDelay), `took ${took} ms`);
    t.log(`${name}: ${Math.round(took)} ms`);
  }
  for (const i of [0, 2]) nodes[i].server.resume();
  await untilSteady(() => isEmpty(nodes), { period: 300 });
});

/** How many SETs a server has run. */
async function setsOn(server) {
  const stats = await server.command('INFO', 'commandstats');
  return Number(/^cmdstat_set:calls=(\d+)/m.exec(stats)?.[1] ?? 0);
}

test.serial('a SET that arrives after its time leaves no key', async (t) => {
  const [node] = await useNodes(t, 1, { proxied: true });
  const redsync = connect(t, [node]);
  await redsync.ready();
  for (let round = 1; round <= 20; round++) {
    await recovery(redsync, [node]);
    const sets = await setsOn(node.server);
    node.proxy.swallow();
    const error = await rejection(bounded(t, redsync.newMutex('late').lock()));
    t.is(error.errors[0].cause.code, 'ETIMEDOUT');
    t.is(await setsOn(node.server), sets);
    await node.proxy.heal();
    await until(async () => (await setsOn(node.server)) > sets);
    await untilSteady(() => isEmpty([node]), { period: 30 });
  }
  await untilSteady(() => isEmpty([node]), { period: 300 });
});

test.serial('nor does one that arrives after its connection was given up', async (t) => {
  const [node] = await useNodes(t, 1, { proxied: true });
  const redsync = connect(t, [node]);
  await redsync.ready();
  for (let round = 1; round <= 2; round++) {
    await recovery(redsync, [node]);
    const sets = await setsOn(node.server);
    const before = node.proxy.accepted;
    node.proxy.swallow();
    await rejection(bounded(t, redsync.newMutex('late').lock()));
    await until(() => node.proxy.accepted > before);
    t.is(await setsOn(node.server), sets);
    await node.proxy.heal();
    await until(async () => (await setsOn(node.server)) > sets);
    await untilSteady(() => isEmpty([node]), { period: 300 });
  }
});

test.serial(
  `nodes that die and come back in turn for ${SOAK_SECONDS} s leave no stuck call`,
  async (t) => {
    t.timeout(SOAK_SECONDS * 1000 + 120_000);
    const nodes = await useNodes(t, 3);
    const redsync = connect(t, nodes, { tries: 3, retryDelay: 20 });
    await redsync.ready();
    const counts = { locked: 0, failed: 0, slowest: 0 };
    const watched = async (call) => {
      const start = performance.now();
      const outcome = await call.catch((error) => {
        if (!(error instanceof FailedError)) throw error;
        counts.failed++;
      });
      counts.slowest = Math.max(counts.slowest, performance.now() - start);
      return outcome;
    };
    let isOver = false;
    const load = async (_, worker) => {
      for (let round = 0; !isOver; round++) {
        const name = worker < 8 ? `shared ${round % 3}` : `own ${worker}`;
        const lock = await watched(redsync.newMutex(name).lock());
        if (!lock) continue;
        counts.locked++;
        if (round % 2 === 0) await watched(lock.extend());
        await watched(lock.unlock());
      }
    };
    const workers = Promise.all(Array.from({ length: 16 }, load));
    const deadline = performance.now() + SOAK_SECONDS * 1000;
    let deaths = 0;
    while (performance.now() < deadline) {
      const { server } = nodes[deaths++ % nodes.length];
      await server.kill();
      await Promise.race([delay(150), workers]);
      await server.restart();
      await Promise.race([delay(350), workers]);
    }
    isOver = true;
    const stuck = AbortSignal.timeout(10_000);
    await Promise.race([workers, once(stuck, 'abort').then(() => t.fail('a call is stuck'))]);
    t.log(`${deaths} deaths: ${JSON.stringify(counts)}`);
    t.true(counts.locked > 100);
    t.true(counts.slowest < BOUND + 3 * NODE_TIMEOUT, `the slowest call took ${counts.slowest} ms`);
    await recovery(redsync, nodes);
    await untilSteady(() => isEmpty(nodes), { period: 300 });
  },
);

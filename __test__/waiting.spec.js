'use strict';

const test = require('ava');

const { ClosedError, Redsync, TakenError } = require('../index.js');
const { delay, rejection, until, untilSteady } = require('./helpers/async.js');
const { useCluster } = require('./helpers/cluster.js');
const { startProcess } = require('./helpers/processes.js');
const { useProxy } = require('./helpers/proxy.js');
const { useSentinels } = require('./helpers/sentinels.js');
const { monitor, useServers } = require('./helpers/servers.js');

const LONG = 600_000;

// A schedule that plays no part: whoever is woken is woken by notice.
const PATIENT = { expiry: LONG, retryDelay: LONG, timeoutFactor: 0.01 };

function connect(t, servers, options) {
  const redsync = new Redsync(
    servers.map(({ url }) => url),
    { ...PATIENT, ...options },
  );
  t.teardown(() => redsync.close());
  return redsync;
}

const plant = (servers, name, ttl = LONG) =>
  Promise.all(servers.map((server) => server.command('SET', name, 'foreign', 'PX', ttl)));
const wipe = (servers, name) => Promise.all(servers.map((server) => server.command('DEL', name)));
const areFree = async (servers, name) => {
  const counts = await Promise.all(servers.map((server) => server.command('EXISTS', name)));
  return counts.every((count) => count === 0);
};

/** The connections on which a server tells of changes, by their ids. */
async function watchers(server) {
  const list = await server.command('CLIENT', 'LIST');
  const lines = list.split('\n').filter((line) => / flags=\S*t/.test(line));
  return lines.map((line) => /\bid=(\d+)/.exec(line)[1]);
}

/** Resolves when the servers have been asked to tell of the key that a call waits for. */
function areWatching(servers, count = Math.floor(servers.length / 2) + 1) {
  return until(async () => {
    const all = await Promise.all(
      servers.map(async (server) => {
        const info = await server.command('INFO', 'stats');
        return Number(/tracking_total_keys:(\d+)/.exec(info)[1]) > 0;
      }),
    );
    return all.filter(Boolean).length >= count;
  });
}

for (const size of [1, 3, 5]) {
  test(`a waiting call gets what is deleted, released elsewhere, or expires [${size}]`, async (t) => {
    const servers = await useServers(t, size);
    const [holder, waiter] = [connect(t, servers), connect(t, servers)];

    await plant(servers, 'deleted');
    const deleted = waiter.acquire('deleted');
    await areWatching(servers);
    await wipe(servers, 'deleted');
    await (await deleted).unlock();

    await plant(servers, 'expires', 300);
    await (await waiter.acquire('expires')).unlock();

    const held = await holder.acquire('released');
    const released = waiter.acquire('released');
    await held.unlock();
    await (await released).unlock();

    const elsewhere = startProcess(
      {},
      async (file, urls) => {
        const { Redsync } = require(file);
        const redsync = new Redsync(urls, { expiry: 60_000 });
        const lock = await redsync.acquire('elsewhere');
        console.log('held');
        process.stdin.once('data', () => {});
        setTimeout(async () => {
          await lock.unlock();
          await redsync.close();
          console.log('released');
        }, 200);
      },
      servers.map(({ url }) => url),
    );
    await elsewhere.says('held');
    const lock = await waiter.acquire('elsewhere');
    t.true(lock.remaining > 0);
    await lock.unlock();
    await elsewhere.ended;
    for (const name of ['deleted', 'expires', 'released', 'elsewhere']) {
      t.true(await areFree(servers, name), name);
    }
  });
}

test('several names, all of which have to be free', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, servers);
  await plant(servers, 'a');
  await plant(servers, 'b');
  let isHeld = false;
  const waiting = redsync.acquire(['a', 'b']).then((lock) => {
    isHeld = true;
    return lock;
  });
  await areWatching(servers);
  await wipe(servers, 'a');
  await untilSteady(() => !isHeld);
  await wipe(servers, 'b');
  await (await waiting).unlock();
  t.pass();
});

test('an extension wakes nobody for good, and a flush wakes everybody', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, servers);
  await plant(servers, 'name');
  const waiting = redsync.acquire('name');
  await areWatching(servers);
  for (const server of servers) await server.command('PEXPIRE', 'name', LONG);
  await areWatching(servers);
  for (const server of servers) await server.command('FLUSHALL');
  await (await waiting).unlock();
  t.pass();
});

test('a watch that is cut is made again, and what was missed is made up for', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, servers);
  await plant(servers, 'name');
  const waiting = redsync.acquire('name');
  await areWatching(servers);
  const ids = await Promise.all(servers.map(watchers));
  t.true(ids.flat().length >= 2);
  // Cut and released in one go, so that no notice can get through.
  await Promise.all(
    servers.map(async (server, i) => {
      if (ids[i].length > 0) await server.command('CLIENT', 'KILL', 'ID', ids[i][0]);
      await server.command('DEL', 'name');
    }),
  );
  await (await waiting).unlock();

  // Made again: the next one is told.
  await plant(servers, 'name');
  const next = redsync.acquire('name');
  await until(async () => (await Promise.all(servers.map(watchers))).flat().length >= 2);
  await areWatching(servers);
  await wipe(servers, 'name');
  await (await next).unlock();
});

test('without permission to watch there is the schedule, and health() shows it', async (t) => {
  const servers = await useServers(t, 3);
  const refusals = ['-client', '-pttl', '-client|tracking'];
  for (const [i, server] of servers.entries()) {
    await server.command('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '+@all', refusals[i]);
  }
  const urls = servers.map(({ url }) => url.replace('//', '//app:secret@'));
  const redsync = new Redsync(urls, { retryDelay: 20, tries: Infinity });
  t.teardown(() => redsync.close());
  await plant(servers, 'name');
  const waiting = redsync.acquire('name');
  await until(async () => {
    const health = await redsync.health();
    return health.every(({ status, watching }) => status === 'up' && watching === false);
  });
  await wipe(servers, 'name');
  const lock = await waiting;
  await lock.unlock();

  const [allowed] = await connect(t, servers.slice(0, 1)).health();
  t.is(allowed.watching, true);
  t.is(allowed.error, undefined);
});

test('memory nodes have their own notice', async (t) => {
  const options = { ...PATIENT };
  const [holder, waiter] = [1, 2].map(() => new Redsync('memory:waiting-spec', options));
  t.teardown(() => Promise.all([holder.close(), waiter.close()]));
  const lock = await holder.acquire('name');
  const waiting = waiter.acquire('name');
  await lock.unlock();
  await (await waiting).unlock();
  t.is((await waiter.health())[0].watching, true);
});

test('first come, first served, through whichever Redsync of the process', async (t) => {
  const servers = await useServers(t, 3);
  const all = [1, 2, 3].map(() => connect(t, servers));
  await plant(servers, 'name');
  const order = [];
  const calls = [];
  for (let i = 0; i < 30; i++) {
    calls.push(
      all[i % 3].acquire('name').then(async (lock) => {
        order.push(i);
        await lock.unlock();
      }),
    );
    await new Promise(setImmediate);
  }
  await areWatching(servers);
  await wipe(servers, 'name');
  await Promise.all(calls);
  t.deepEqual(
    order,
    Array.from({ length: 30 }, (_, i) => i),
  );
});

test('a thousand who wait ask no more than one', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, servers, { retryDelay: undefined, tries: Infinity });
  await plant(servers, 'name');
  const controller = new AbortController();
  const { signal } = controller;
  const calls = Array.from({ length: 1000 }, () => rejection(redsync.acquire('name', { signal })));
  await areWatching(servers);
  const monitors = await Promise.all(servers.map((server) => monitor(t, server)));
  await delay(2000);
  const commands = (await Promise.all(monitors.map(({ settle }) => settle()))).flat();
  const own = commands.filter(([verb]) => !['INFO', 'ECHO', 'CLIENT'].includes(verb.toUpperCase()));
  // One call makes 7 attempts a second, with one command while it is told that nothing changes.
  t.true(own.length < 60, `${own.length} commands`);
  controller.abort(new Error('enough'));
  for (const reason of await Promise.all(calls)) t.is(reason.message, 'enough');
  t.is(await servers[0].command('GET', 'name'), 'foreign');
});

test('a signal takes a call out of the line at once, and close() all of them', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, servers);
  await plant(servers, 'name');
  const aborts = [1, 2, 3].map(() => new AbortController());
  const calls = aborts.map(({ signal }) => redsync.acquire('name', { signal }));
  const rest = [redsync.acquire('name'), redsync.acquire('name')];
  const ends = [...calls, ...rest].map((call) => rejection(call));
  await areWatching(servers);
  for (const i of [1, 0]) {
    aborts[i].abort(`reason ${i}`);
    t.is(await ends[i], `reason ${i}`);
  }
  const other = connect(t, servers);
  const waiting = other.acquire('name');
  await redsync.close();
  for (const end of [ends[2], ends[3], ends[4]]) t.true((await end) instanceof ClosedError);
  await wipe(servers, 'name');
  await (await waiting).unlock();
  await untilSteady(() => areFree(servers, 'name'));
});

test('the schedule ends a call, first in line or not, with what the nodes said', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, servers);
  await plant(servers, 'name');
  const options = { retryDelay: 50, tries: 3 };
  const errors = await Promise.all(
    [1, 2, 3].map(() => rejection(redsync.acquire('name', options))),
  );
  for (const error of errors) {
    t.true(error instanceof TakenError);
    t.is(error.attempts, 3);
    t.deepEqual(error.nodes, [0, 1, 2]);
  }
  t.is(await redsync.newMutex('name').tryLock(), null);
});

test('behind sentinels and in a cluster the right server is watched', async (t) => {
  const [cluster, sentinels] = await Promise.all([useCluster(t), useSentinels(t)]);
  for (const [url, server] of [
    [cluster.url(), cluster.ownerOf('name')],
    [sentinels.url(), await sentinels.master()],
  ]) {
    const redsync = new Redsync(url, PATIENT);
    t.teardown(() => redsync.close());
    await plant([server], 'name');
    const waiting = redsync.acquire('name');
    await areWatching([server]);
    await wipe([server], 'name');
    await (await waiting).unlock();
  }
  t.pass();
});

test('a server that floods or lies on the watch costs no more than the watch', async (t) => {
  const [server] = await useServers(t, 1);
  const proxy = await useProxy(t, server);
  for (const lie of [
    ':1\r\n:1\r\n',
    '>2\r\n$10\r\ninvalidate\r\n*1\r\n:1\r\n',
    '>2\r\n$10\r\ninvalidate\r\n*100000\r\n',
    `>1\r\n$${2 ** 31}\r\n`,
    '$3\r\nfoo\r\n',
    '-ERR no\r\n',
  ]) {
    await proxy.heal();
    proxy.answerWith(([verb]) => (verb === 'PTTL' ? lie : undefined));
    const redsync = new Redsync(proxy.url, { retryDelay: 20, tries: Infinity });
    await plant([server], 'name');
    const waiting = redsync.acquire('name');
    await delay(100);
    await wipe([server], 'name');
    await (await waiting).unlock();
    await redsync.close();
  }
  t.pass();
});

/** Lets several processes contend for a while, and gives the turns of each process and waiter. */
async function contend(t, servers, { processes, waiters, duration, options }) {
  const urls = servers.map(({ url }) => url);
  const all = Array.from({ length: processes }, () =>
    startProcess(
      {},
      async (file, ...args) => {
        const [urls, waiters, duration, options] = args;
        const { Redsync } = require(file);
        const redsync = new Redsync(urls, options);
        await redsync.ready();
        console.log('ready');
        const turns = Array(waiters).fill(0);
        const end = Date.now() + duration;
        await Promise.all(
          turns.map(async (_, i) => {
            while (Date.now() < end) {
              const lock = await redsync.acquire('contended');
              turns[i]++;
              await new Promise((resolve) => setTimeout(resolve, 1));
              await lock.unlock();
            }
          }),
        );
        await redsync.close();
        console.log(JSON.stringify(turns));
      },
      urls,
      waiters,
      duration,
      options,
    ),
  );
  const outputs = await Promise.all(all.map(({ ended }) => ended));
  return outputs.map(({ stdout, stderr }) => {
    t.is(stderr, '');
    return JSON.parse(stdout.split('\n').at(-1));
  });
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

for (const [size, shufflePools] of [
  [3, false],
  [5, true],
  [7, true],
]) {
  test.serial(`processes that contend over ${size} nodes all get their turns`, async (t) => {
    const servers = await useServers(t, size);
    const options = { shufflePools, timeoutFactor: 0.5 };
    const turns = await contend(t, servers, { processes: 3, waiters: 3, duration: 4000, options });
    const own = turns.map(sum);
    // With split votes it was a handful. How fast it is tells the benchmark.
    t.true(sum(own) > 100, `${own}`);
    for (const each of own) t.true(each >= sum(own) / 3 / 4, `${own}`);
    for (const waiters of turns) {
      for (const each of waiters) t.true(each >= sum(waiters) / 3 / 2, JSON.stringify(turns));
    }
    await untilSteady(() => areFree(servers, 'contended'));
  });
}

'use strict';

// Who holds what: names that are locked on a quorum of nodes, of every kind of node, found without a word of theirs.

const fs = require('node:fs');
const path = require('node:path');

const test = require('ava');

const { ClosedError, FailedError, Redsync } = require('../index.js');
const { literal, matcher } = require('../lib/glob.js');
const { rejection, until } = require('./helpers/async.js');
const { overBackends } = require('./helpers/backends.js');
const { CLUSTER_CLIENTS } = require('./helpers/clients.js');
const { useCluster } = require('./helpers/cluster.js');
const { useSentinels } = require('./helpers/sentinels.js');
const { deadUrl, useServers } = require('./helpers/servers.js');

const eachBackend = overBackends(test, { sizes: [1, 3] });

const OPTIONS = { expiry: 30_000, timeoutFactor: 0.05 };
const LONG = 60_000;

// The rights that people copy are those that are tested.
const OPERATIONS = fs.readFileSync(path.join(__dirname, '..', 'docs', 'operations.md'), 'utf8');
const LISTS = /^\| `([^`]+)` \| `list\(\)`/m.exec(OPERATIONS)[1].split(' ');

/** A slow machine must not look like a slow node. */
const PATIENT = { timeout: 60_000 };

function connect(t, nodes, options) {
  const redsync = new Redsync(nodes, { ...OPTIONS, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

const urls = (servers) => servers.map(({ url }) => url);

/** The names and kinds. */
async function kinds(redsync, pattern, options) {
  const all = await redsync.list(pattern, { ...PATIENT, ...options });
  return all.map(({ name, kind }) => [name, kind]);
}

async function plant(servers, key, value = 'foreign', ttl = LONG) {
  await Promise.all(servers.map((server) => server.command('SET', key, value, 'PX', ttl)));
}

/** Fills a server with keys that are not asked for one by one. */
async function fill(server, count, body) {
  const script = `for i = 1, ${count} do ${body} end`;
  await server.command('EVAL', script, 0);
}

eachBackend('tells names, kinds and owners of what a quorum stores', async (t, backend) => {
  const base = backend.name();
  const redsync = backend.connect(t, { ...OPTIONS, owner: 'billing/7', keyPrefix: `${base}:` });
  const before = Date.now();
  const lock = await redsync.acquire('invoice é"\n');
  const permits = [];
  for (let i = 0; i < 3; i++) permits.push(await redsync.newSemaphore('reports', 3).tryLock());
  await redsync.newReadWriteLock('catalogue').read.lock();
  await redsync.newReadWriteLock('prices').write.lock();
  await backend.plantEverywhere(`${base}:foreign`);

  const found = await redsync.list(undefined, PATIENT);
  t.deepEqual(
    found.map(({ name, kind, owners }) => [name, kind, owners.length]),
    [
      ['catalogue', 'read', 1],
      ['foreign', 'mutex', 1],
      ['invoice é"\n', 'mutex', 1],
      ['prices', 'mutex', 1],
      ['reports', 'semaphore', 3],
    ],
  );
  t.is(found.incomplete, undefined);

  // Of what the last node has not answered yet it tells nothing.
  await until(
    async () => (await redsync.list('invoice*'))[0].owners[0].nodes.length === backend.size,
  );
  const [{ owners }] = await redsync.list('invoice*');
  const [{ owner, since, remaining, nodes }] = owners;
  t.is(owner, 'billing/7');
  t.true(since.getTime() >= before - 1 && since.getTime() <= Date.now() + 1);
  t.true(remaining > 0 && remaining <= OPTIONS.expiry);
  t.deepEqual(nodes, backend.indices);
  t.deepEqual(
    found.find(({ name }) => name === 'reports').owners.map((each) => each.owner),
    ['billing/7', 'billing/7', 'billing/7'],
  );

  t.true(await lock.unlock());
  for (const permit of permits) t.true(await permit.unlock());
  t.deepEqual(await kinds(redsync), [
    ['catalogue', 'read'],
    ['foreign', 'mutex'],
    ['prices', 'mutex'],
  ]);
});

eachBackend('a pattern is about names, and a prefix no pattern', async (t, backend) => {
  const base = backend.name();
  const redsync = backend.connect(t, { ...OPTIONS, keyPrefix: `${base}[a]*?\\:` });
  for (const name of ['job:1', 'job:2', 'job:10', 'other', '[x]']) await redsync.acquire(name);
  // What the prefix would match, were it a pattern.
  await backend.plantEverywhere(`${base}a-b:job:3`);
  const names = async (pattern) => (await redsync.list(pattern, PATIENT)).map(({ name }) => name);
  t.deepEqual(await names(), ['[x]', 'job:1', 'job:10', 'job:2', 'other']);
  t.deepEqual(await names('job:*'), ['job:1', 'job:10', 'job:2']);
  t.deepEqual(await names('job:?'), ['job:1', 'job:2']);
  t.deepEqual(await names('*[12]'), ['job:1', 'job:2']);
  t.deepEqual(await names('\\[x\\]'), ['[x]']);
  t.deepEqual(await names('job:1'), ['job:1']);
  t.deepEqual(await names('job'), []);
});

eachBackend(
  'what stands beside a name is no lock, whatever a lock is called',
  async (t, backend) => {
    const redsync = backend.connect(t, { ...OPTIONS, keyPrefix: backend.name() });
    await redsync.acquire('job', { fencing: true });
    const { read, write } = redsync.newReadWriteLock('doc', { tries: 1 });
    await read.lock();
    await rejection(write.lock()); // may leave its sign
    const stop = new AbortController();
    const waiting = redsync
      .newMutex('doc', { mode: 'write', wait: LONG })
      .lock({ signal: stop.signal });
    await redsync.acquire('my:fence');
    await redsync.acquire('my:sign');
    await redsync.acquire('my:permit:2');
    await redsync.acquire('my:readers');
    t.deepEqual(await kinds(redsync), [
      ['doc', 'read'],
      ['job', 'mutex'],
      ['my:fence', 'mutex'],
      ['my:permit:2', 'mutex'],
      ['my:readers', 'mutex'],
      ['my:sign', 'mutex'],
    ]);
    stop.abort();
    await rejection(waiting);
  },
);

eachBackend(
  'a minority is not told, and nobody’s majority is unknown',
  async (t, backend) => {
    const base = backend.name();
    const redsync = backend.connect(t, { ...OPTIONS, keyPrefix: base });
    await backend.plant(0, `${base}minority`);
    await backend.plant(0, `${base}split`, 'one');
    await backend.plant(1, `${base}split`, 'two');
    await backend.plant(1, `${base}quorum`, 'one', LONG);
    await backend.plant(2, `${base}quorum`, 'one', LONG / 2);
    const found = await redsync.list('*', PATIENT);
    t.deepEqual(
      found.map(({ name, kind, owners }) => [name, kind, owners.map(({ nodes }) => nodes)]),
      [
        ['quorum', 'mutex', [[1, 2]]],
        ['split', 'unknown', [[0], [1]]],
      ],
    );
    const [{ remaining }] = found[0].owners;
    t.true(remaining <= LONG / 2, 'until a quorum stores it no more');
  },
  ({ size }) => size === 3,
);

test.serial('one node of three may be down, and two may not', async (t) => {
  const servers = await useServers(t, 2);
  const redsync = connect(t, [...urls(servers), await deadUrl()]);
  await redsync.acquire('job');
  const found = await redsync.list('*', PATIENT);
  t.deepEqual(
    found.map(({ name, owners }) => [name, owners[0].nodes]),
    [['job', [0, 1]]],
  );
  t.is(found.incomplete, undefined);

  const most = connect(t, [servers[0].url, await deadUrl(), await deadUrl()]);
  const error = await rejection(most.list('*', PATIENT));
  t.true(error instanceof FailedError);
  t.regex(error.message, /^no quorum of 2 of 3 nodes \(node 1 .*: connection refused; node 2 /);
  t.deepEqual(
    error.errors.map(({ node }) => node),
    [1, 2],
  );
});

test.serial('a node that hangs is waited for once', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, urls(servers));
  for (let i = 0; i < 200; i++) await redsync.acquire(`job:${i}`);
  process.kill(servers[2].pid, 'SIGSTOP');
  const start = Date.now();
  const found = await redsync.list('*', PATIENT);
  const took = Date.now() - start;
  process.kill(servers[2].pid, 'SIGCONT');
  t.is(found.length, 200);
  t.is(found.incomplete, undefined);
  t.true(found.every(({ owners }) => owners[0].nodes.length === 2));
  t.true(took < 10_000, `${took} ms`); // seven times the patience with one node would be more
});

test.serial('what cannot be a lock is passed over', async (t) => {
  const servers = await useServers(t, 3);
  await Promise.all(
    servers.map(async (server) => {
      await fill(server, 5000, "redis.call('SET', 'session:' .. i, 'x')");
      await fill(server, 200, "redis.call('RPUSH', 'list:' .. i, 'x')");
      await server.command('EXPIRE', 'list:1', 100);
      await server.command(
        'EVAL',
        "redis.call('SET', 'cache', string.rep('x', 20000), 'PX', 60000)",
        0,
      );
      await server.command('EVAL', "redis.call('SET', string.char(255, 254), 'x', 'PX', 60000)", 0);
      await server.command('EVAL', "redis.call('SET', string.rep('k', 5000), 'x', 'PX', 60000)", 0);
      await server.command('SET', 'empty', '', 'PX', LONG);
    }),
  );
  const redsync = connect(t, urls(servers));
  await redsync.acquire('job');
  const commands = async () =>
    Number(
      /cmdstat_evalsha:calls=(\d+)/.exec(await servers[0].command('INFO', 'commandstats'))?.[1] ??
        0,
    );
  const before = await commands();
  t.deepEqual(await kinds(redsync), [['job', 'mutex']]);
  t.true((await commands()) - before < 30, 'no question for each of 5,000 keys');
});

test.serial('it changes nothing', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = connect(t, server.url);
  await redsync.acquire('job', { fencing: true });
  await redsync.newReadWriteLock('doc').read.lock();
  const state = async () => [
    await server.command('DBSIZE'),
    /rdb_changes_since_last_save:(\d+)/.exec(await server.command('INFO', 'persistence'))[1],
  ];
  const before = await state();
  t.is((await redsync.list()).length, 2);
  t.deepEqual(await state(), before);
});

test.serial('long names come in shorter pages', async (t) => {
  const [server] = await useServers(t, 1);
  await fill(server, 700, "redis.call('SET', string.rep('\"', 1000) .. i, 'x', 'PX', 60000)");
  const found = await connect(t, server.url).list('*', PATIENT);
  t.is(found.length, 700);
  t.is(found.incomplete, undefined);
});

test.serial('a limit that was reached is told, and one that was met is not', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, urls(servers));
  for (let i = 0; i < 40; i++) await redsync.acquire(`job:${String(i).padStart(2, '0')}`);
  for (let i = 0; i < 3; i++) await redsync.newSemaphore('a', 3).tryLock();
  const all = await redsync.list('*', { ...PATIENT, limit: 41 });
  t.deepEqual([all.length, all.incomplete], [41, undefined]);
  t.is(all[0].owners.length, 3);
  const some = await redsync.list('*', { ...PATIENT, limit: 1 });
  t.deepEqual([some.length, some.incomplete], [1, 'limit']);
  t.deepEqual([some[0].name, some[0].owners.length], ['a', 3], 'a semaphore is one name');
  const more = await redsync.list('job:*', { ...PATIENT, limit: 39 });
  t.deepEqual([more.length, more.incomplete, more.at(-1).name], [39, 'limit', 'job:38']);
  const first = await redsync.list('job:*', { ...PATIENT, limit: 32 });
  t.deepEqual([first.length, first.incomplete], [32, 'limit'], 'all that are asked about at once');
});

test.serial('with little time it tells what it has found, and that this is not all', async (t) => {
  const [server] = await useServers(t, 1);
  await fill(server, 200_000, "redis.call('SET', 'session:' .. i, 'x')");
  await plant([server], 'job');
  const redsync = connect(t, server.url);
  await redsync.ready();
  const found = await redsync.list('*', { timeout: 10 });
  t.is(found.incomplete, 'time');
  t.is((await redsync.list('*', PATIENT)).incomplete, undefined);
});

test.serial('a signal ends it, and so does close()', async (t) => {
  const [server] = await useServers(t, 1);
  await fill(server, 200_000, "redis.call('SET', 'session:' .. i, 'x')");
  const redsync = connect(t, server.url);
  const reason = new Error('enough');
  const early = await rejection(redsync.list('*', { signal: AbortSignal.abort(reason) }));
  t.is(early, reason);

  const stop = new AbortController();
  const listing = rejection(redsync.list('*', { ...PATIENT, signal: stop.signal }));
  await until(async () => / cmd=eval(sha)? /.test(await server.command('CLIENT', 'LIST')));
  stop.abort(reason);
  t.is(await listing, reason);

  process.kill(server.pid, 'SIGSTOP');
  t.teardown(() => process.kill(server.pid, 'SIGCONT'));
  const another = rejection(redsync.list('*', PATIENT));
  await redsync.close();
  t.true((await another) instanceof ClosedError);
  t.true((await rejection(redsync.list())) instanceof ClosedError);
});

test.serial('a user who may lock and may not scan is told so', async (t) => {
  const [server] = await useServers(t, 1);
  const login = async (...commands) => {
    await server.command(
      'ACL',
      'SETUSER',
      'app',
      'reset',
      'on',
      '>pw',
      '~lock:*',
      '-@all',
      ...commands,
    );
    return server.url.replace('redis://', 'redis://app:pw@');
  };
  const LOCKS = ['+set', '+get', '+del', '+pttl', '+eval', '+evalsha'];
  await plant([server], 'lock:job');
  await plant([server], 'lock:job:fence', '1234567890123456', LONG);
  await plant([server], 'other:job');
  for (const missing of LISTS) {
    const url = await login(...LOCKS, ...LISTS.filter((command) => command !== missing));
    const redsync = connect(t, url, { keyPrefix: 'lock:' });
    const error = await rejection(redsync.list('*', PATIENT));
    t.is(error.code, 'ERR_LOCK_FAILED', missing);
    t.is(error.errors[0].cause.code, 'NOPERM', missing);
    t.is(redsync.stats().nodes[0].status, 'up', 'it may still be locked');
  }
  const redsync = connect(t, await login(...LOCKS, ...LISTS), { keyPrefix: 'lock:' });
  t.deepEqual(await kinds(redsync), [['job', 'mutex']]);
  const all = connect(t, server.url.replace('redis://', 'redis://app:pw@'));
  t.deepEqual(await kinds(all), [['lock:job', 'mutex']], 'keys of others are passed over');
});

test.serial('bad arguments are refused before any I/O', async (t) => {
  const redsync = connect(t, await deadUrl());
  const cases = [
    [[null], 'pattern', TypeError],
    [[{ limit: 5 }], 'pattern', TypeError],
    [[''], 'pattern', RangeError],
    [['x'.repeat(1025)], 'pattern', RangeError],
    [['\ud800'], 'pattern', RangeError],
    [['*', { limit: 0 }], 'options.limit', RangeError],
    [['*', { limit: 10_001 }], 'options.limit', RangeError],
    [['*', { limit: '5' }], 'options.limit', TypeError],
    [['*', { timeout: 0 }], 'options.timeout', RangeError],
    [['*', { signal: 1 }], 'options.signal', TypeError],
    [['*', { count: 1 }], 'options', TypeError],
  ];
  for (const [args, argument, Class] of cases) {
    const error = await rejection(redsync.list(...args));
    t.true(error instanceof Class, error.stack);
    t.true(error.message.includes(`"${argument}"`), error.message);
  }
});

test.serial('of a cluster it asks every master', async (t) => {
  const cluster = await useCluster(t);
  const names = cluster.servers.map((server) => cluster.nameOn(server));
  const redsync = connect(t, cluster.url([cluster.servers[1]]), { owner: 'a' });
  t.deepEqual(await kinds(redsync), []);
  for (const name of names) await redsync.acquire(name, { fencing: true });
  for (let i = 0; i < 3; i++) await redsync.newSemaphore('sem', 3).tryLock();
  await fill(cluster.servers[0], 1500, "redis.pcall('SET', 'x{' .. i .. '}', 'x')").catch(() => {});
  const expected = [...names.map((name) => [name, 'mutex']), ['sem', 'semaphore']].sort();
  t.deepEqual((await kinds(redsync)).sort(), expected, 'a URL');
  const one = await connect(t, cluster.url()).list(names[2], PATIENT);
  t.deepEqual(
    one.map(({ name, owners }) => [name, owners[0].owner, owners[0].nodes]),
    [[names[2], 'a', [0]]],
  );
  for (const [kind, make] of Object.entries(CLUSTER_CLIENTS)) {
    const { pool, close } = await make(cluster.servers);
    t.teardown(close);
    t.deepEqual((await kinds(connect(t, pool))).sort(), expected, kind);
    const bare = { get: () => bound(pool.get()), isCluster: true };
    const error = await rejection(connect(t, bare).list('*', PATIENT));
    t.regex(error.message, /the connection of the pool has no masters\(\)/);
    t.is(error.errors[0].cause.code, 'ENOTSUP');
  }

  await cluster.servers[2].kill();
  const error = await rejection(redsync.list('*', PATIENT));
  t.is(error.code, 'ERR_LOCK_FAILED', 'a master that is down may have any of them');
});

/** What a connection has to have, and no more. */
function bound(conn) {
  const methods = ['setNX', 'eval', 'pttl', 'close'];
  return Object.fromEntries(methods.map((method) => [method, conn[method].bind(conn)]));
}

test.serial('behind sentinels it asks the master', async (t) => {
  const group = await useSentinels(t, { replicas: 1 });
  const redsync = connect(t, group.options());
  await redsync.acquire('job');
  t.deepEqual(await kinds(redsync), [['job', 'mutex']]);
});

test.serial('what a client puts in front of keys is no part of names', async (t) => {
  const Redis = require('ioredis');
  const { newPool } = require('../lib/adapters/ioredis.js');
  const [server] = await useServers(t, 1);
  const client = new Redis(server.port, '127.0.0.1', { keyPrefix: 'é[app]*:' });
  t.teardown(() => client.disconnect());
  await plant([server], 'é[app]*:job');
  await plant([server], 'other:job');
  const redsync = connect(t, newPool(client));
  await redsync.acquire('mine');
  t.deepEqual(await kinds(redsync), [
    ['job', 'mutex'],
    ['mine', 'mutex'],
  ]);
});

test.serial('nonsense of a pool is no name', async (t) => {
  const answers = [
    null,
    42,
    '',
    '0',
    '0\n',
    '0\n{}',
    '0\n[1]',
    '0\n["a"',
    '-1\n[]',
    `${'1'.repeat(40)}\n[]`,
    `0\n["${'x'.repeat(70_000)}"]`,
    { then: 1 },
    new Error('no'),
  ];
  for (const answer of answers) {
    const conn = { setNX: () => true, eval: () => answer, pttl: () => -2, close() {} };
    const redsync = connect(t, { get: () => conn });
    const error = await rejection(redsync.list('*', PATIENT));
    t.is(error.errors[0].cause.code, 'EPROTO', String(answer).slice(0, 20));
    await redsync.close();
  }
  // Lone halves of characters, names of others and names without end are left out, and a walk that never ends ends.
  let asked = 0;
  const page = ['p:\\ud800', 'p:', 'q:a', `p:${'x'.repeat(2000)}`, 'p:redsync:probe:1', 'p:b'];
  const looked = new Set();
  const conn = {
    setNX: () => true,
    eval(script, keys) {
      if (keys.length === 0) return `${++asked}\n[${page.map((key) => `"${key}"`)}]`;
      if (!keys[0].startsWith('p:redsync:probe:')) looked.add(keys[0]);
      return null;
    },
    pttl: () => -2,
    close() {},
  };
  const redsync = connect(t, { get: () => conn }, { keyPrefix: 'p:' });
  const found = await redsync.list('*', { timeout: 200 });
  t.deepEqual([found.length, found.incomplete], [0, 'time']);
  t.true(asked > 1);
  t.deepEqual([...looked], ['p:b']);
});

test.serial('patterns match as a server matches them', async (t) => {
  const [server] = await useServers(t, 1);
  const letters = ['a', 'b', 'c', 'é', '*', '?', '[', ']', '^', '-', '\\'];
  let seed = 1;
  const next = (below) => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % below;
  };
  const text = (length) => Array.from({ length }, () => letters[next(letters.length)]).join('');
  const keys = Array.from({ length: 300 }, () => text(1 + next(5)));
  for (const key of keys) await server.command('SET', key, 'x');
  for (let i = 0; i < 600; i++) {
    const pattern = text(1 + next(8));
    // What is between a byte of such a character and another, servers do not agree about.
    if (/\[.*é/.test(pattern) && pattern.includes('-')) continue;
    const expected = (await server.command('KEYS', pattern)).sort();
    const own = [...new Set(keys)].filter(matcher(pattern)).sort();
    t.deepEqual(own, expected, pattern);
  }
  for (const key of keys) {
    t.deepEqual([...new Set(keys)].filter(matcher(literal(key))), [key]);
  }
  // Backtracking would not come to an end.
  t.false(matcher('a*'.repeat(200) + 'b')('a'.repeat(1000)));
});

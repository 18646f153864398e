'use strict';

// Releases without a script, on servers that have a command for it: DELIFEQ (Valkey 9.0), DELEX (Redis 8.4). On the
// others the same tests hold by the script. `npm run test:servers` runs them on all.

const test = require('ava');

const { LockExpiredError, Redsync, TakenError } = require('../index.js');
const { rejection, until } = require('./helpers/async.js');
const { useCluster } = require('./helpers/cluster.js');
const { useProxy } = require('./helpers/proxy.js');
const { roleOf, useSentinels } = require('./helpers/sentinels.js');
const { deletionOf, monitor, useServers } = require('./helpers/servers.js');

const OPTIONS = { expiry: 20_000, tries: 1 };

function connect(t, nodes, options) {
  const redsync = new Redsync(nodes, { ...OPTIONS, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

/** The commands about this name, without their operands. */
function verbsAbout(commands, name) {
  return commands.filter((words) => words.includes(name)).map(([verb]) => verb.toUpperCase());
}

/** How a lock of this name is acquired and released. */
async function cycle(t, redsync, servers, name) {
  const monitors = await Promise.all(servers.map((server) => monitor(t, server)));
  t.true(await (await redsync.newMutex(name).lock()).unlock());
  const seen = await Promise.all(monitors.map(({ settle }) => settle()));
  return verbsAbout(seen.flat(), name);
}

/** The same, when scripts are known. */
async function secondCycle(t, redsync, servers, name) {
  t.true(await (await redsync.newMutex(name).lock()).unlock());
  return cycle(t, redsync, servers, name);
}

test.serial('a release is one command, without a script if the server can', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = connect(t, server.url);
  const release = (await deletionOf(server)) ?? 'EVALSHA';
  t.deepEqual(await secondCycle(t, redsync, [server], 'one'), ['SET', release]);
  t.is(await server.command('DBSIZE'), 0);

  const { settle } = await monitor(t, server);
  const fenced = await redsync.newMutex('fenced', { fencing: true }).lock();
  t.true(await fenced.unlock());
  const permit = await redsync.newSemaphore('permit', 2).lock();
  const [key] = await server.command('KEYS', 'permit*');
  t.true(await permit.unlock());
  const both = await redsync.newMutex(['one', 'two']).lock();
  t.true(await both.unlock());
  const commands = await settle();
  t.is(verbsAbout(commands, 'fenced').at(-1), release);
  t.is(verbsAbout(commands, key).at(-1), release);
  t.regex(verbsAbout(commands, 'two').at(-1), /^EVAL/);
});

test.serial('the releases of one tick are a command each, or one script', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = connect(t, server.url);
  const command = await deletionOf(server);
  const names = Array.from({ length: 10 }, (_, i) => `name:${i}`);
  const lockAll = () => Promise.all(names.map((name) => redsync.newMutex(name).lock()));
  const unlockAll = async (locks) => {
    const { settle } = await monitor(t, server);
    const results = await Promise.allSettled(locks.map((lock) => lock.unlock()));
    const verbs = (await settle()).map(([verb]) => verb);
    return { results, verbs };
  };

  const { results, verbs } = await unlockAll(await lockAll());
  t.true(results.every(({ value }) => value === true));
  t.deepEqual(verbs, command ? names.map(() => command) : ['EVAL']);
  t.is(await server.command('DBSIZE'), 0);

  // What all of them have missed is asked with one script.
  const locks = await lockAll();
  await server.command('DEL', ...names);
  const missed = await unlockAll(locks);
  t.true(missed.results.every(({ reason }) => reason instanceof LockExpiredError));
  t.deepEqual(missed.verbs, command ? [...names.map(() => command), 'EVAL'] : ['EVALSHA']);
});

test.serial('a lock that is gone and one that is somebody else’s are told apart', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(
    t,
    servers.map(({ url }) => url),
  );
  const all = (...command) => Promise.all(servers.map((server) => server.command(...command)));

  const gone = await redsync.newMutex('gone').lock();
  await all('DEL', 'gone');
  const expired = await rejection(gone.unlock());
  t.true(expired instanceof LockExpiredError, expired.stack);
  t.regex(expired.message, /the key has expired or was deleted/);

  const taken = await redsync.newMutex('taken').lock();
  await all('SET', 'taken', 'foreign');
  const theirs = await rejection(taken.unlock());
  t.true(theirs instanceof TakenError, theirs.stack);
  t.deepEqual(theirs.nodes, [0, 1, 2]);
  t.deepEqual(await all('GET', 'taken'), ['foreign', 'foreign', 'foreign']);

  const mixed = await redsync.newMutex('mixed').lock();
  await servers[0].command('DEL', 'mixed');
  await servers[1].command('SET', 'mixed', 'foreign');
  t.true((await rejection(mixed.unlock())) instanceof LockExpiredError);
  t.deepEqual(await all('EXISTS', 'mixed'), [0, 1, 0]);
});

test.serial('what a release has missed is looked at, and not deleted', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = connect(t, server.url);
  const lock = await redsync.newMutex('again').lock();
  const heir = redsync.newMutex('again', { value: lock.value, setNXOnExtend: true });
  await server.command('DEL', 'again');
  const { settle } = await monitor(t, server);
  // In one tick: the extension stores the value again behind a release that has found nothing.
  const [unlocked, extended] = await Promise.allSettled([lock.unlock(), heir.extend()]);
  t.true(unlocked.reason instanceof LockExpiredError, unlocked.reason?.stack);
  t.is(extended.value, true);
  const verbs = verbsAbout(await settle(), 'again');
  t.is(await server.command('GET', 'again'), lock.value);
  const command = await deletionOf(server);
  t.deepEqual(verbs, command ? [command, 'EVAL', 'EVAL'] : ['EVAL', 'EVAL']);
  t.true(await heir.unlock());
});

test.serial('a key of another type is refused as by the script', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = connect(t, server.url);
  const lock = await redsync.newMutex('list').lock();
  await server.command('DEL', 'list');
  await server.command('RPUSH', 'list', 'foreign');
  const { errors } = await rejection(lock.unlock());
  t.is(errors[0].cause.code, 'WRONGTYPE');
  t.deepEqual(await server.command('LRANGE', 'list', 0, -1), ['foreign']);
  t.true(await (await redsync.newMutex('other').lock()).unlock());
  t.deepEqual(await server.command('KEYS', '*'), ['list']);
});

test.serial('a user who may not has scripts, and is refused once a connection', async (t) => {
  const [server] = await useServers(t, 1);
  const command = await deletionOf(server);
  const without = command ? [`-${command}`] : [];
  await server.command('ACL', 'SETUSER', 'app', 'on', '>password', '~*', '&*', '+@all', ...without);
  const redsync = connect(t, server.url.replace('//', '//app:password@'));
  t.deepEqual(await cycle(t, redsync, [server], 'one'), ['SET', 'EVAL']);
  t.deepEqual(await secondCycle(t, redsync, [server], 'two'), ['SET', 'EVALSHA']);
  t.is(await server.command('DBSIZE'), 0);
  const refused = (await server.command('ACL', 'LOG')).filter((entry) => entry.includes('app'));
  t.deepEqual(
    refused.map((entry) => [
      entry[entry.indexOf('object') + 1].toUpperCase(),
      entry[entry.indexOf('count') + 1],
    ]),
    command ? [[command, 1]] : [],
  );
});

/** What a server of that version says of itself, as far as it is asked at the login. */
function says(version) {
  const text = `# Server\r\n${version}\r\n`;
  return ([verb]) => (verb === 'INFO' ? `$${text.length}\r\n${text}\r\n` : undefined);
}

test.serial('a server that does not know the command is asked once a connection', async (t) => {
  const [server] = await useServers(t, 1);
  const proxy = await useProxy(t, server);
  // It has the version of the other program, and so not the command that it tells of.
  const isRedis = (await deletionOf(server)) === 'DELEX';
  const lie = says(isRedis ? 'valkey_version:9.0.0' : 'redis_version:8.4.0');
  const asked = [];
  proxy.answerWith((words) => {
    asked.push(words);
    return lie(words);
  });
  const redsync = connect(t, proxy.url);
  for (let i = 0; i < 3; i++) t.true(await (await redsync.newMutex('one').lock()).unlock());
  const release = isRedis ? 'DELIFEQ' : 'DELEX';
  t.deepEqual(verbsAbout(asked, 'one'), [
    ...['SET', release, 'EVAL'],
    ...['SET', 'EVALSHA'],
    ...['SET', 'EVALSHA'],
  ]);
  t.is(await server.command('DBSIZE'), 0);
});

test.serial('what a server can do is asked anew on each connection', async (t) => {
  const [server] = await useServers(t, 1);
  const proxy = await useProxy(t, server);
  const redsync = connect(t, proxy.url, { tries: 10, retryDelay: 20 });
  const release = (await deletionOf(server)) ?? 'EVALSHA';
  t.deepEqual(await secondCycle(t, redsync, [server], 'one'), ['SET', release]);
  for (const [version, expected] of [
    ['redis_version:7.0.15', 'EVALSHA'],
    [undefined, release],
  ]) {
    await proxy.heal();
    if (version) proxy.answerWith(says(version));
    const { accepted } = proxy;
    proxy.reset();
    await until(() => proxy.accepted > accepted);
    await redsync.ready({ timeout: 5000 });
    t.deepEqual(await secondCycle(t, redsync, [server], 'one'), ['SET', expected]);
  }
});

test.serial('the master that sentinels name is released on without a script', async (t) => {
  const group = await useSentinels(t, { replicas: 1 });
  const redsync = connect(t, group.url(), { tries: 50, retryDelay: 100 });
  const [master] = group.servers;
  const release = (await deletionOf(master)) ?? 'EVALSHA';
  t.deepEqual(await secondCycle(t, redsync, [master], 'one'), ['SET', release]);
  const lock = await redsync.newMutex('kept').lock();
  const next = await group.handOver(master);
  t.is(await roleOf(next), 'master');
  t.true(await until(() => lock.unlock().catch((error) => error instanceof LockExpiredError)));
  t.deepEqual(await secondCycle(t, redsync, [next], 'two'), ['SET', release]);
});

test.serial('a cluster is released on without a script, also where a slot moves', async (t) => {
  const cluster = await useCluster(t);
  const redsync = connect(t, cluster.url(), { tries: 10, retryDelay: 20 });
  const [from, to] = cluster.servers;
  const release = (await deletionOf(from)) ?? 'EVALSHA';
  const name = cluster.nameOn(from);
  t.deepEqual(await secondCycle(t, redsync, [from], name), ['SET', release]);

  const lock = await redsync.newMutex(name).lock();
  const slot = await from.command('CLUSTER', 'KEYSLOT', name);
  await cluster.startMove(slot, from, to);
  await cluster.moveKeys(slot, from, to);
  t.true(await lock.unlock());
  await cluster.endMove(slot, from, to);
  t.deepEqual(await secondCycle(t, redsync, [to], name), ['SET', release]);
  t.is(await cluster.size(), 0);

  const gone = await redsync.newMutex(name).lock();
  await to.command('DEL', name);
  t.true((await rejection(gone.unlock())) instanceof LockExpiredError);
});

'use strict';

// A server that has just started may have forgotten locks: with `quarantine` it has no vote on new ones.

const { subscribe, unsubscribe } = require('node:diagnostics_channel');

const test = require('ava');

const { FailedError, Redsync } = require('../index.js');
const { delay, rejection, until } = require('./helpers/async.js');
const { CLIENTS } = require('./helpers/clients.js');
const { useCluster } = require('./helpers/cluster.js');
const { only, useProxy } = require('./helpers/proxy.js');
const { useSentinels } = require('./helpers/sentinels.js');
const { monitor, useServers } = require('./helpers/servers.js');

const LONG = 60_000;
const SHORT = 500;
const SOME = 3000; // longer than a slow machine takes for a few locks
const OPTIONS = { tries: 1, expiry: 20_000, timeoutFactor: 0.25 };

/** A link that has been up for so long connects again at once, and what is asked meanwhile waits. */
const STABLE = 1000;

/** For how long a server abstains: servers count their uptime in whole seconds. */
const abstention = (quarantine) => quarantine * 1.01 + 1000;

function open(t, nodes, options) {
  const redsync = new Redsync(nodes, { ...OPTIONS, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

const urlsOf = (servers) => servers.map(({ url }) => url);

/** The causes of a call that fails because its nodes abstain. */
async function abstains(t, redsync, name = 'job') {
  const error = await rejection(redsync.newMutex(name).lock());
  if (!(error instanceof FailedError)) throw error;
  for (const { cause } of error.errors) {
    t.is(cause.code, 'EABSTAINED', error.stack);
    t.regex(cause.message, /abstains for \d+ ms/);
  }
  return error.errors;
}

/** Waits until all servers have been up for long enough. */
async function ofAge(redsync) {
  const isOfAge = ({ status, abstains: left }) => status === 'up' && left === undefined;
  await until(async () => (await redsync.health()).every(isOfAge));
}

async function locks(t, redsync, name = 'job') {
  const lock = await redsync.newMutex(name).lock();
  t.true(await lock.unlock());
}

test('a server that has just started has no vote, and health tells for how long', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = open(t, server.url, { quarantine: LONG });
  const recorded = await monitor(t, server);
  t.is((await abstains(t, redsync)).length, 1);
  const error = await rejection(redsync.newMutex('job').tryLock());
  t.true(error instanceof FailedError, error.stack);
  t.deepEqual(
    (await recorded.settle()).filter(([verb]) => /^(set|eval|evalsha)$/i.test(verb)),
    [],
  );

  const [first] = await redsync.health();
  t.is(first.status, 'up');
  t.is(first.error, undefined);
  t.true(first.abstains > LONG / 2 && first.abstains <= abstention(LONG), `${first.abstains}`);
  await until(async () => (await redsync.health())[0].abstains < first.abstains);
});

test('a server votes again when it has been up for long enough, and not before', async (t) => {
  const before = Date.now();
  const [server] = await useServers(t, 1);
  const redsync = open(t, server.url, { quarantine: SHORT, tries: Infinity });
  const lock = await redsync.newMutex('job').lock();
  const age = Date.now() - before;
  t.true(age >= SHORT, `${age}`);
  t.is(await server.command('GET', 'job'), lock.value);
  const [health] = await redsync.health();
  t.deepEqual([health.status, 'abstains' in health], ['up', false]);
  t.true(await lock.unlock());
  // It need not have been there from the start.
  const later = open(t, server.url, { quarantine: SHORT });
  await ofAge(later);
  await locks(t, later);
  await abstains(t, open(t, server.url, { quarantine: LONG }));
});

test('true is as long as a lock lives, and a mutex may have an expiry of its own', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = open(t, server.url, { quarantine: true, expiry: LONG });
  await abstains(t, redsync);
  const [{ abstains: left }] = await redsync.health();
  t.true(left > LONG / 2 && left <= abstention(LONG), `${left}`);
  const short = redsync.newMutex('job', { expiry: SHORT, tries: Infinity });
  const lock = await short.lock();
  t.true(await lock.unlock());
  await abstains(t, redsync);
});

test('locks are kept, looked at and released on a server that abstains', async (t) => {
  const servers = await useServers(t, 3);
  const plain = open(t, urlsOf(servers), { expiry: LONG });
  const redsync = open(t, urlsOf(servers), { quarantine: LONG, expiry: 2 * LONG });
  for (const name of ['job', ['one', 'two']]) {
    const { value } = await plain.newMutex(name).lock();
    const adopted = redsync.newMutex(name, { value });
    t.true(await adopted.valid());
    t.true(await adopted.extend());
    for (const server of servers) {
      t.true((await server.command('PTTL', [name].flat()[0])) > LONG);
    }
    t.deepEqual(
      (await redsync.inspect([name].flat()[0])).map(({ value }) => value),
      [value, value, value],
    );
    t.true(await adopted.unlock());
    for (const server of servers) t.is(await server.command('DBSIZE'), 0);
  }
  // Kept alive by who may lock nothing new.
  const expiry = 1800;
  const { value } = await plain.newMutex('kept', { expiry }).lock();
  const kept = { value, autoExtend: true, expiry };
  const start = Date.now();
  await redsync.using('kept', kept, async () => {
    await until(() => Date.now() - start > 1.4 * expiry);
    t.true(await redsync.newMutex('kept', { value }).valid());
  });
  for (const server of servers) t.is(await server.command('EXISTS', 'kept'), 0);
  await abstains(t, redsync);
});

/**
 * The server goes down and comes back without its data, while a lock is held there and an acquisition
 * waits for the connection. Gives what comes of the acquisition.
 */
async function restartUnder(t, options) {
  const [server] = await useServers(t, 1);
  const proxy = await useProxy(t, server);
  const holder = open(t, server.url, { expiry: LONG });
  const redsync = open(t, { url: proxy.url, connectTimeout: LONG }, { expiry: LONG, ...options });
  // What is known of the server of before must not count for the one that comes after it.
  await ofAge(redsync);
  await delay(STABLE);
  await holder.newMutex('job').lock();
  t.is(await redsync.newMutex('job').tryLock(), null);

  const { accepted } = proxy;
  proxy.swallow();
  proxy.reset();
  await until(() => proxy.accepted > accepted);
  let isSettled = false;
  const waiting = redsync.newMutex('job').tryLock();
  const settled = () => {
    isSettled = true;
  };
  waiting.then(settled, settled);
  await server.restart();
  t.false(isSettled); // it is in the queue
  await proxy.heal();
  return { redsync, server, waiting };
}

test('an acquisition that waited for a server is not granted when it has forgotten', async (t) => {
  const { redsync, server, waiting } = await restartUnder(t, { quarantine: SOME });
  const error = await rejection(waiting);
  t.true(error instanceof FailedError, error.stack);
  t.is(error.errors[0].cause.code, 'EABSTAINED', error.stack);
  t.is(await server.command('DBSIZE'), 0);
  const [{ status, abstains: left }] = await redsync.health();
  t.is(status, 'up');
  t.true(left > 0, `${left}`);
});

test('without the option it is granted: the lock of before is forgotten', async (t) => {
  const { server, waiting } = await restartUnder(t, {});
  const lock = await waiting;
  t.is(await server.command('GET', 'job'), lock.value);
});

test('a node that has forgotten makes no second quorum', async (t) => {
  const servers = await useServers(t, 3);
  const [forgetful, , third] = servers;
  const careful = open(t, urlsOf(servers), { quarantine: SOME });
  const careless = open(t, urlsOf(servers));
  await ofAge(careful);
  // A holder who has got two of three.
  const holder = open(t, urlsOf(servers), { expiry: LONG });
  await holder.newMutex('job').lock();
  await third.command('DEL', 'job');
  t.is(await careful.newMutex('job').tryLock(), null);
  await until(async () => (await third.command('EXISTS', 'job')) === 0);

  await forgetful.restart();
  for (const redsync of [careful, careless]) {
    await until(async () => (await redsync.health()).every(({ status }) => status === 'up'));
  }
  const error = await rejection(careful.newMutex('job').lock());
  t.deepEqual(
    error.errors.map(({ cause }) => cause?.code),
    ['EABSTAINED', undefined],
    error.stack,
  );
  await until(async () => (await third.command('EXISTS', 'job')) === 0);
  t.is(await forgetful.command('EXISTS', 'job'), 0);
  // Whoever does not look gets it, though it is held.
  t.truthy(await careless.newMutex('job').tryLock());
});

test('a quorum of servers is enough, and who abstains is not asked', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = open(t, urlsOf(servers), { quarantine: SOME });
  await ofAge(redsync);
  await servers[0].restart();
  const recorded = await monitor(t, servers[0]);
  const lock = await redsync.newMutex('job').lock();
  const isAsked = (await recorded.settle()).some(([verb]) => /^set$/i.test(verb));
  t.false(isAsked);
  const [health, ...others] = await until(async () => {
    const all = await redsync.health();
    return all.every(({ status }) => status === 'up') && all;
  });
  t.true(health.abstains > 0);
  for (const other of others) t.is(other.abstains, undefined);
  t.true(await lock.unlock());
});

for (const contenders of [1, 8]) {
  test(`${contenders} who wait leave a server in peace that abstains`, async (t) => {
    const servers = await useServers(t, 3);
    const recorded = await Promise.all(servers.map((server) => monitor(t, server)));
    const redsync = open(t, urlsOf(servers), { quarantine: SHORT, tries: Infinity });
    const attempts = [];
    const job = `job of ${contenders}`;
    const listen = ({ name, attempts: made }) => name === job && attempts.push(made);
    subscribe('redsync:lock', listen);
    t.teardown(() => unsubscribe('redsync:lock', listen));
    const cpu = process.cpuUsage();
    const start = Date.now();
    const [first, ...others] = Array.from({ length: contenders }, () => locks(t, redsync, job));
    await Promise.race([first, ...others]);
    const waited = Date.now() - start;
    const { user, system } = process.cpuUsage(cpu);
    const counts = await Promise.all(recorded.map(async ({ settle }) => (await settle()).length));
    t.log(`${waited} ms, commands ${counts}, processor ${Math.round((user + system) / 1000)} ms`);
    for (const count of counts) t.true(count < 100 * contenders, `${counts}`);
    await Promise.all([first, ...others]);
    t.log(`attempts ${attempts}`);
    t.is(attempts.length, contenders);
    for (const made of attempts) t.true(made < 100, `${attempts}`);
  });
}

test('a server that does not tell its uptime votes, and health tells why', async (t) => {
  const [server] = await useServers(t, 1);
  const rule = '~* resetchannels -@all +set +eval +evalsha +get +del +exists +pttl +pexpire +ping';
  await server.command('ACL', 'SETUSER', 'me', 'on', '>xyzzy', ...rule.split(' '));
  const redsync = open(t, server.url.replace('//', '//me:xyzzy@'), { quarantine: LONG });
  await locks(t, redsync);
  const [health] = await redsync.health();
  t.is(health.status, 'up');
  t.is(health.abstains, undefined);
  t.is(health.error.cause.code, 'NOPERM');
  t.regex(health.error.message, /votes without quarantine.*uptime.*INFO/);
  t.false(`${health.error.stack}`.includes('xyzzy'));
  const [plain] = await open(t, server.url.replace('//', '//me:xyzzy@')).health();
  t.is(plain.error, undefined);
});

test('a server whose clock was set back since its start has just started', async (t) => {
  const [server] = await useServers(t, 1);
  const proxy = await useProxy(t, server);
  const info = '# Server\r\nuptime_in_seconds:-3600\r\n';
  proxy.answerWith(only('INFO', `$${info.length}\r\n${info}\r\n`));
  const redsync = open(t, proxy.url, { quarantine: LONG });
  await abstains(t, redsync);
  const [health] = await redsync.health();
  t.is(health.error, undefined);
  t.true(health.abstains > LONG / 2 && health.abstains <= abstention(LONG), `${health.abstains}`);
});

test('a pool cannot be asked: to say so is no option', async (t) => {
  const servers = await useServers(t, 2);
  for (const make of Object.values(CLIENTS)) {
    const client = await make(servers[1]);
    t.teardown(() => client.close());
    for (const quarantine of [true, SHORT]) {
      const nodes = [servers[0].url, client.pool];
      const error = t.throws(() => new Redsync(nodes, { quarantine }), { instanceOf: TypeError });
      t.is(error.code, 'ERR_INVALID_ARG_TYPE');
      t.regex(error.message, /options\.quarantine.*nodes\[1\].*Pool/);
    }
    await new Redsync([servers[0].url, client.pool], { quarantine: false }).close();
  }
});

test('nodes in memory never forget', async (t) => {
  const redsync = open(t, ['memory:', 'memory:', 'memory:'], { quarantine: LONG });
  await locks(t, redsync);
  for (const { status, abstains: left } of await redsync.health()) {
    t.deepEqual([status, left], ['up', undefined]);
  }
});

test('the master behind sentinels', async (t) => {
  const group = await useSentinels(t);
  const redsync = open(t, group.url(), { quarantine: LONG });
  await abstains(t, redsync);
  const [health] = await redsync.health();
  t.is(health.status, 'up');
  t.true(health.abstains > 0);
  await locks(t, open(t, group.url(), { quarantine: SHORT, tries: Infinity }));
});

test('each master of a cluster', async (t) => {
  const cluster = await useCluster(t);
  const names = cluster.servers.map((server) => cluster.nameOn(server));
  const redsync = open(t, cluster.url(), { quarantine: LONG });
  for (const name of names) await abstains(t, redsync, name);
  t.is(await cluster.size(), 0);
  const patient = open(t, cluster.url(), { quarantine: SHORT, tries: Infinity });
  await Promise.all(names.map((name) => locks(t, patient, name)));
  // By way of any other.
  for (const server of cluster.servers) {
    const late = open(t, cluster.url([server]), { quarantine: LONG });
    for (const name of names) await abstains(t, late, name);
  }
  t.is(await cluster.size(), 0);
});

test('the uptime is asked for once a connection, with what is asked for anyway', async (t) => {
  const [server] = await useServers(t, 1);
  const recorded = await monitor(t, server);
  const asked = async () => {
    const commands = (await recorded.settle()).splice(0).map((words) => words.join(' '));
    const count = (pattern) => commands.filter((command) => pattern.test(command)).length;
    return [count(/^client setname/i), count(/^info/i)];
  };
  await locks(t, open(t, server.url));
  t.deepEqual(await asked(), [1, 1]);

  const careful = open(t, server.url, { quarantine: 1 });
  await until(() =>
    careful
      .newMutex('job')
      .tryLock()
      .catch(() => null),
  );
  for (let i = 0; i < 3; i++) await locks(t, careful, `job ${i}`);
  t.deepEqual(await asked(), [1, 1]);
});

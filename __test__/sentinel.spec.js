'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { inspect } = require('node:util');

const test = require('ava');

const { Redsync } = require('../index.js');
const { elapsed, rejection, until } = require('./helpers/async.js');
const { createAuthority, fingerprintOf } = require('./helpers/certificates.js');
const { BOUND, causeOf, worksAgain } = require('./helpers/recovery.js');
const { roleOf, startSentinel, useSentinels } = require('./helpers/sentinels.js');
const { deadUrl, useServers } = require('./helpers/servers.js');

// What a failover may take on a slow machine: it needs the sentinels to agree.
const SETTLED = { timeout: 100_000 };
const OPTIONS = { expiry: 20_000, timeoutFactor: 0.025, tries: 1 };

function connect(t, nodes, options) {
  const redsync = new Redsync(nodes, { ...OPTIONS, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

async function works(t, redsync, master) {
  const lock = await redsync.newMutex('sentinel').lock();
  t.is(await master.command('GET', 'sentinel'), lock.value);
  t.true(await lock.mutex.valid());
  t.true(await lock.extend());
  t.true(await lock.unlock());
  t.is(await master.command('EXISTS', 'sentinel'), 0);
}

// The sentinels close a server's connections when they make a replica of it.
async function isReplica(server) {
  return (await roleOf(server).catch(() => 'unknown')) === 'slave';
}

/** The number that the server gave to the connection of a Redsync with this client name. */
async function connectionId(server, clientName) {
  const clients = String(await server.command('CLIENT', 'LIST'));
  const line = clients.split('\n').find((client) => client.includes(` name=${clientName} `));
  return line && /^id=(\d+)/.exec(line)[1];
}

test.serial(
  'the news that the master has changed is acted upon before anything fails',
  async (t) => {
    const group = await useSentinels(t);
    const master = await group.master();
    // A sentinel lets nobody publish but itself, so another real server speaks for one.
    const [speaker] = await useServers(t, 1);
    const options = group.options();
    const sentinels = [...options.sentinels, { host: '127.0.0.1', port: speaker.port }];
    const redsync = connect(t, { ...options, sentinels, clientName: 'listener' });
    await works(t, redsync, master);
    const before = await connectionId(master, 'listener');
    t.truthy(before);
    const tell = (name) =>
      speaker.command('PUBLISH', '+switch-master', `${name} 127.0.0.1 1 127.0.0.1 2`);

    // The answer is how many have heard it. News of another master is none.
    await until(async () => (await tell('another')) >= 1);
    await works(t, redsync, master);
    t.is(await connectionId(master, 'listener'), before);

    // Nor is that the master is the one it is connected to already: every sentinel tells of a failover.
    const subscription = async () =>
      /^id=(\d+) .* sub=1 /m.exec(String(await speaker.command('CLIENT', 'LIST')))?.[1];
    const subscribed = await subscription();
    await speaker.command(
      'PUBLISH',
      '+switch-master',
      `mymaster 127.0.0.1 1 127.0.0.1 ${master.port}`,
    );
    await until(async () => {
      const now = await subscription();
      return now !== undefined && now !== subscribed; // it was heard, and more is listened for
    });
    await works(t, redsync, master);
    t.is(await connectionId(master, 'listener'), before);

    // It asks the sentinels again, who in truth still name the same server.
    await tell('mymaster');
    await until(async () => {
      const now = await connectionId(master, 'listener');
      return now !== undefined && now !== before;
    });
    await worksAgain(t, redsync, 'sentinel', SETTLED);
  },
);

/** An address where there is no sentinel. */
async function deadSentinel() {
  return { port: new URL(await deadUrl()).port };
}

test.serial('the sentinels tell who the master is', async (t) => {
  const group = await useSentinels(t);
  const master = await group.master();
  const redsync = connect(t, group.url());
  await works(t, redsync, master);
  const [health] = await redsync.health();
  t.is(health.status, 'up');
  t.is(`redis+sentinel://${health.endpoint}`, group.url());

  await works(t, connect(t, group.options()), master);
  await works(t, connect(t, group.url(group.sentinels.slice(0, 1))), master);

  const inTwo = connect(t, `${group.url()}/2`);
  const lock = await inTwo.newMutex('in-2').lock();
  const client = await master.connect();
  t.teardown(() => client.close());
  await client.command('SELECT', 2);
  t.is(await client.command('GET', 'in-2'), lock.value);
  t.true(await lock.unlock());
});

test.serial(
  'a minority of sentinels that is dead, hung or out of date does not matter',
  async (t) => {
    const group = await useSentinels(t);
    const master = await group.master();
    const [first, second] = group.sentinels;
    const dead = await deadSentinel();
    await works(t, connect(t, group.url([dead, first, second])), master);

    // It watches over another master of the same name, and knows of no other sentinel.
    const [other] = await useServers(t, 1);
    const stale = await startSentinel(other, { quorum: 1 });
    t.teardown(() => stale.stop());
    await works(t, connect(t, group.url([stale, first, second])), master);
    t.is(await other.command('DBSIZE'), 0);

    group.sentinels[2].pause();
    const hung = group.sentinels[2];
    await works(t, connect(t, group.url([hung, first, second])), master);
  },
);

test.serial('one sentinel that answers is enough', async (t) => {
  const group = await useSentinels(t);
  const [first, second] = group.sentinels;
  second.pause();
  const redsync = connect(t, group.url([await deadSentinel(), second, first]));
  await redsync.ready();
  await works(t, redsync, await group.master());
});

test.serial('a master that nobody knows is told', async (t) => {
  const group = await useSentinels(t, { replicas: 0 });
  const sentinels = [await deadSentinel(), ...group.sentinels];
  const redsync = connect(t, group.url(sentinels, 'another'));
  const call = redsync.newMutex('unknown').lock();
  t.true((await elapsed(call)) < BOUND);
  const cause = await causeOf(call);
  t.is(cause.code, 'ERR_SENTINEL');
  t.regex(cause.message, /does not know a master of this name/);
  const [health] = await redsync.health();
  t.is(health.status, 'down');
  t.is(health.error.cause.code, 'ERR_SENTINEL');
});

test.serial('sentinels that cannot be reached are told, and heal', async (t) => {
  const group = await useSentinels(t, { replicas: 0, sentinels: 1 });
  const [sentinel] = group.sentinels;
  await sentinel.kill();
  const redsync = connect(t, group.url());
  const cause = await causeOf(redsync.newMutex('nobody').lock());
  t.is(cause.code, 'ECONNREFUSED');
  t.regex(cause.message, /sentinel 0/);
  await sentinel.restart();
  await worksAgain(t, redsync, 'sentinel', SETTLED);
});

test.serial('a server that is no sentinel is told', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = connect(t, `redis+sentinel://127.0.0.1:${server.port}/mymaster`);
  const cause = await causeOf(redsync.newMutex('confused').lock());
  t.is(cause.code, 'ERR');
  t.regex(cause.message, /SENTINEL was refused/);
});

test.serial('a master that was killed is followed, and is not used again', async (t) => {
  const group = await useSentinels(t);
  // The former master comes back without this user: its log shows who tries to use it nevertheless.
  await Promise.all(
    group.servers.map((server) =>
      server.command('ACL', 'SETUSER', 'app', 'on', '>pw', '~*', '+@all'),
    ),
  );
  const url = group.url().replace('://', '://app:pw@');
  const former = await group.master();
  const redsync = connect(t, url);
  await works(t, redsync, former);
  await former.kill();
  const error = await rejection(redsync.newMutex('sentinel').lock());
  t.is(error.code, 'ERR_LOCK_FAILED');
  await worksAgain(t, redsync, 'sentinel', SETTLED);
  const master = await group.failover(former);
  await works(t, redsync, master);

  // It comes back as the master that it was, until the sentinels tell it otherwise.
  await former.restart();
  for (let round = 0; round < 10; round++) await works(t, redsync, master);
  await until(() => isReplica(former), SETTLED);
  for (let round = 0; round < 10; round++) await works(t, redsync, master);
  await works(t, connect(t, url), master);
  const refused = await former.command('ACL', 'LOG');
  t.deepEqual(
    refused.filter((entry) => entry.includes('app')),
    [],
  );
});

test.serial('one lock() waits out a failover', async (t) => {
  const group = await useSentinels(t);
  const former = await group.master();
  const redsync = connect(t, group.url(), { tries: Infinity, retryDelay: 50 });
  await works(t, redsync, former);
  await former.kill();
  const lock = await redsync.newMutex('patient').lock();
  const master = await group.failover(former);
  t.is(await master.command('GET', 'patient'), lock.value);
  t.true(await lock.unlock());
});

test.serial('a master that hangs is followed, and is not used again', async (t) => {
  const group = await useSentinels(t);
  const former = await group.master();
  const redsync = connect(t, group.url());
  await works(t, redsync, former);
  former.pause();
  await worksAgain(t, redsync, 'sentinel', SETTLED);
  const master = await group.failover(former);
  await works(t, redsync, master);

  former.resume();
  for (let round = 0; round < 10; round++) await works(t, redsync, master);
  await until(() => isReplica(former), SETTLED);
  await works(t, redsync, master);
  await until(async () => (await former.command('DBSIZE')) === 0, SETTLED);
});

test.serial('a hand-over to a replica is followed', async (t) => {
  const group = await useSentinels(t);
  const former = await group.master();
  const redsync = connect(t, group.url());
  const lock = await redsync.newMutex('kept').lock();
  const others = group.servers.filter((server) => server !== former);
  await until(async () => {
    const found = await Promise.all(others.map((server) => server.command('GET', 'kept')));
    return found.every((value) => value === lock.value);
  });
  const master = await group.handOver(former);
  // Until a sentinel has made a replica of it, the former master gives locks, and forgets them.
  await until(() => isReplica(former), SETTLED);
  await worksAgain(t, redsync, 'sentinel', SETTLED);
  await works(t, redsync, master);
  // The lock has moved with the data.
  t.is(await master.command('GET', 'kept'), lock.value);
  t.true(await lock.extend());
  t.true(await lock.unlock());
});

// Its connections stay open, so that nothing but its answers tells.
test.serial('a server that is no master any more gives no lock', async (t) => {
  const group = await useSentinels(t, { replicas: 1, sentinels: 1 });
  const former = await group.master();
  const [replica] = group.servers.filter((server) => server !== former);
  const redsync = connect(t, group.url());
  await works(t, redsync, former);

  // The sentinel still names it.
  group.sentinels[0].pause();
  await former.command('REPLICAOF', '127.0.0.1', replica.port);
  t.is((await causeOf(redsync.newMutex('sentinel').lock())).code, 'READONLY');
  group.sentinels[0].resume();

  await worksAgain(t, redsync, 'sentinel', SETTLED);
  await until(async () => {
    const roles = await Promise.all(group.servers.map((server) => roleOf(server).catch(() => '')));
    return roles.includes('master');
  }, SETTLED);
});

test.serial('a replica that a sentinel takes for the master is not used', async (t) => {
  const args = ['--repl-diskless-sync-delay', '0'];
  const [master, replica] = await useServers(t, 2, { args });
  await replica.command('REPLICAOF', '127.0.0.1', master.port);
  // A replica that takes writes of its own would give locks that nobody else sees.
  await replica.command('CONFIG', 'SET', 'replica-read-only', 'no');
  await until(async () => (await master.command('ROLE'))[2].length === 1);
  const sentinel = await startSentinel(replica, { quorum: 1 });
  t.teardown(() => sentinel.stop());
  const redsync = connect(t, `redis+sentinel://127.0.0.1:${sentinel.port}/mymaster`);
  t.is((await causeOf(redsync.newMutex('sentinel').lock())).code, 'READONLY');
  t.is(await replica.command('DBSIZE'), 0);
});

test.serial('servers and sentinels have passwords of their own', async (t) => {
  const [password, sentinelPassword] = ['servers-secret', 'sentinels-secret'];
  const group = await useSentinels(t, { password, sentinelPassword, replicas: 1 });
  const master = await group.master();
  const node = { ...group.options(), password, sentinelPassword };
  await works(t, connect(t, node), master);
  const url = group.url().replace('://', `://:${password}@`);
  await works(t, connect(t, { url, sentinelPassword }), master);

  const cases = [
    [{ ...node, sentinelPassword: undefined }, 'NOAUTH'],
    [{ ...node, sentinelPassword: password }, 'WRONGPASS'],
    [{ ...node, password: undefined }, 'NOAUTH'],
    [{ ...node, password: sentinelPassword }, 'WRONGPASS'],
  ];
  for (const [wrong, code] of cases) {
    const redsync = connect(t, wrong);
    const error = await rejection(redsync.newMutex('refused').lock());
    t.is(error.errors[0].cause.code, code);
    const told = inspect([error, await redsync.health(), redsync], { depth: 9, showHidden: true });
    t.false(told.includes('secret'));
  }
});

test.serial('a sentinel that does not tell of failovers is told of, until it does', async (t) => {
  const group = await useSentinels(t, { replicas: 0, sentinels: 2 });
  const page = path.join(__dirname, '..', 'docs', 'operations.md');
  const [, user, password, rule] = /^ACL SETUSER (\S+) on >(\S+) (.*\+sentinel.*)$/m.exec(
    fs.readFileSync(page, 'utf8'),
  );
  await Promise.all(
    group.sentinels.map((sentinel) =>
      sentinel.command('ACL', 'SETUSER', user, 'on', `>${password}`, ...rule.split(' ')),
    ),
  );
  const [, sentinel] = group.sentinels;
  await sentinel.command('ACL', 'SETUSER', user, '-subscribe');
  const node = { ...group.options(), sentinelUsername: user, sentinelPassword: password };
  const redsync = connect(t, node);
  await works(t, redsync, await group.master());
  const health = await until(async () => {
    const [found] = await redsync.health();
    return found.error && found;
  });
  t.is(health.status, 'up');
  t.is(health.error.cause.code, 'NOPERM');
  t.regex(health.error.message, /sentinel 1 tells of no failover: SUBSCRIBE was refused: NOPERM/);
  await redsync.ready();

  await sentinel.command('ACL', 'SETUSER', user, '+subscribe');
  await until(async () => (await redsync.health())[0].error === undefined);
});

test.serial('a user of the sentinels may know the one command that is asked', async (t) => {
  const group = await useSentinels(t, { replicas: 0, sentinels: 1 });
  const [sentinel] = group.sentinels;
  const rule = ['on', '>pw', 'resetchannels', '-@all', '+sentinel|get-master-addr-by-name'];
  await sentinel.command('ACL', 'SETUSER', 'asker', ...rule);
  const node = { ...group.options(), sentinelUsername: 'asker', sentinelPassword: 'pw' };
  await works(t, connect(t, node), await group.master());
  await sentinel.command('ACL', 'SETUSER', 'asker', '-@all');
  const cause = await causeOf(connect(t, node).newMutex('refused').lock());
  t.is(cause.code, 'NOPERM');
});

test.serial('rediss+sentinel: is TLS to the sentinels and to the master', async (t) => {
  const authority = await createAuthority();
  const identity = await authority.issue({ addresses: ['127.0.0.1'] });
  const group = await useSentinels(t, { replicas: 1, sentinels: 1, tls: identity });
  const master = await group.master();
  const url = group.url().replace('redis+', 'rediss+');
  const tls = { ca: authority.cert };
  const redsync = connect(t, { url, tls });
  await works(t, redsync, master);
  t.is((await causeOf(connect(t, url).newMutex('refused').lock())).code, 'ERR_TLS');
  t.is((await causeOf(connect(t, group.url()).newMutex('refused').lock())).code, 'ECONNRESET');

  // Each has its own certificate here, so each has its own pin.
  const own = await authority.issue({ addresses: ['127.0.0.1'] });
  await master.useCertificate(own);
  const [ofSentinel, ofMaster] = [identity.cert, own.cert].map(fingerprintOf);
  const pinned = (fingerprint256) => connect(t, { url, tls: { fingerprint256 } });
  await works(t, pinned([ofSentinel, ofMaster]), master);
  for (const pin of [ofSentinel, ofMaster]) {
    const { code, message } = await causeOf(pinned(pin).newMutex('refused').lock());
    t.is(code, 'ERR_TLS');
    t.true(message.endsWith(pin === ofSentinel ? ofMaster : ofSentinel), message);
  }

  await master.kill();
  await worksAgain(t, redsync, 'sentinel', SETTLED);
  await works(t, redsync, await group.failover(master));
});

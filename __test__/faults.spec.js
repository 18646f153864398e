'use strict';

const net = require('node:net');
const { once } = require('node:events');
const { networkInterfaces } = require('node:os');
const { inspect } = require('node:util');

const test = require('ava');

const {
  FailedError,
  LockExpiredError,
  NodeTakenError,
  Redsync,
  RedisError,
  TakenError,
} = require('../index.js');
const { delay, elapsed, rejection, until, untilSteady } = require('./helpers/async.js');
const { deadUrl, startServer, useServers } = require('./helpers/servers.js');

// The node timeout of these tests; what a test allows for a call that must not wait for more than
// one of them is far longer, because machines can be slow, and far shorter than the expiry.
const NODE_TIMEOUT = 250;
const OPTIONS = { expiry: 20_000, timeoutFactor: NODE_TIMEOUT / 20_000, tries: 1 };
const BOUND = 5000;
const SECRET = 'hunter2-correct-horse';

function connect(t, urls, options) {
  const redsync = new Redsync(urls, { ...OPTIONS, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

function urlsOf(servers) {
  return servers.map(({ url }) => url);
}

async function isFreeOn(servers, name) {
  const found = await Promise.all(servers.map((server) => server.command('EXISTS', name)));
  return found.every((keys) => keys === 0);
}

/** The error of the one node of a Redsync that lock() met. */
async function nodeError(redsync) {
  const error = await rejection(redsync.newMutex('name').lock());
  if (!(error instanceof FailedError)) throw error;
  return { error, node: error.errors[0] };
}

test.serial('one of three nodes that does not exist costs nothing', async (t) => {
  const servers = await useServers(t, 2);
  const redsync = connect(t, [servers[0].url, await deadUrl(), servers[1].url]);
  for (let round = 0; round < 5; round++) {
    const call = redsync.newMutex('dead').lock();
    t.true((await elapsed(call)) < BOUND);
    const lock = await call;
    t.true(await lock.extend());
    t.true(await lock.mutex.valid());
    t.true(await lock.unlock());
  }
  t.true(await isFreeOn(servers, 'dead'));
});

test.serial('one of three nodes that hangs costs no more than the node timeout', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, urlsOf(servers));
  await (await redsync.newMutex('warm-up').lock()).unlock();
  servers[1].pause();
  const names = ['hung-1', 'hung-2', 'hung-3'];
  for (const name of names) {
    const call = redsync.newMutex(name).lock();
    t.true((await elapsed(call)) < BOUND);
    t.true(await (await call).unlock());
  }
  servers[1].resume();
  for (const name of names) await untilSteady(() => isFreeOn(servers, name));
});

test.serial('a minority that hangs does not slow failing fast', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, urlsOf(servers), { failFast: true, timeoutFactor: 0.5 });
  await redsync.ready();
  servers[2].pause();
  const call = redsync.newMutex('fast').lock();
  t.true((await elapsed(call)) < BOUND); // half of the node timeout
  const lock = await call;
  const unlocking = lock.unlock();
  t.true((await elapsed(unlocking)) < BOUND);
  t.true(await unlocking);
  servers[2].resume();
  await untilSteady(() => isFreeOn(servers, 'fast'), { period: 500 });
});

// Two taken nodes of four rule a lock out, but do not tell yet whether it is taken or undecided.
test.serial('failing fast does not take a taken lock for an undecided one', async (t) => {
  const servers = await useServers(t, 4);
  const redsync = connect(t, urlsOf(servers), { failFast: true, timeoutFactor: 0.5 });
  await redsync.ready();
  await Promise.all(servers.map((server) => server.command('SET', 'told', 'foreign')));
  const late = servers.slice(2);
  for (const server of late) server.pause();
  const call = redsync.newMutex('told').tryLock();
  await Promise.race([call.catch(() => {}), delay(200)]);
  for (const server of late) server.resume();
  t.is(await call, null);
});

test.serial('a node that was killed and comes back is used again', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, urlsOf(servers));
  const first = await redsync.newMutex('comeback').lock();
  await servers[0].kill();
  t.true(await first.extend());
  t.true(await first.unlock());
  t.true(await (await redsync.newMutex('comeback').lock()).unlock());

  await servers[0].restart();
  await until(async () => {
    const lock = await redsync.newMutex('comeback').lock();
    const used = (await servers[0].command('GET', 'comeback')) === lock.value;
    await lock.unlock();
    return used;
  });
  t.true(await isFreeOn(servers, 'comeback'));
});

test.serial('every node that was killed and comes back is used again', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = connect(t, server.url);
  await (await redsync.newMutex('again').lock()).unlock();
  await server.restart();
  const lock = await redsync.newMutex('again', { tries: Infinity, retryDelay: 20 }).lock();
  t.is(await server.command('GET', 'again'), lock.value);
  t.true(await lock.unlock());
});

test.serial('without a quorum every dead node is named', async (t) => {
  const [server] = await useServers(t, 1);
  const dead = [await deadUrl(), await deadUrl()];
  const redsync = connect(t, [dead[0], server.url, dead[1]]);
  for (let round = 0; round < 3; round++) {
    const call = redsync.newMutex('no-quorum').lock();
    t.true((await elapsed(call)) < BOUND);
    const error = await rejection(call);
    t.true(error instanceof FailedError);
    t.false(error instanceof TakenError);
    t.is(error.code, 'ERR_LOCK_FAILED');
    t.deepEqual(
      error.errors.map(({ node }) => node),
      [0, 2],
    );
    for (const [i, each] of error.errors.entries()) {
      t.true(each instanceof RedisError);
      t.is(each.code, 'ERR_REDIS');
      t.true(each.cause instanceof Error);
      t.is(each.cause.code, 'ECONNREFUSED');
      t.true(each.message.includes(dead[i].replace('redis://', '')), each.message);
    }
  }
  t.true(await isFreeOn([server], 'no-quorum'));
  await t.throwsAsync(redsync.newMutex('no-quorum').tryLock(), { code: 'ERR_LOCK_FAILED' });
});

test.serial('a dead node and a taken one make neither a lock nor a taken quorum', async (t) => {
  const servers = await useServers(t, 2);
  await servers[0].command('SET', 'mixed', 'foreign');
  const redsync = connect(t, [...urlsOf(servers), await deadUrl()]);
  const error = await rejection(redsync.newMutex('mixed').lock());
  t.is(error.code, 'ERR_LOCK_FAILED');
  const [taken, dead] = [...error.errors].sort((a, b) => a.node - b.node);
  t.true(taken instanceof NodeTakenError);
  t.is(taken.node, 0);
  t.true(dead instanceof RedisError);
  t.is(dead.node, 2);
  t.true(await isFreeOn([servers[1]], 'mixed'));
  t.is(await servers[0].command('GET', 'mixed'), 'foreign');
});

test.serial(
  'unlock() and extend() without a quorum of answers fail, neither expired nor taken',
  async (t) => {
    const servers = await useServers(t, 3);
    const redsync = connect(t, urlsOf(servers));
    const lock = await redsync.newMutex('lost-quorum').lock();
    await Promise.all([servers[0].kill(), servers[1].kill()]);
    const extended = await rejection(lock.extend());
    t.is(extended.code, 'ERR_EXTEND_FAILED');
    t.true(lock.remaining > 0);
    const unlocked = await rejection(lock.unlock());
    t.is(unlocked.code, 'ERR_LOCK_FAILED');
    t.false(unlocked instanceof LockExpiredError);
    t.deepEqual(
      unlocked.errors.map(({ node }) => node),
      [0, 1],
    );
    t.true(await isFreeOn([servers[2]], 'lost-quorum'));
  },
);

test.serial('an attempt that timed out leaves no key', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, urlsOf(servers));
  await redsync.ready();
  servers[0].pause();
  servers[2].pause();
  const call = redsync.newMutex('timed-out').lock();
  t.true((await elapsed(call)) < BOUND);
  const error = await rejection(call);
  t.is(error.code, 'ERR_LOCK_FAILED');
  t.deepEqual(
    error.errors.map(({ node }) => node),
    [0, 2],
  );
  t.is(await servers[1].command('EXISTS', 'timed-out'), 0);
  servers[0].resume();
  servers[2].resume();
  await untilSteady(() => isFreeOn(servers, 'timed-out'), { period: 500 });
  const lock = await redsync.newMutex('timed-out', { tries: Infinity, retryDelay: 20 }).lock();
  t.true(await lock.unlock());
});

test.serial('unlock() on a hung node settles, and the key goes when it resumes', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = connect(t, server.url);
  const lock = await redsync.newMutex('hanging').lock();
  server.pause();
  const call = lock.unlock();
  t.true((await elapsed(call)) < BOUND);
  t.is((await rejection(call)).code, 'ERR_LOCK_FAILED');
  server.resume();
  await untilSteady(() => isFreeOn([server], 'hanging'));
});

test.serial('a wrong password is told by the node error, and told to nobody else', async (t) => {
  const server = await startServer({ password: 'the-real-one' });
  t.teardown(() => server.stop());
  const url = server.url.replace('redis://', `redis://:${SECRET}@`);
  const redsync = connect(t, url);
  const { error, node } = await nodeError(redsync);
  t.true(node instanceof RedisError);
  t.is(node.cause.code, 'WRONGPASS');
  const [health] = await redsync.health();
  t.is(health.status, 'down');
  for (const shown of [error, redsync, health, redsync.newMutex('name')]) {
    t.false(inspect(shown, { depth: Infinity, showHidden: true }).includes(SECRET));
  }
  for (let each = error; each; each = each.cause ?? each.errors?.[0]) {
    t.false(`${each.message}${each.stack}${JSON.stringify(each)}`.includes(SECRET));
  }
});

for (const when of ['before it is asked', 'when it is asked']) {
  test.serial(`a server in protected mode is told, if it says so ${when}`, async (t) => {
    const listener = net.createServer((client) => {
      client.on('error', () => {});
      const greet = () => client.end('-DENIED Redis is running in protected mode.\r\n');
      if (when === 'before it is asked') greet();
      else client.once('data', greet);
    });
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    t.teardown(() => listener.close());
    const redsync = connect(t, `redis://127.0.0.1:${listener.address().port}`);
    const { cause } = (await nodeError(redsync)).node;
    t.is(cause.code, 'DENIED');
    t.regex(cause.message, /protected mode/);
  });
}

// A real one lets its own machine in by the loopback interface only.
const OUTSIDE = Object.values(networkInterfaces())
  .flat()
  .find(({ family, internal }) => family === 'IPv4' && !internal);
const testFromOutside = OUTSIDE ? test.serial : () => {};

testFromOutside('a real server in protected mode is told', async (t) => {
  const [server] = await useServers(t, 1, {
    args: ['--bind', '0.0.0.0', '--protected-mode', 'yes'],
  });
  const redsync = connect(t, `redis://${OUTSIDE.address}:${server.port}`);
  for (let round = 0; round < 20; round++) {
    t.is((await nodeError(redsync)).node.cause.code, 'DENIED');
    const [health] = await redsync.health();
    t.is(health.error.cause.code, 'DENIED');
  }
});

test.serial('a missing password is told by the node error', async (t) => {
  const server = await startServer({ password: 'the-real-one' });
  t.teardown(() => server.stop());
  const { node } = await nodeError(connect(t, server.url));
  t.true(node instanceof RedisError);
  t.is(node.cause.code, 'NOAUTH');
});

test.serial('a password that becomes right heals without a new Redsync', async (t) => {
  const [server] = await useServers(t, 1);
  await server.command('ACL', 'SETUSER', 'app', 'on', '>old', '~*', '+@all');
  const redsync = connect(t, server.url.replace('redis://', 'redis://app:new@'));
  t.is((await nodeError(redsync)).node.cause.code, 'WRONGPASS');
  await server.command('ACL', 'SETUSER', 'app', '>new');
  const lock = await redsync.newMutex('healed', { tries: Infinity, retryDelay: 20 }).lock();
  t.true(await lock.unlock());
});

// options of the node, what the server says to them
const REFUSED = [
  [{ db: 99 }, 'SELECT was refused: ERR DB index is out of range'],
  [
    { password: SECRET },
    'AUTH was refused: ERR AUTH <password> called without any password configured for the default user',
  ],
];

for (const [options, words] of REFUSED) {
  test.serial(`why a server refuses a login is told: ${words}`, async (t) => {
    const [server] = await useServers(t, 1);
    const { host = '127.0.0.1', port } = server;
    const { node } = await nodeError(connect(t, { host, port, ...options }));
    t.is(node.cause.code, 'ERR');
    t.is(node.message, `node 0 (${host}:${port}): ${words}`);
  });
}

test.serial('user, password and db of the URL are used', async (t) => {
  const [server] = await useServers(t, 1);
  const password = 'p@ss:w/rd?#%';
  await server.command('ACL', 'SETUSER', 'alice', 'on', `>${password}`, '~locks:*', '+@all');
  const login = `redis://alice:${encodeURIComponent(password)}@`;
  const redsync = connect(t, `${server.url.replace('redis://', login)}/3`);
  const lock = await redsync.newMutex('locks:1').lock();

  const client = await server.connect();
  t.teardown(() => client.close());
  t.is(await client.command('EXISTS', 'locks:1'), 0);
  await client.command('SELECT', 3);
  t.is(await client.command('GET', 'locks:1'), lock.value);
  t.true(await lock.unlock());
  t.is(await client.command('EXISTS', 'locks:1'), 0);

  const forbidden = await rejection(redsync.newMutex('elsewhere').lock());
  t.is(forbidden.errors[0].cause.code, 'NOPERM');
});

test.serial('connection options do what the URL does', async (t) => {
  const server = await startServer({ password: SECRET });
  t.teardown(() => server.stop());
  const redsync = connect(t, {
    host: '127.0.0.1',
    port: server.port,
    password: SECRET,
    db: 2,
    clientName: 'named-by-test',
  });
  const lock = await redsync.newMutex('options').lock();
  const client = await server.connect();
  t.teardown(() => client.close());
  await client.command('SELECT', 2);
  t.is(await client.command('GET', 'options'), lock.value);
  t.regex(await client.command('CLIENT', 'LIST'), / name=named-by-test /);
  t.true(await lock.unlock());
  t.false(inspect(redsync, { depth: Infinity, showHidden: true }).includes(SECRET));
});

test.serial('a unix socket is a node', async (t) => {
  const [server] = await useServers(t, 1, { unixSocket: true });
  const redsync = connect(t, `redis+unix://${server.socket}?db=2`);
  const lock = await redsync.newMutex('socket').lock();
  const client = await server.connect();
  t.teardown(() => client.close());
  await client.command('SELECT', 2);
  t.is(await client.command('GET', 'socket'), lock.value);
  t.true(await lock.unlock());

  const missing = connect(t, `redis+unix://${server.socket}.missing`);
  t.is((await nodeError(missing)).node.cause.code, 'ENOENT');
});

test.serial('a key of another type is taken, and never overwritten', async (t) => {
  const [server] = await useServers(t, 1);
  await server.command('RPUSH', 'list', 'item');
  const redsync = connect(t, server.url);
  for (const names of ['list', ['free', 'list']]) {
    const error = await rejection(redsync.newMutex(names).lock());
    t.true(error instanceof TakenError, error.stack);
    t.deepEqual(error.nodes, [0]);
    t.is(await redsync.newMutex(names).tryLock(), null);
  }
  const mutex = redsync.newMutex('list', { value: 'mine', setNXOnExtend: true });
  t.true((await rejection(mutex.unlock())) instanceof FailedError);
  t.is((await rejection(mutex.extend())).code, 'ERR_EXTEND_FAILED');
  t.deepEqual(await server.command('LRANGE', 'list', 0, -1), ['item']);
  t.is(await server.command('PTTL', 'list'), -1);
  t.true(await isFreeOn([server], 'free'));
});

test.serial('a server that forgets its scripts is taught them again', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, urlsOf(servers));
  const forget = () => Promise.all(servers.map((server) => server.command('SCRIPT', 'FLUSH')));
  const mutex = redsync.newMutex('forgetful');
  const pair = redsync.newMutex(['forgetful-1', 'forgetful-2']);
  for (let round = 0; round < 2; round++) {
    const lock = await mutex.lock();
    await forget();
    t.true(await lock.extend());
    await forget();
    t.true(await mutex.valid());
    await forget();
    t.true(await lock.unlock());
    await forget();
    const both = await pair.lock();
    await forget();
    t.true(await both.unlock());
  }
});

test.serial('a server out of memory gives no lock, but lets go of one', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = connect(t, server.url);
  const held = await redsync.newMutex('held').lock();
  await server.command('CONFIG', 'SET', 'maxmemory', '1');
  const error = await rejection(redsync.newMutex('refused').lock());
  t.is(error.errors[0].cause.code, 'OOM');
  t.true(await held.extend());
  t.true(await held.unlock());
});

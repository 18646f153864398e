'use strict';

// A key without an expiry is in the way for ever, and no lock is stored like that. Who has waited for it is told.

const test = require('ava');

const { Redsync, TakenError } = require('../index.js');
const { rejection, until } = require('./helpers/async.js');
const { CLIENTS } = require('./helpers/clients.js');
const { monitor, useServers } = require('./helpers/servers.js');

const PATIENT = { expiry: 20_000, timeoutFactor: 0.25, wait: 500 };
const ENDLESS = 'lock is taken by a key that has no expiry: not a lock?';
const TAKEN = 'lock is taken';

function connect(t, nodes) {
  const redsync = new Redsync(nodes, PATIENT);
  t.teardown(() => redsync.close());
  return redsync;
}

/** What each node is said to be, of a call that was in vain. */
async function told(call) {
  const error = await rejection(call);
  if (!(error instanceof TakenError)) throw error;
  return error.errors.map(({ message }) => /^node \d+ \(.*?\): (.*)$/.exec(message)[1]);
}

const CALLS = {
  'a mutex': (redsync) => redsync.newMutex('job').lock(),
  'a mutex of several names': (redsync) => redsync.newMutex(['free', 'job']).lock(),
  'a mutex with fencing': (redsync) => redsync.newMutex('job', { fencing: true }).lock(),
  'a reader': (redsync) => redsync.newMutex('job', { mode: 'read' }).lock(),
  'a writer': (redsync) => redsync.newMutex('job', { mode: 'write' }).lock(),
  'acquire()': (redsync) => redsync.acquire('job'),
  'using()': (redsync) => redsync.using('job', () => {}),
};

for (const [title, call] of Object.entries(CALLS)) {
  test.serial(`who has waited is told: ${title}`, async (t) => {
    const servers = await useServers(t, 3);
    for (const server of servers) await server.command('SET', 'job', 'a cached page');
    const redsync = connect(
      t,
      servers.map(({ url }) => url),
    );
    const error = await rejection(call(redsync));
    // A lock that lasts is watched on a quorum.
    const endless = error.errors.filter(({ message }) => message.endsWith(ENDLESS));
    t.true(error instanceof TakenError, error.message);
    t.true(endless.length >= 2, error.message);
    t.true(error.message.includes(ENDLESS));
    for (const server of servers) t.is(await server.command('GET', 'job'), 'a cached page');
  });
}

test.serial('whatever is stored there', async (t) => {
  const [server] = await useServers(t, 1);
  await server.command('RPUSH', 'job', 'a', 'b');
  t.deepEqual(await told(connect(t, server.url).acquire('job')), [ENDLESS]);
});

test.serial('it costs no command: one look at a key arms the watch', async (t) => {
  const [server] = await useServers(t, 1);
  await server.command('SET', 'job', 'a cached page');
  const redsync = connect(t, server.url);
  await redsync.ready();
  const recorded = await monitor(t, server);
  t.deepEqual(await told(redsync.acquire('job')), [ENDLESS]);
  const commands = await recorded.settle();
  const of = (verb) => commands.filter(([first]) => first.toUpperCase() === verb).length;
  t.is(of('PTTL'), 1);
  t.is(of('GET') + of('TTL'), 0);
});

test.serial(
  'a key with an expiry is an ordinary lock, also if it got that while somebody waited',
  async (t) => {
    const [server] = await useServers(t, 1);
    const redsync = connect(t, server.url);
    await server.command('SET', 'job', 'value', 'PX', 600_000);
    t.deepEqual(await told(redsync.acquire('job')), [TAKEN]);

    await server.command('SET', 'job', 'value');
    await server.command('CONFIG', 'RESETSTAT');
    const waiting = told(redsync.newMutex('job', { wait: 2000 }).lock());
    await until(async () => /^cmdstat_pttl:/m.test(await server.command('INFO', 'commandstats')));
    await server.command('PEXPIRE', 'job', 600_000);
    t.deepEqual(await waiting, [TAKEN]);
  },
);

test.serial('who does not wait is not told, and inspect() tells', async (t) => {
  const [server] = await useServers(t, 1);
  await server.command('SET', 'job', 'a cached page');
  const redsync = connect(t, server.url);
  t.is(await redsync.newMutex('job').tryLock(), null);
  t.deepEqual(await told(redsync.newMutex('job', { tries: 1 }).lock()), [TAKEN]);
  t.deepEqual(await told(redsync.newMutex('job', { wait: 0 }).lock()), [TAKEN]);
  t.like(await redsync.inspect('job'), [{ value: 'a cached page', remaining: Infinity }]);
});

for (const [kind, make] of Object.entries(CLIENTS)) {
  test.serial(`over a client nothing is watched, so nothing is known: ${kind}`, async (t) => {
    const [server] = await useServers(t, 1);
    await server.command('SET', 'job', 'a cached page');
    const { pool, close } = await make(server);
    t.teardown(close);
    t.deepEqual(await told(connect(t, pool).acquire('job')), [TAKEN]);
  });
}

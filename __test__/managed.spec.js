'use strict';

// What services leave out of a server: a lock needs none of it.

const test = require('ava');

const { Redsync } = require('../index.js');
const { until } = require('./helpers/async.js');
const { useServers } = require('./helpers/servers.js');

const OPTIONS = { expiry: 20_000, retryDelay: 20 };

/** A server that does not know these commands. */
async function useServerWithout(t, commands) {
  const args = commands.flatMap((command) => ['--rename-command', command, '']);
  const [server] = await useServers(t, 1, { args });
  for (const command of commands) {
    await t.throwsAsync(server.command(command), { message: /unknown command/i });
  }
  return server;
}

function connect(t, server) {
  const redsync = new Redsync(server.url, OPTIONS);
  t.teardown(() => redsync.close());
  return redsync;
}

const WITHOUT = [
  ['CONFIG', 'DEBUG', 'SHUTDOWN', 'SAVE', 'BGSAVE', 'REPLICAOF', 'MIGRATE'], // nearly all of them
  ['ROLE', 'CLUSTER', 'COMMAND'],
  ['HELLO'],
  ['CLIENT'], // also the part of it that tells of changes
];

for (const commands of WITHOUT) {
  test(`all kinds of locks on a server without ${commands.join(', ')}`, async (t) => {
    const server = await useServerWithout(t, commands);
    const [one, other] = [connect(t, server), connect(t, server)];

    const lock = await one.acquire('name', { autoExtend: true });
    t.is(lock.signal.aborted, false); // it is guarded, as far as the server lets it
    t.is(await other.newMutex('name').tryLock(), null);
    const waiting = other.acquire('name', { wait: 15_000 });
    t.true(await lock.extend());
    t.true(await lock.unlock());
    const next = await waiting;
    t.is(await server.command('GET', 'name'), next.value);
    t.true(await next.unlock());

    const fenced = await one.acquire(['fenced', 'fenced-2'], { fencing: true });
    t.true(fenced.token > 0);
    t.true(await fenced.unlock());
    const permit = await one.newSemaphore('permits', 2).lock();
    t.true(await permit.unlock());
    const rooms = one.newReadWriteLock('room');
    const readers = [await rooms.read.lock(), await rooms.read.lock()];
    t.is((await one.list('room')).length, 1);
    for (const reader of readers) t.true(await reader.unlock());
    const writer = await rooms.write.lock();
    t.true(await writer.unlock());

    const [health] = await one.health();
    t.is(health.status, 'up');
    t.is(health.error, undefined);
    // The last fencing tokens stay.
    await until(async () => (await server.command('KEYS', '*')).every((key) => /fenc/.test(key)));
  });
}

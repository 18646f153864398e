'use strict';

// Many locks that are released, or kept alive, in one tick are asked for with one command: each gets
// its own answer all the same.

const test = require('ava');

const { Redsync } = require('../index.js');
const { rejection, until } = require('./helpers/async.js');
const { ANSWERS, FATES, countScripts, deal, lockMany } = require('./helpers/fates.js');
const { monitor, useServers } = require('./helpers/servers.js');

const EXPIRY = 60_000;

function connect(t, servers, options) {
  const urls = servers.map(({ url }) => url);
  const redsync = new Redsync(urls, { expiry: EXPIRY, tries: 1, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

for (const nodes of [1, 3]) {
  test(`200 locks are released by a few commands, each with its own answer, on ${nodes}`, async (t) => {
    const servers = await useServers(t, nodes);
    const redsync = connect(t, servers);
    const locks = await lockMany(redsync, 200);
    const fates = await deal(Object.keys(FATES), locks, servers);
    const { settle } = await monitor(t, servers[0]);
    const outcomes = await Promise.all(locks.map((lock) => lock.unlock().catch((error) => error)));
    outcomes.forEach((outcome, i) => ANSWERS[fates[i]](t, outcome));
    // Fifty are of another type, and asked about alone.
    t.true(countScripts(await settle()) < 70);
    for (const server of servers) t.is(await server.command('DBSIZE'), 100, 'the foreign keys');
  });
}

test('a lock that is released twice in one tick was released once', async (t) => {
  const redsync = connect(t, await useServers(t, 1));
  const locks = await lockMany(redsync, 20);
  const outcomes = await Promise.all(
    locks.flatMap(({ mutex, value }) => {
      const other = redsync.newMutex(mutex.name, { value });
      return [mutex.unlock(), rejection(other.unlock())];
    }),
  );
  outcomes.forEach((outcome, i) => ANSWERS[['kept', 'deleted'][i % 2]](t, outcome));
});

test('what is asked about a name behind its release finds it released', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = connect(t, [server]);
  const locks = await lockMany(redsync, 100);
  const again = await Promise.all(
    locks.map(async (lock) => {
      const unlocking = lock.unlock();
      const relocked = redsync.newMutex(lock.mutex.name).tryLock();
      await unlocking;
      return relocked;
    }),
  );
  t.true(again.every((lock) => lock !== null));
  await Promise.all(again.map((lock) => lock.unlock()));
  t.is(await server.command('DBSIZE'), 0);
});

test('a release is asked for behind the extension that was called first', async (t) => {
  const redsync = connect(t, await useServers(t, 1));
  const locks = await lockMany(redsync, 50);
  const outcomes = await Promise.all(locks.flatMap((lock) => [lock.extend(), lock.unlock()]));
  t.true(outcomes.every((outcome) => outcome === true));
});

test('the scripts of a server are flushed between two bursts', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = connect(t, [server]);
  for (let burst = 0; burst < 5; burst++) {
    const locks = await lockMany(redsync, 100);
    await server.command('SCRIPT', 'FLUSH');
    const released = await Promise.all(locks.map((lock) => lock.unlock()));
    t.true(released.every((result) => result === true));
  }
  t.is(await server.command('DBSIZE'), 0);
});

test('where MGET is not allowed each lock is released and kept alive alone', async (t) => {
  const [server] = await useServers(t, 1);
  await server.command('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '+@all', '-mget');
  const url = server.url.replace('redis://', 'redis://app:secret@');
  const redsync = connect(t, [{ url }], { expiry: 900, autoExtend: true });
  const locks = await lockMany(redsync, 100);
  const since = locks.map((lock) => lock.until.getTime());
  await until(() => locks.every((lock, i) => lock.until.getTime() > since[i] + 900));
  t.true(locks.every((lock) => !lock.signal.aborted));
  const released = await Promise.all(locks.map((lock) => lock.unlock()));
  t.true(released.every((result) => result === true));
  t.is(await server.command('DBSIZE'), 0);
  const refusals = await server.command('ACL', 'LOG');
  t.deepEqual(
    refusals.map((entry) => [entry[7], entry[1]]),
    [['mget', 1]],
    'it was tried once',
  );
});

test('many locks are kept alive by a few commands, and each is told of its own loss', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = connect(t, servers, { expiry: 3000, autoExtend: true });
  const locks = await lockMany(redsync, 200);
  const since = locks.map((lock) => lock.until.getTime());
  const { commands, settle } = await monitor(t, servers[0]);
  await until(() => locks.every((lock, i) => lock.until.getTime() > since[i] + 3000));
  const asked = countScripts(await settle());
  t.true(asked <= 60, `${asked} scripts for 200 locks that were extended three times`);
  t.true(commands.length < 100);

  const fates = await deal(['kept', 'deleted', 'taken'], locks, servers);
  const lost = locks.filter((_, i) => fates[i] !== 'kept');
  await until(() => lost.every((lock) => lock.signal.aborted));
  locks.forEach((lock, i) => {
    t.is(lock.signal.aborted, fates[i] !== 'kept');
    const why = { deleted: /deleted/, taken: /taken/ }[fates[i]];
    if (why) t.regex(lock.signal.reason.message, why);
  });
});

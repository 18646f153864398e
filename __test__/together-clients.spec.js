'use strict';

// What together.spec.js shows of URLs, over the clients that an application has already: acquisitions, releases
// and extensions that come in one tick are asked with one command, and each gets its own answer.

const test = require('ava');

const { FailedError, LockExpiredError, Redsync, TakenError } = require('../index.js');
const { rejection, until } = require('./helpers/async.js');
const { believed } = require('./helpers/believed.js');
const { CLIENTS, CLUSTER_CLIENTS } = require('./helpers/clients.js');
const { useCluster } = require('./helpers/cluster.js');
const { ANSWERS, FATES, countScripts, deal, lockMany } = require('./helpers/fates.js');
const { monitor, useServers } = require('./helpers/servers.js');

const ADAPTERS = Object.keys(CLUSTER_CLIENTS);
const PATIENT = { expiry: 60_000, timeoutFactor: 0.3, tries: 1 };

async function connect(t, kind, servers, { client, ...options } = {}) {
  const made = await Promise.all(servers.map((server) => CLIENTS[kind](server, client)));
  made.forEach(({ close }) => t.teardown(() => close()));
  const redsync = new Redsync(
    made.map(({ pool }) => pool),
    { ...PATIENT, ...options },
  );
  t.teardown(() => redsync.close());
  await believed(redsync); // the clients are believed
  return redsync;
}

for (const kind of ADAPTERS) {
  // One at a time: three servers each, and locks that a machine without time for them would lose.
  test.serial(
    `200 locks are released by a few commands, each with its own answer [${kind}]`,
    async (t) => {
      const servers = await useServers(t, 3);
      const redsync = await connect(t, kind, servers);
      const locks = await lockMany(redsync, 200);
      const fates = await deal(Object.keys(FATES), locks, servers);
      const { settle } = await monitor(t, servers[0]);
      const outcomes = await Promise.all(
        locks.map((lock) => lock.unlock().catch((error) => error)),
      );
      outcomes.forEach((outcome, i) => ANSWERS[fates[i]](t, outcome));
      // Fifty are of another type, and asked about alone; a script that was not known counts twice.
      const asked = countScripts(await settle());
      t.true(asked > 50 && asked < 130, `${asked} scripts`);
      for (const server of servers) t.is(await server.command('DBSIZE'), 100, 'the foreign keys');
    },
  );

  test.serial(
    `locks are kept alive by a few commands, and each is told of its loss [${kind}]`,
    async (t) => {
      const servers = await useServers(t, 3);
      const redsync = await connect(t, kind, servers, { expiry: 3000, autoExtend: true });
      const locks = await lockMany(redsync, 100);
      const since = locks.map((lock) => lock.until.getTime());
      const { settle } = await monitor(t, servers[0]);
      await until(() => locks.every((lock, i) => lock.until.getTime() > since[i] + 3000));
      const asked = countScripts(await settle());
      t.true(asked <= 60, `${asked} scripts for 100 locks that were extended three times`);

      const fates = await deal(['kept', 'deleted', 'taken'], locks, servers);
      const lost = locks.filter((_, i) => fates[i] !== 'kept');
      await until(() => lost.every((lock) => lock.signal.aborted));
      locks.forEach((lock, i) => t.is(lock.signal.aborted, fates[i] !== 'kept'));
    },
  );

  test.serial(`extensions of one tick have each its own expiry [${kind}]`, async (t) => {
    const [server] = await useServers(t, 1);
    const redsync = await connect(t, kind, [server]);
    const locks = await lockMany(redsync, 90);
    const expiries = locks.map((_, i) => 1_000_000 * (1 + (i % 3)));
    const extended = await Promise.all(
      locks.map(({ mutex: { name }, value }, i) =>
        redsync.newMutex(name, { value, expiry: expiries[i] }).extend(),
      ),
    );
    t.true(extended.every((result) => result === true));
    for (const [
      i,
      {
        mutex: { name },
      },
    ] of locks.entries()) {
      const left = await server.command('PTTL', name);
      t.true(left > expiries[i] - 500_000 && left <= expiries[i], `${name}: ${left}`);
    }
  });

  test.serial(`where MGET is not allowed each lock is asked about alone [${kind}]`, async (t) => {
    const [server] = await useServers(t, 1);
    await server.command('ACL', 'SETUSER', 'default', '-mget');
    const redsync = await connect(t, kind, [server], { expiry: 3000, autoExtend: true });
    const locks = await lockMany(redsync, 100);
    const since = locks.map((lock) => lock.until.getTime());
    await until(() => locks.every((lock, i) => lock.until.getTime() > since[i] + 1000));
    t.true(locks.every((lock) => !lock.signal.aborted));
    const { settle } = await monitor(t, server);
    t.true(
      (await Promise.all(locks.map((lock) => lock.unlock()))).every((result) => result === true),
    );
    const texts = (await settle()).filter(([verb]) => /^eval(sha)?$/i.test(verb));
    t.true(texts.length >= 100 && texts.every(([, , keys]) => keys === '1'), 'not tried again');
    t.is(await server.command('DBSIZE'), 0);
  });
}

test('several clients of the engine share one client, and each lock is answered for', async (t) => {
  const [server] = await useServers(t, 1);
  const { pool, close } = CLIENTS.ioredis(server, {
    keyPrefix: 'app:',
    enableAutoPipelining: true,
  });
  t.teardown(() => close());
  const both = [1, 2].map(() => new Redsync(pool, PATIENT));
  both.forEach((redsync) => t.teardown(() => redsync.close()));
  await believed(both[0]);
  const locks = await lockMany(both[0], 300);
  const outcomes = await Promise.all(
    locks.flatMap(({ mutex, value }) => [
      mutex.unlock(),
      rejection(both[1].newMutex(mutex.name, { value: `not ${value}` }).unlock()),
    ]),
  );
  outcomes.forEach((outcome, i) => {
    if (i % 2 === 0) t.true(outcome);
    else
      t.true(outcome instanceof TakenError || outcome instanceof LockExpiredError, outcome.stack);
  });
  t.is(await server.command('DBSIZE'), 0);
});

test('the scripts of a server are flushed between two bursts', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = await connect(t, 'ioredis', [server]);
  for (let burst = 0; burst < 5; burst++) {
    const locks = await lockMany(redsync, 100);
    await server.command('SCRIPT', 'FLUSH');
    t.true(
      (await Promise.all(locks.map((lock) => lock.unlock()))).every((result) => result === true),
    );
  }
  t.is(await server.command('DBSIZE'), 0);
});

for (const kind of ADAPTERS) {
  test(`on a cluster each lock is asked about alone [${kind}]`, async (t) => {
    const { servers } = await useCluster(t);
    const { pool, close } = await CLUSTER_CLIENTS[kind](servers);
    t.teardown(() => close());
    const redsync = new Redsync(pool, PATIENT);
    t.teardown(() => redsync.close());
    const locks = await lockMany(redsync, 100);
    t.true(
      (await Promise.all(locks.map((lock) => lock.extend()))).every((result) => result === true),
    );
    t.true(
      (await Promise.all(locks.map((lock) => lock.unlock()))).every((result) => result === true),
    );
  });
}

const FENCED = [false, true];

for (const kind of ADAPTERS) {
  for (const fencing of FENCED) {
    const title = `[${kind}${fencing ? ', fencing' : ''}]`;
    test.serial(
      `200 locks are acquired by a few commands, each with its own answer ${title}`,
      async (t) => {
        const servers = await useServers(t, 3);
        const redsync = await connect(t, kind, servers, { fencing });
        const names = Array.from({ length: 200 }, (_, i) => `name ${i}`);
        const isTaken = (i) => i % 2 === 1;
        for (const server of servers) {
          for (const [i, name] of names.entries()) {
            if (isTaken(i)) await server.command('SET', name, 'foreign', 'PX', 60_000);
          }
        }
        const { settle } = await monitor(t, servers[0]);
        const expiry = (i) => 100_000 * (1 + (i % 3));
        const outcomes = await Promise.all(
          names.map((name, i) =>
            redsync.acquire(name, { expiry: expiry(i) }).catch((error) => error),
          ),
        );
        const asked = await settle();
        const commands = asked.filter(([verb]) => /^(evalsha|eval|set)$/i.test(verb)).length;
        t.true(commands < 40, `${commands} commands`);
        for (const [i, outcome] of outcomes.entries()) {
          if (isTaken(i)) {
            t.true(outcome instanceof TakenError, outcome.stack);
            continue;
          }
          t.is(await servers[1].command('GET', names[i]), outcome.value);
          const left = await servers[2].command('PTTL', names[i]);
          t.true(left > expiry(i) - 60_000 && left <= expiry(i), `${left} of ${expiry(i)} ms`);
          t.is(typeof outcome.token, fencing ? 'number' : 'undefined');
        }
        const tokens = outcomes.map(({ token }) => token).filter((token) => token !== undefined);
        t.is(new Set(tokens).size, tokens.length);
      },
    );
  }

  test.serial(`what a server refuses is told to each that is acquired [${kind}]`, async (t) => {
    const [server] = await useServers(t, 1);
    const redsync = await connect(t, kind, [server]);
    await server.command('CONFIG', 'SET', 'maxmemory', '1');
    const names = Array.from({ length: 50 }, (_, i) => `name ${i}`);
    const errors = await Promise.all(names.map((name) => rejection(redsync.acquire(name))));
    for (const error of errors) {
      t.true(error instanceof FailedError, error.stack);
      t.is(error.errors[0].cause.code, 'OOM');
    }
    await server.command('CONFIG', 'SET', 'maxmemory', '0');
    t.is(await server.command('DBSIZE'), 0);
    t.is((await Promise.all(names.map((name) => redsync.acquire(name)))).length, 50);
  });

  test.serial(`a last token that is none refuses its own name only [${kind}]`, async (t) => {
    const [server] = await useServers(t, 1);
    const redsync = await connect(t, kind, [server], { fencing: true });
    await server.command('SET', 'name 7:fence', 'no number');
    const names = Array.from({ length: 50 }, (_, i) => `name ${i}`);
    const outcomes = await Promise.all(
      names.map((name) => redsync.acquire(name).catch((error) => error)),
    );
    outcomes.forEach((outcome, i) => {
      if (i === 7) t.true(outcome instanceof FailedError, outcome.stack);
      else t.is(typeof outcome.token, 'number');
    });
    t.is(await server.command('EXISTS', 'name 7'), 0);
  });
}

'use strict';

// What must hold for any two libraries that lock the same name on the same servers.

const { randomUUID } = require('node:crypto');

const { Redsync } = require('redsync');
const { until } = require('../__test__/helpers/async.js');
const { monitor, useServers } = require('../__test__/helpers/servers.js');
const { useParty } = require('./party.js');

const SIZES = [1, 3, 5];
const SECONDS = Number(process.env.CONTENTION_SECONDS ?? 20);
const WORKERS = 2; // in each process
const LONG = 60_000;

// Few: node-redlock runs into what its own attempts have left on a minority, and nobody gets on
// until it gives up.
const TRIES = 20;

/** A name that is a key of redis-semaphore, too. */
function newName() {
  return `mutex:interop:${randomUUID()}`;
}

/**
 * Increments of all of them on one counter, how many it has lost, and the fencing tokens of those who
 * get one, in the order of the holders.
 */
async function contend(parties, server, { seconds = SECONDS, ...command }) {
  const counter = `counter:${randomUUID()}`;
  const tokens = `${counter}:tokens`;
  const answers = await Promise.all(
    parties.map((party) =>
      party.ask('contend', {
        counter,
        tokens,
        for: seconds * 1000,
        workers: WORKERS,
        tries: TRIES,
        ...command,
      }),
    ),
  );
  const increments = answers.map((answer) => answer.increments);
  const counted = Number(await server.command('GET', counter));
  return {
    answers,
    increments,
    lost: increments.reduce((a, b) => a + b, 0) - counted,
    tokens: (await server.command('LRANGE', tokens, 0, -1)).map(Number),
  };
}

/** Some settle when a quorum has answered: the other servers may be a little late. */
async function onAll(servers, command, isMeant) {
  await until(async () => {
    const replies = await Promise.all(servers.map((server) => server.command(...command)));
    return replies.every(isMeant);
  });
}

/**
 * Nobody loses an update, everybody gets the lock now and then, and every holder with a fencing token has
 * a greater one than those before him.
 */
async function exclude(t, parties, servers) {
  const name = newName();
  const { answers, increments, lost, tokens } = await contend(parties, servers[0], { name });
  t.log(
    parties
      .map(
        ({ library }, i) =>
          `${library} ${increments[i]} increments, ${answers[i].failures} gave up`,
      )
      .join('; '),
    `lost ${lost} in ${SECONDS} s`,
    ...(tokens.length > 0 ? [`${tokens.length} fencing tokens`] : []),
  );
  for (const { ok, error } of answers) t.true(ok, error);
  t.is(lost, 0);
  for (const count of increments) t.true(count >= SECONDS, `${increments}`);
  const fenced = increments.filter((_, i) => parties[i].library === 'fenced');
  t.is(
    tokens.length,
    fenced.reduce((a, b) => a + b, 0),
  );
  t.deepEqual(
    tokens.filter((token, i) => i > 0 && !(token > tokens[i - 1])),
    [],
  );
  await onAll(servers, ['EXISTS', name], (count) => count === 0);
}

/** What one has locked the other one can extend and unlock, being told its value. */
async function takeOver(t, holder, other, servers) {
  const name = newName();
  const { ok, value, error } = await holder.ask('lock', { name, expiry: 10_000 });
  t.true(ok, error);
  await onAll(servers, ['GET', name], (stored) => stored === value);
  t.false((await other.ask('lock', { name, tries: 1 })).ok);
  t.false((await other.ask('unlock', { name, value: 'another' })).ok);

  const extended = await other.ask('extend', { name, value, expiry: LONG });
  t.true(extended.ok, extended.error);
  await onAll(servers, ['PTTL', name], (ttl) => ttl > LONG / 2);

  const unlocked = await other.ask('unlock', { name, value });
  t.true(unlocked.ok, unlocked.error);
  await onAll(servers, ['EXISTS', name], (count) => count === 0);
  t.false((await holder.ask('unlock', { name, value })).ok);
}

/** What the other one releases, a waiter of ours gets. */
async function wake(t, other, servers) {
  const name = newName();
  const redsync = new Redsync(servers.map(({ url }) => url));
  t.teardown(() => redsync.close());
  const { value } = await other.ask('lock', { name, expiry: LONG });
  const recorded = await monitor(t, servers[0]);
  const isAttempt = ([verb, key]) => verb === 'SET' && key === name;
  const mutex = redsync.newMutex(name, {
    tries: 1000,
    retryDelay: LONG,
  });
  let isReleased = false;
  const waiting = mutex.lock({ signal: AbortSignal.timeout(LONG / 2) }).then((lock) => {
    t.true(isReleased);
    return lock;
  });
  await until(() => recorded.commands.some(isAttempt));
  isReleased = true;
  t.true((await other.ask('unlock', { name, value })).ok);
  const lock = await waiting;
  const attempts = (await recorded.settle()).filter(isAttempt).length;
  t.log(`${attempts} attempts`);
  t.true(attempts <= 4, `${attempts} attempts`);
  t.true(await lock.unlock());
}

/** Declares the tests of a pair of libraries. */
function testPairing(test, own, other) {
  for (const size of SIZES) {
    const title = `${own} and ${other} on ${size} server${size === 1 ? '' : 's'}`;

    test.serial(`${title}: no update is lost`, async (t) => {
      const servers = await useServers(t, size);
      const parties = [own, other].map((library) => useParty(t, library, servers));
      await exclude(t, parties, servers);
    });

    test.serial(`${title}: each extends and unlocks what the other has locked`, async (t) => {
      const servers = await useServers(t, size);
      const [ours, theirs] = [own, other].map((library) => useParty(t, library, servers));
      await takeOver(t, ours, theirs, servers);
      await takeOver(t, theirs, ours, servers);
    });

    if (own === 'redsync')
      test.serial(`${title}: a waiter gets what ${other} releases`, async (t) => {
        const servers = await useServers(t, size);
        await wake(t, useParty(t, other, servers), servers);
      });
  }

  test.serial(
    `${own} and ${other} without a lock lose updates: the counter can tell`,
    async (t) => {
      const servers = await useServers(t, 1);
      const parties = [own, other].map((library) => useParty(t, library, servers));
      const { lost } = await contend(parties, servers[0], { seconds: 1, noLock: true });
      t.true(lost > 0);
    },
  );
}

module.exports = { exclude, newName, testPairing };

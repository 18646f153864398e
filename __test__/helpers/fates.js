'use strict';

const { LockExpiredError, RedisError, TakenError } = require('../../index.js');

/** Everything that can have become of a lock on a server. */
const FATES = {
  async kept() {},
  async deleted(server, name) {
    await server.command('DEL', name);
  },
  async taken(server, name) {
    await server.command('SET', name, 'foreign');
  },
  async list(server, name) {
    await server.command('DEL', name);
    await server.command('RPUSH', name, 'foreign');
  },
};

/** What unlock() says to it. */
const ANSWERS = {
  kept: (t, outcome) => t.is(outcome, true),
  deleted: (t, outcome) => t.true(outcome instanceof LockExpiredError, outcome.stack),
  taken: (t, outcome) => t.true(outcome instanceof TakenError, outcome.stack),
  list(t, { errors: [error], stack }) {
    t.true(error instanceof RedisError && error.cause.code === 'WRONGTYPE', stack);
  },
};

async function lockMany(redsync, count) {
  const names = Array.from({ length: count }, (_, i) => `name ${i}`);
  return Promise.all(names.map((name) => redsync.newMutex(name).lock()));
}

/** Deals the fates out to the locks in turn, on all servers; gives each lock's. */
async function deal(fates, locks, servers) {
  const dealt = locks.map((_, i) => fates[i % fates.length]);
  await Promise.all(
    servers.flatMap((server) => locks.map((lock, i) => FATES[dealt[i]](server, lock.mutex.name))),
  );
  return dealt;
}

/** How many scripts clients have started. */
function countScripts(commands) {
  return commands.filter(([verb]) => /^eval(sha)?$/i.test(verb)).length;
}

module.exports = { ANSWERS, FATES, countScripts, deal, lockMany };

'use strict';

// Clients send a command again that was lost with a connection. The server may have done it before
// the reply was lost: the second SET NX then meets what the first one has stored.

const test = require('ava');

const { Redlock } = require('../redlock/index.js');
const { FailedError, Redsync, TakenError } = require('../index.js');
const { rejection, until } = require('./helpers/async.js');
const { believed } = require('./helpers/believed.js');
const { CLIENTS } = require('./helpers/clients.js');
const { useProxy } = require('./helpers/proxy.js');
const { useServers } = require('./helpers/servers.js');

const OPTIONS = { expiry: 600_000, timeoutFactor: 0.03, tries: 1 };
const RESENDING = ['ioredis', 'iovalkey'];

/** The proxy reads RESP2. */
const RESP2 = { ioredis: { protocol: 2 } };

/** Three servers, each behind a proxy, and a client of each. */
async function use(t, kind) {
  const servers = await useServers(t, 3);
  const proxies = await Promise.all(servers.map((server) => useProxy(t, server)));
  const made = await Promise.all(proxies.map((proxy) => CLIENTS[kind](proxy, RESP2[kind])));
  made.forEach(({ close }) => t.teardown(() => close()));
  return { servers, proxies, made };
}

/** The connection of each is lost with the reply to the next question that stores something there. */
function loseNext(proxies, isMeant) {
  const lost = new Set();
  for (const proxy of proxies) {
    proxy.cutAfterBytes(0, (words) => {
      if (lost.has(proxy) || !isMeant(words)) return false;
      lost.add(proxy);
      return true;
    });
  }
  return lost;
}

const stores = (name) => (words) => /^(set|eval|evalsha)$/i.test(words[0]) && words.includes(name);

async function isEmpty(servers) {
  const sizes = await Promise.all(servers.map((server) => server.command('DBSIZE')));
  return sizes.every((size) => size === 0);
}

for (const kind of [...RESENDING, 'node-redis']) {
  for (const names of ['one', ['one', 'two']]) {
    test(`a lost SET leaves nothing behind, sent again or not [${kind} ${names}]`, async (t) => {
      const { servers, proxies, made } = await use(t, kind);
      const redsync = new Redsync(
        made.map(({ pool }) => pool),
        OPTIONS,
      );
      t.teardown(() => redsync.close());
      await believed(redsync);
      await (await redsync.newMutex(names).lock()).unlock();
      t.true(await isEmpty(servers));

      const lost = loseNext(proxies, stores('one'));
      const error = await rejection(redsync.newMutex(names).lock());
      t.is(lost.size, 3);
      t.true(error instanceof (RESENDING.includes(kind) ? TakenError : FailedError), error.message);
      await until(() => isEmpty(servers));
      const lock = await redsync.newMutex(names).lock();
      t.true(await lock.unlock());
      t.true(await isEmpty(servers));
    });
  }
}

test("a key that is somebody else's is kept, whoever asks for it twice", async (t) => {
  const { servers, proxies, made } = await use(t, 'ioredis');
  const redsync = new Redsync(
    made.map(({ pool }) => pool),
    OPTIONS,
  );
  t.teardown(() => redsync.close());
  await believed(redsync);
  const other = new Redsync(
    servers.map(({ url }) => url),
    OPTIONS,
  );
  t.teardown(() => other.close());
  const lock = await other.newMutex('one').lock();
  loseNext(proxies, stores('one'));
  t.true((await rejection(redsync.newMutex('one').lock())) instanceof TakenError);
  // Behind whatever was to be released.
  await Promise.all(made.map(({ client }) => client.get('one')));
  for (const server of servers) t.is(await server.command('GET', 'one'), lock.value);
  t.true(await lock.unlock());
});

test('a lost SET leaves nothing behind, over the drop-in for node-redlock', async (t) => {
  const { servers, proxies, made } = await use(t, 'ioredis');
  const redlock = new Redlock(
    made.map(({ client }) => client),
    { retryCount: 0 },
  );
  await (await redlock.acquire(['warm-up'], 60_000)).release();
  await until(() => isEmpty(servers));
  loseNext(proxies, stores('one'));
  await rejection(redlock.acquire(['one'], 600_000));
  await until(() => isEmpty(servers));
  await (await redlock.acquire(['one'], 600_000)).release();
  t.true(await isEmpty(servers));
});

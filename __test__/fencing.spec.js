'use strict';

// Fencing tokens: what a holder is told, on every kind of node, and what is left on the servers.

const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { once } = require('node:events');

const test = require('ava');

const { FailedError, Redsync } = require('../index.js');
const { SCRIPTS } = require('../lib/scripts.js');
const { rejection, until } = require('./helpers/async.js');
const { KEPT, overBackends } = require('./helpers/backends.js');
const { CLUSTER_CLIENTS } = require('./helpers/clients.js');
const { useCluster } = require('./helpers/cluster.js');
const { endedWell, startProcess } = require('./helpers/processes.js');
const { useSentinels } = require('./helpers/sentinels.js');
const { deletionOf, monitor, useServers } = require('./helpers/servers.js');

const eachBackend = overBackends(test, { sizes: [1, 3] });

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const SECRET = 'xyzzy';
const OPTIONS = { fencing: true, tries: 1, expiry: 20_000, timeoutFactor: 0.25 };

const microseconds = () => Date.now() * 1000;
const fenceOf = (name) => `${name}:fence`;

function open(t, nodes, options) {
  const redsync = new Redsync(nodes, { ...OPTIONS, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

function isGrowing(t, tokens) {
  t.deepEqual(
    tokens.filter((token, i) => !Number.isSafeInteger(token) || (i > 0 && token <= tokens[i - 1])),
    [],
    `${tokens}`,
  );
}

/** Locks and unlocks; gives the token. */
async function hold(redsync, name) {
  const lock = await redsync.newMutex(name).lock();
  await lock.unlock();
  return lock.token;
}

/** Two clients that take turns, which get growing tokens for each of these names. */
async function takeTurns(t, nodes, names, options) {
  const clients = [open(t, nodes, options), open(t, nodes, options)];
  for (const name of names) {
    const tokens = [];
    for (let i = 0; i < 6; i++) tokens.push(await hold(clients[i % 2], name));
    isGrowing(t, tokens);
  }
}

eachBackend(
  'each holder has a greater token than those before, near the time',
  async (t, backend) => {
    const name = backend.name();
    const clients = [1, 2, 3].map(() => backend.connect(t, OPTIONS));
    const tokens = [];
    for (let i = 0; i < 9; i++) {
      const mutex = clients[i % 3].newMutex(name);
      t.is(mutex.token, undefined);
      const lock = await mutex.lock();
      tokens.push(lock.token);
      t.is(mutex.token, lock.token);
      t.regex(lock.value, new RegExp(`^[A-Za-z0-9+/=]{24}#t=${lock.token}#o=`));
      t.true(await backend.isHeldByQuorum(name, lock.value));
      t.true(await backend.isHeldByQuorum(fenceOf(name), `${lock.token}`));
      t.true(await lock.unlock());
      t.is(lock.token, tokens.at(-1));
    }
    isGrowing(t, tokens);
    for (const token of tokens)
      t.true(Math.abs(token - microseconds()) < MINUTE * 1000, `${token}`);
  },
);

eachBackend(
  'nobody has a token who did not ask for one, nor spoils that of others',
  async (t, backend) => {
    const name = backend.name();
    const redsync = backend.connect(t, { tries: 1 });
    const tokens = [];
    for (let i = 0; i < 3; i++) {
      const plain = await redsync.newMutex(name).lock();
      t.is(plain.token, undefined);
      t.is(plain.mutex.token, undefined);
      t.false(plain.value.includes('#t='));
      const mutex = redsync.newMutex(name, { fencing: true });
      t.is(await mutex.tryLock(), null);
      t.true(await plain.unlock());
      const fenced = await mutex.lock();
      tokens.push(fenced.token);
      t.is(await redsync.newMutex(name).tryLock(), null);
      t.true(await fenced.unlock());
    }
    isGrowing(t, tokens);
  },
);

eachBackend('a token stays the same for as long as the lock is held', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { fencing: true, expiry: KEPT });
  const lock = await redsync.newMutex(name).lock();
  const { token } = lock;
  t.true(await lock.extend());
  t.true(await lock.mutex.extend());
  t.deepEqual([lock.token, lock.mutex.token], [token, token]);
  t.true(await backend.isHeldByQuorum(fenceOf(name), `${token}`));
  t.true(await lock.unlock());

  const kept = await redsync.newMutex(name, { autoExtend: true }).lock();
  const first = kept.until;
  const keptToken = kept.token;
  t.true(keptToken > token);
  await until(() => kept.until > first);
  t.is(kept.token, keptToken);
  t.true(await kept.unlock());

  const used = await redsync.using(name, (_, { token: own }) => own);
  t.true(used > keptToken, `${used}`);
});

eachBackend('who adopts a lock has the token of its value', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, OPTIONS);
  const { value, token } = await redsync.newMutex(name).lock();
  t.is(backend.connect(t).newMutex(name, { value }).token, undefined);
  const adopted = backend.connect(t, OPTIONS).newMutex(name, { value });
  t.is(adopted.token, token);
  t.true(await adopted.extend());
  t.is(adopted.token, token);
  t.true(await adopted.valid());
  t.true(await adopted.unlock());
  t.is(redsync.newMutex(name, { value: 'of a plain holder' }).token, undefined);
  t.true((await hold(redsync, name)) > token);
});

eachBackend('several names have one token, greater than all before of each', async (t, backend) => {
  const [a, b] = [backend.name(), backend.name()];
  const redsync = backend.connect(t, OPTIONS);
  const ahead = microseconds() + 10 * MINUTE * 1000;
  await backend.plantEverywhere(fenceOf(b), `${ahead}`);
  const first = await hold(redsync, a);
  t.true(first < ahead);
  const both = await redsync.newMutex([a, b]).lock();
  t.true(both.token > ahead);
  for (const name of [a, b]) {
    t.true(await backend.isHeldByQuorum(name, both.value));
    t.true(await backend.isHeldByQuorum(fenceOf(name), `${both.token}`));
  }
  t.is(await redsync.newMutex(b).tryLock(), null);
  t.true(await both.unlock());
  // Who has not seen b, and comes for a.
  isGrowing(t, [first, both.token, await hold(backend.connect(t, OPTIONS), a)]);
  isGrowing(t, [both.token, await hold(backend.connect(t, OPTIONS), b)]);
});

eachBackend(
  'a proposal that is too small is made again, within the attempt',
  async (t, backend) => {
    const name = backend.name();
    const ahead = microseconds() + 30 * MINUTE * 1000;
    const quorum = backend.indices.slice(0, backend.quorum);
    await Promise.all(quorum.map((i) => backend.plant(i, fenceOf(name), `${ahead}`)));
    const redsync = backend.connect(t, OPTIONS);
    const lock = await redsync.newMutex(name).tryLock();
    isGrowing(t, [ahead, lock.token]);
    t.is(await redsync.newMutex(name).tryLock(), null);
    t.true(await lock.unlock());
    isGrowing(t, [lock.token, await hold(backend.connect(t, OPTIONS), name)]);
    await until(() => backend.isFreeEverywhere(name));
  },
);

eachBackend(
  'one node that wants more than the others does not take them with it',
  async (t, backend) => {
    const name = backend.name();
    const ahead = microseconds() + 30 * MINUTE * 1000;
    await backend.plant(0, fenceOf(name), `${ahead}`);
    const tokens = [];
    for (let i = 0; i < 3; i++) tokens.push(await hold(backend.connect(t, OPTIONS), name));
    isGrowing(t, tokens);
    t.true(tokens.at(-1) < ahead);
    t.true(await backend.holds(0, fenceOf(name), `${ahead}`));
    await until(() => backend.isFreeEverywhere(name));
  },
  ({ size }) => size > 1,
);

eachBackend(
  'a last token from a clock that was hours ahead is exceeded by the next number',
  async (t, backend) => {
    const name = backend.name();
    const far = microseconds() + 5 * HOUR * 1000;
    await backend.plantEverywhere(fenceOf(name), `${far}`);
    for (let i = 1; i <= 3; i++) {
      const lock = await backend.connect(t, OPTIONS).newMutex(name).lock();
      t.is(lock.token, far + i);
      t.true(await lock.unlock());
      await until(() => backend.isFreeEverywhere(name));
    }
    const redsync = backend.connect(t, OPTIONS);
    t.is(await hold(redsync, name), far + 4);
    t.is(await hold(redsync, name), far + 5);
    // Nothing else is taken with it.
    const other = backend.name();
    const token = await hold(redsync, other);
    t.true(token < far, `${token}`);
  },
);

for (const [what, last] of [
  ['the greatest token', () => `${Number.MAX_SAFE_INTEGER}`],
  ['a token of hours ahead', () => `${microseconds() + 2 * HOUR * 1000}`],
]) {
  test(`one node of three with ${what} stops nobody who waits, wherever it is in the order`, async (t) => {
    const servers = await useServers(t, 3);
    const redsync = open(
      t,
      servers.map(({ url }) => url),
      { tries: Infinity },
    );
    for (const [index, bad] of servers.entries()) {
      const name = 'job'; // each node is the first in its order once
      for (const server of servers) {
        await server.command('DEL', fenceOf(name));
        await server.command('SET', name, 'held elsewhere', 'PX', 300);
      }
      await bad.command('SET', fenceOf(name), last());
      const lock = await redsync.newMutex(name).lock({ signal: AbortSignal.timeout(10_000) });
      t.true(lock.token < microseconds() + HOUR * 1000, `with node ${index}: ${lock.token}`);
      t.true(await lock.unlock());
      await until(async () => {
        const left = await Promise.all(servers.map((server) => server.command('EXISTS', name)));
        return left.every((count) => Number(count) === 0);
      });
    }
  });
}

test('a last token beyond the greatest fails its own name, and nothing else on the link', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = open(t, server.url);
  await redsync.ready();
  for (const last of [2n ** 53n, BigInt(Date.now()) * 1_000_000n, 10n ** 22n]) {
    await server.command('SET', fenceOf('bad'), `${last}`);
    const [bad] = await Promise.all([
      rejection(redsync.newMutex('bad').lock()),
      ...Array.from({ length: 5 }, (_, i) => hold(redsync, `good${i}`)),
    ]);
    t.is(bad.errors[0].cause.code, 'ETOKEN');
  }
});

// What may be where the last token should be, and the codes of what is told: clients round numbers that
// are next to the greatest, and have errors of their own.
const BAD_LAST_TOKENS = {
  'the greatest of all': [() => `${Number.MAX_SAFE_INTEGER}`, ['ETOKEN', 'EPROTO']],
  'more than the greatest': [() => `${2n ** 53n}`, ['ETOKEN', 'EPROTO']],
  'a number as Lua reads it': [() => '1e300', ['WRONGTYPE', 'ETOKEN']],
  infinity: [() => 'inf', ['WRONGTYPE', 'ETOKEN']],
  'a text': [() => SECRET, ['WRONGTYPE', 'ETOKEN']],
};

for (const [what, [bad, codes]] of Object.entries(BAD_LAST_TOKENS)) {
  eachBackend(
    `${what} for the last token: nothing is granted nor overwritten`,
    async (t, backend) => {
      const name = backend.name();
      const value = bad();
      await backend.plantEverywhere(fenceOf(name), value);
      await refused(t, backend.connect(t, OPTIONS), name, codes);
      t.true(await backend.isFreeEverywhere(name));
      t.true(await backend.isHeldEverywhere(fenceOf(name), value));
    },
  );
}

async function refused(t, redsync, name, codes) {
  for (const method of ['lock', 'tryLock']) {
    const error = await rejection(redsync.newMutex(name)[method]());
    if (!(error instanceof FailedError)) throw error;
    t.is(error.errors.length, redsync.size);
    for (const { cause } of error.errors) t.true(codes.includes(cause.code), cause.stack);
    t.false(JSON.stringify([error, error.stack]).includes(SECRET), error.stack);
    for (const each of error.errors) t.false(`${each.stack}${each.cause.stack}`.includes(SECRET));
  }
}

eachBackend(
  'a last token of another type: nothing is granted nor overwritten',
  async (t, backend) => {
    const name = backend.name();
    const { servers } = backend;
    const all = (...command) => Promise.all(servers.map((server) => server.command(...command)));
    await all('HSET', fenceOf(name), 'field', SECRET);
    await refused(t, backend.connect(t, OPTIONS), name, ['WRONGTYPE']);
    t.true(await backend.isFreeEverywhere(name));
    for (const found of await all('HGET', fenceOf(name), 'field')) t.is(found, SECRET);
  },
  ({ kind }) => kind !== 'memory',
);

/** What may be found by an acquisition among many. */
const FOUND = {
  async nothing() {},
  async 'a greater token'(backend, name, ahead) {
    await backend.plantEverywhere(fenceOf(name), `${ahead}`);
  },
  async 'a lock'(backend, name) {
    await backend.plantEverywhere(name);
  },
  async 'a text for the last token'(backend, name) {
    await backend.plantEverywhere(fenceOf(name), SECRET);
  },
};

eachBackend('many at once: each as if it were alone', async (t, backend) => {
  const ahead = microseconds() + 10 * MINUTE * 1000;
  const kinds = Object.keys(FOUND);
  const all = Array.from({ length: 60 }, (_, i) => {
    return { name: backend.name(), found: kinds[i % kinds.length] };
  });
  await Promise.all(all.map(({ name, found }) => FOUND[found](backend, name, ahead)));
  const redsync = backend.connect(t, OPTIONS);
  const ask = ({ name }) => redsync.newMutex(name).tryLock();
  const outcomes = await Promise.all(all.map((each) => ask(each).catch((error) => error)));
  const held = [];
  for (const [i, outcome] of outcomes.entries()) {
    const { name, found } = all[i];
    if (found === 'a lock') {
      t.is(outcome, null);
      t.true(await backend.isHeldEverywhere(name, 'foreign'));
    } else if (found === 'a text for the last token') {
      t.true(outcome instanceof FailedError, `${outcome?.stack}`);
      t.true(await backend.isFreeEverywhere(name));
      t.true(await backend.isHeldEverywhere(fenceOf(name), SECRET));
    } else {
      t.true(Number.isSafeInteger(outcome?.token), `${found}: ${outcome?.stack}`);
      if (found === 'a greater token') t.true(outcome.token > ahead);
      t.true(await backend.isHeldByQuorum(name, outcome.value));
      t.true(await backend.isHeldByQuorum(fenceOf(name), `${outcome.token}`));
      held.push(outcome);
    }
  }
  t.is(held.length, all.length / 2);
  await Promise.all(held.map((lock) => lock.unlock()));
  const again = await Promise.all(held.map((lock) => lock.mutex.lock()));
  for (const [i, lock] of again.entries()) isGrowing(t, [held[i].token, lock.token]);
  await Promise.all(again.map((lock) => lock.unlock()));
  for (const { mutex } of held) await until(() => backend.isFreeEverywhere(mutex.name));
});

eachBackend('a value of one’s own has the token behind it', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, OPTIONS);
  const lock = await redsync.newMutex(name, { genValue: async () => 'job 7, host é' }).lock();
  t.is(lock.value, `job 7, host é#t=${lock.token}`);
  t.true(await backend.isHeldByQuorum(name, lock.value));
  const found = await redsync.inspect(name);
  for (const { value } of found.filter(({ status }) => status === 'held')) t.is(value, lock.value);
  t.true(found.filter(({ status }) => status === 'held').length >= backend.quorum);
  t.true(await lock.unlock());

  const bad = redsync.newMutex(name, { genValue: () => `${SECRET}#t=1` });
  const error = await rejection(bad.lock());
  t.is(error.code, 'ERR_OUT_OF_RANGE');
  t.regex(error.message, /genValue\(\).*without "#"/);
  t.false(error.stack.includes(SECRET));
  t.true(await backend.isFreeEverywhere(name));
  // Without a token it may be anything.
  const plain = redsync.newMutex(name, { genValue: () => 'a#t=1', fencing: false });
  t.true(await (await plain.lock()).unlock());
});

test.serial('on a Unix socket', async (t) => {
  const [server] = await useServers(t, 1, { unixSocket: true });
  await takeTurns(t, `redis+unix://${server.socket}`, ['job', '{a}b', 'a}b']);
  t.is(await server.command('DBSIZE'), 3);
});

test.serial('behind sentinels', async (t) => {
  const group = await useSentinels(t);
  await takeTurns(t, group.url(), ['job']);
  t.regex(await (await group.master()).command('GET', 'job:fence'), /^\d{16}$/);
});

const IN_A_CLUSTER = {
  job: '{job}:fence',
  'app:job': '{app:job}:fence',
  '{a}job': '{a}job:fence',
  'job{a}': 'job{a}:fence',
  'a{b{c}d}': 'a{b{c}d}:fence',
  'a{b': '{a{b}:fence',
  'a}{b}': 'a}{b}:fence',
};
const WITHOUT_SLOT = ['a}b', '}', '{}', '{}a', 'a{}b'];

test.serial('in a cluster the last token is in the slot of the name', async (t) => {
  const cluster = await useCluster(t);
  const names = Object.keys(IN_A_CLUSTER);
  await takeTurns(t, cluster.url(), [...names, ...names.slice(0, 1)]);
  for (const [name, key] of Object.entries(IN_A_CLUSTER)) {
    t.is(await cluster.ownerOf(name).command('EXISTS', key), 1, key);
    t.is(await cluster.ownerOf(name).command('EXISTS', name), 0, name);
  }
  t.is(await cluster.size(), names.length);

  const redsync = open(t, cluster.url());
  const before = [await hold(redsync, '{a}1'), await hold(redsync, '{a}2')];
  isGrowing(t, [...before, await hold(redsync, ['{a}1', '{a}2'])]);

  for (const name of WITHOUT_SLOT) {
    const error = t.throws(() => redsync.newMutex(name), { instanceOf: TypeError }, name);
    t.is(error.code, 'ERR_INVALID_ARG_TYPE');
    t.true(error.message.includes(JSON.stringify(name)), error.message);
    const plain = redsync.newMutex(name, { fencing: false });
    t.true(await (await plain.lock()).unlock());
  }
});

test.serial('in a cluster the prefix of the keys counts, too', async (t) => {
  const cluster = await useCluster(t);
  await takeTurns(t, cluster.url(), ['job', '{a}job'], { keyPrefix: 'app:' });
  await takeTurns(t, cluster.url(), ['job', 'a}b'], { keyPrefix: '{app}:' });
  const keys = await Promise.all(cluster.servers.map((server) => server.command('KEYS', '*')));
  t.deepEqual(keys.flat().sort(), [
    'app:{a}job:fence',
    '{app:job}:fence',
    '{app}:a}b:fence',
    '{app}:job:fence',
  ]);
});

for (const [kind, make] of Object.entries(CLUSTER_CLIENTS)) {
  test.serial(`in a cluster [${kind}]`, async (t) => {
    const cluster = await useCluster(t);
    const client = await make(cluster.servers);
    t.teardown(() => client.close());
    await takeTurns(t, client.pool, Object.keys(IN_A_CLUSTER));
    for (const [name, key] of Object.entries(IN_A_CLUSTER)) {
      t.is(await cluster.ownerOf(name).command('EXISTS', key), 1, key);
    }
    const redsync = open(t, client.pool);
    for (const name of WITHOUT_SLOT) {
      t.throws(() => redsync.newMutex(name), { instanceOf: TypeError }, name);
    }
  });
}

for (const kind of ['ioredis', 'iovalkey']) {
  test.serial(`in a cluster, where the client puts a prefix in front [${kind}]`, async (t) => {
    const cluster = await useCluster(t);
    for (const keyPrefix of ['app:', 'a}:', 'a{:']) {
      const client = await CLUSTER_CLIENTS[kind](cluster.servers, { keyPrefix });
      t.teardown(() => client.close());
      await takeTurns(t, client.pool, ['{a}job', 'job{a}']);
      const redsync = open(t, client.pool);
      for (const name of ['job', 'a}b']) {
        const error = t.throws(() => redsync.newMutex(name), { instanceOf: TypeError }, name);
        t.true(error.message.includes(`{tag}${name}`), error.message);
        const plain = redsync.newMutex(name, { fencing: false });
        t.true(await (await plain.lock()).unlock());
      }
      await takeTurns(t, client.pool, ['job'], { keyPrefix: '{tag}' });
    }
    const tagged = await CLUSTER_CLIENTS[kind](cluster.servers, { keyPrefix: '{app}:' });
    t.teardown(() => tagged.close());
    await takeTurns(t, tagged.pool, ['job', 'a}b', ['one', 'two']]);
  });
}

test.serial('the last token is all that is left, and not for ever', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = open(t, server.url, { keyPrefix: 'app:' });
  const lock = await redsync.newMutex(['one', 'two']).lock();
  const keys = async () => (await server.command('KEYS', '*')).sort();
  t.deepEqual(await keys(), ['app:one', 'app:one:fence', 'app:two', 'app:two:fence']);
  for (const key of ['app:one', 'app:two']) {
    const life = await server.command('PTTL', key);
    t.true(life > 0 && life <= OPTIONS.expiry, `${life}`);
  }
  t.true(await lock.unlock());
  t.deepEqual(await keys(), ['app:one:fence', 'app:two:fence']);
  for (const key of await keys()) {
    t.is(await server.command('GET', key), `${lock.token}`);
    const life = await server.command('PTTL', key);
    t.true(life > 3 * HOUR - MINUTE && life <= 3 * HOUR, `${life}`);
  }
  t.deepEqual(await redsync.inspect('one'), [
    { node: 0, endpoint: server.url.slice('redis://'.length), status: 'free' },
  ]);
});

/** Holds the lock by turns, and writes down when: begins and ends in one file of all processes. */
async function contender(file, urls, journal, turns) {
  const { appendFileSync } = require('node:fs');
  const { Redsync } = require(file);
  const redsync = new Redsync(urls, { fencing: true, tries: Infinity, timeoutFactor: 0.5 });
  console.log('ready');
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (let i = 0; i < turns; i++) {
        const lock = await redsync.newMutex('job').lock();
        appendFileSync(journal, `begins ${lock.token}\n`);
        await new Promise((resolve) => {
          setTimeout(resolve, Math.random());
        });
        appendFileSync(journal, `ends ${lock.token}\n`);
        await lock.unlock();
      }
    }),
  );
  await redsync.close();
}

for (const size of [1, 3]) {
  test.serial(`contenders of two processes, on ${size} nodes`, async (t) => {
    const servers = await useServers(t, size);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'redsync-fencing-'));
    t.teardown(() => fs.rmSync(folder, { recursive: true }));
    const journal = path.join(folder, 'journal');
    const turns = 12;
    const urls = servers.map(({ url }) => url);
    const processes = [1, 2].map(() => startProcess({}, contender, urls, journal, turns));
    for (const { ended } of processes) endedWell(t, await ended, 'ready');
    const lines = fs.readFileSync(journal, 'utf8').split('\n').slice(0, -1);
    const begins = lines.filter((_, i) => i % 2 === 0);
    const tokens = begins.map((line) => Number(line.replace('begins ', '')));
    t.is(tokens.length, 2 * 8 * turns);
    isGrowing(t, tokens);
    t.deepEqual(
      lines,
      tokens.flatMap((token) => [`begins ${token}`, `ends ${token}`]),
    );
  });
}

test.serial('without contention it takes as many commands as without a token', async (t) => {
  const servers = await useServers(t, 3);
  const urls = servers.map(({ url }) => url);
  const release = ((await deletionOf(servers[0])) ?? 'EVALSHA').toLowerCase();
  for (const fencing of [false, true]) {
    const redsync = open(t, urls, { fencing });
    await hold(redsync, 'warm-up');
    const recorded = await Promise.all(servers.map((server) => monitor(t, server)));
    for (let i = 0; i < 5; i++) await hold(redsync, 'job');
    for (const { settle } of recorded) {
      const verbs = (await settle()).map(([verb]) => verb.toLowerCase());
      t.deepEqual(
        verbs,
        Array(5)
          .fill([fencing ? 'evalsha' : 'set', release])
          .flat(),
      );
    }
  }
});

/** Passes on what is between a client and a server, and keeps what the client has sent. */
async function useRecorder(t, server) {
  const sent = [];
  const listener = net.createServer((client) => {
    const upstream = net.connect(server.port, '127.0.0.1');
    client.on('data', (chunk) => sent.push(chunk));
    client.pipe(upstream).pipe(client);
    for (const socket of [client, upstream]) socket.on('error', () => {});
    client.on('close', () => upstream.destroy());
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  t.teardown(() => listener.close());
  return {
    url: `redis://127.0.0.1:${listener.address().port}`,
    take: () => Buffer.concat(sent.splice(0)).toString(),
  };
}

/** A command as bytes. */
function bytes(...words) {
  const parts = words.map((word) => `$${Buffer.byteLength(`${word}`)}\r\n${word}\r\n`);
  return `*${words.length}\r\n${parts.join('')}`;
}

test.serial('without the option not a byte more is sent', async (t) => {
  const [server] = await useServers(t, 1);
  const recorder = await useRecorder(t, server);
  const redsync = new Redsync(recorder.url, { expiry: 8000, owner: false });
  t.teardown(() => redsync.close());
  await redsync.ready();
  const { version } = require('../package.json');
  const client = (...words) => bytes('CLIENT', ...words);
  const login = [
    client('SETNAME', 'redsync'),
    client('SETINFO', 'LIB-NAME', 'redsync'),
    client('SETINFO', 'LIB-VER', version),
  ].join('');
  const hello = recorder.take();
  t.true(hello.startsWith(login), JSON.stringify(hello));
  const lock = await redsync.newMutex('job').lock();
  t.is(recorder.take(), bytes('SET', 'job', lock.value, 'NX', 'PX', 8000));
  await lock.unlock();
  const releases = {
    DELIFEQ: ['DELIFEQ', 'job', lock.value],
    DELEX: ['DELEX', 'job', 'IFEQ', lock.value],
    undefined: ['EVAL', SCRIPTS.release.source, 1, 'job', lock.value],
  };
  t.is(recorder.take(), bytes(...releases[await deletionOf(server)]));
  t.is(Buffer.byteLength(lock.value), 24);
});

test.serial('a flushed script cache costs nothing', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = open(
    t,
    servers.map(({ url }) => url),
  );
  const tokens = [];
  for (let i = 0; i < 4; i++) {
    const lock = await redsync.newMutex('job').lock();
    await Promise.all(servers.map((server) => server.command('SCRIPT', 'FLUSH')));
    t.true(await lock.extend());
    await Promise.all(servers.map((server) => server.command('SCRIPT', 'FLUSH')));
    t.true(await lock.unlock());
    tokens.push(lock.token);
  }
  isGrowing(t, tokens);
});

test.serial('a user who may not ask for the time is told so', async (t) => {
  const [server] = await useServers(t, 1);
  const rule = '~* resetchannels -@all +set +eval +evalsha +get +del +exists +pttl +pexpire +ping';
  await server.command('ACL', 'SETUSER', 'me', 'on', `>${SECRET}`, ...rule.split(' '));
  const redsync = open(t, server.url.replace('//', `//me:${SECRET}@`));
  const error = await rejection(redsync.newMutex('job').lock());
  t.true(error instanceof FailedError, error.stack);
  t.is(error.errors[0].cause.code, 'NOPERM');
  t.regex(error.message, /\bTIME\b/);
  t.false(error.stack.includes(SECRET));
  t.is(await server.command('DBSIZE'), 0);
  // It heals, and plain locks never needed it.
  t.true(await (await redsync.newMutex('job', { fencing: false }).lock()).unlock());
  await server.command('ACL', 'SETUSER', 'me', '+time');
  t.true(Number.isSafeInteger(await hold(redsync, 'job')));
});

test.serial('a server without memory grants nothing, and nothing is left', async (t) => {
  const servers = await useServers(t, 3, { args: ['--maxmemory-policy', 'noeviction'] });
  const redsync = open(
    t,
    servers.map(({ url }) => url),
  );
  const before = await hold(redsync, 'warm-up');
  const all = (...command) => Promise.all(servers.map((server) => server.command(...command)));
  await all('CONFIG', 'SET', 'maxmemory', 1);
  const error = await rejection(redsync.newMutex('job').lock());
  t.true(error instanceof FailedError, error.stack);
  for (const { cause } of error.errors) t.is(cause.code, 'OOM');
  for (const count of await all('EXISTS', 'job', 'job:fence')) t.is(count, 0);
  await all('CONFIG', 'SET', 'maxmemory', 0);
  t.true((await hold(redsync, 'warm-up')) > before);
});

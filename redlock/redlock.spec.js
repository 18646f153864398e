'use strict';

// The drop-in for node-redlock 5: what it has in common with it, and where it is better on purpose.

const { execFileSync } = require('node:child_process');
const { createHash, randomUUID } = require('node:crypto');
const { EventEmitter, once } = require('node:events');
const path = require('node:path');

const { Redis } = require('ioredis');
const test = require('ava');

const { default: Redlock, ExecutionError, Lock, ResourceLockedError } = require('./index.js');
const {
  ClosedError,
  FailedError,
  LockExpiredError,
  NodeTakenError,
  TakenError,
} = require('../index.js');
const { mutexSettings, readSettings } = require('./settings.js');
const { delay, rejection, until, untilSteady } = require('../__test__/helpers/async.js');
const { runProcess, startProcess, endedWell } = require('../__test__/helpers/processes.js');
const { useProxy } = require('../__test__/helpers/proxy.js');
const { deadUrl, monitor, startServers, useServers } = require('../__test__/helpers/servers.js');

const LONG = 60_000;
const RANGE = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };
const TYPE = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };

let shared;
test.before('start the servers', async () => {
  shared = await startServers(5);
});
test.after.always('stop the servers', () => Promise.all(shared.map((server) => server.stop())));

/** A Redlock that is closed with the test. */
function connect(t, servers, settings) {
  const urls = servers.map((server) => server.url ?? server);
  const redlock = new Redlock(urls, { retryDelay: 20, retryJitter: 10, ...settings });
  t.teardown(() => redlock.quit());
  return redlock;
}

/** A name that no other test uses. */
function name() {
  return `redlock:${randomUUID()}`;
}

function ask(servers, ...command) {
  return Promise.all(servers.map((server) => server.command(...command)));
}

function plant(servers, key, ttl = LONG) {
  return ask(servers, 'SET', key, 'foreign', 'PX', ttl);
}

async function isFree(servers, ...keys) {
  return (await ask(servers, 'EXISTS', ...keys)).every((count) => count === 0);
}

function votesOf({ attempts }) {
  return Promise.all(attempts);
}

function errorsOf(redlock) {
  const errors = [];
  redlock.on('error', (error) => errors.push(error));
  return errors;
}

// What it has in common with node-redlock

test('the settings have the defaults of node-redlock', (t) => {
  t.deepEqual(new Redlock(['memory:']).settings, {
    driftFactor: 0.01,
    retryCount: 10,
    retryDelay: 200,
    retryJitter: 100,
    automaticExtensionThreshold: 500,
  });
  const { retryCount, retryDelay } = new Redlock(['memory:'], { retryCount: 0, other: 1 }).settings;
  t.is(retryCount, 0);
  t.is(retryDelay, 200);
});

test('it is there for ESM and CommonJS, as one and the same class', async (t) => {
  const esm = await import('redsync/redlock');
  const cjs = require('redsync/redlock');
  t.is(esm.default, Redlock);
  t.is(cjs.default, Redlock);
  for (const key of ['Lock', 'ExecutionError', 'ResourceLockedError']) t.is(esm[key], cjs[key]);
  t.true(new Redlock(['memory:']) instanceof EventEmitter);
});

for (const size of [1, 3, 5]) {
  test(`acquire, extend and release [${size}]`, async (t) => {
    const servers = shared.slice(0, size);
    const redlock = connect(t, servers);
    const keys = [name(), name()];
    const before = Date.now();
    const lock = await redlock.acquire(keys, 5000);
    t.true(lock instanceof Lock);
    t.is(lock.redlock, redlock);
    t.deepEqual(lock.resources, keys);
    t.true(lock.expiration > before + 4000 && lock.expiration <= Date.now() + 4948);
    for (const key of keys) {
      t.deepEqual(
        await ask(servers, 'GET', key),
        servers.map(() => lock.value),
      );
    }
    const [votes] = await votesOf(lock);
    t.is(votes.membershipSize, size);
    t.is(votes.quorumSize, Math.floor(size / 2) + 1);
    t.deepEqual(
      [...votes.votesFor],
      servers.map(({ url }) => url),
    );
    t.is(votes.votesAgainst.size, 0);

    const extended = await lock.extend(20_000);
    t.not(extended, lock);
    t.is(lock.expiration, 0);
    t.is(extended.value, lock.value);
    t.deepEqual(extended.resources, keys);
    t.true(extended.expiration > Date.now() + 15_000);
    for (const ttl of await ask(servers, 'PTTL', keys[1])) t.true(ttl > 15_000);
    await t.throwsAsync(redlock.extend(lock, 1000), { instanceOf: ExecutionError });

    const { attempts } = await extended.release();
    t.is(attempts.length, 1);
    t.is(extended.expiration, 0);
    t.true(await isFree(servers, ...keys));
  });
}

test('what somebody else holds is tried again, then given up with the votes of each attempt', async (t) => {
  const servers = shared.slice(0, 3);
  const [key, free] = [name(), name()];
  await plant(servers, key);
  const redlock = connect(t, servers, { retryCount: 2 });
  const events = errorsOf(redlock);
  const error = await rejection(redlock.acquire([free, key], 1000));
  t.true(error instanceof ExecutionError);
  t.is(error.name, 'ExecutionError');
  t.true(error.cause instanceof TakenError);
  t.is(error.attempts.length, 3);
  for (const votes of await votesOf(error)) {
    t.is(votes.votesFor.size, 0);
    t.deepEqual(
      [...votes.votesAgainst.keys()],
      servers.map(({ url }) => url),
    );
    for (const reason of votes.votesAgainst.values()) {
      t.true(reason instanceof ResourceLockedError);
      t.is(reason.name, 'ResourceLockedError');
    }
  }
  t.is(events.length, 9);
  t.true(events.every((event) => event instanceof ResourceLockedError));
  t.true(await isFree(servers, free));
});

test('a resource that is released in between is acquired', async (t) => {
  const servers = shared.slice(0, 3);
  const key = name();
  const redlock = connect(t, servers, { retryCount: -1 });
  const first = await redlock.acquire([key], LONG);
  let isReleased = false;
  const waiting = redlock.acquire([key], 5000).then((lock) => {
    t.true(isReleased);
    return lock;
  });
  await once(redlock, 'error');
  isReleased = true;
  await first.release();
  const second = await waiting;
  t.true(second.attempts.length > 1);
  const votes = await votesOf(second);
  t.is(votes[0].votesAgainst.size, 3);
  t.is(votes.at(-1).votesAgainst.size, 0);
  await second.release();
});

test('retryCount 0 tries once; settings of a call override those of the instance', async (t) => {
  const servers = shared.slice(0, 1);
  const key = name();
  await plant(servers, key);
  const redlock = connect(t, servers, { retryCount: 5 });
  const error = await rejection(redlock.acquire([key], 1000, { retryCount: 0 }));
  t.is(error.attempts.length, 1);
  t.is((await rejection(redlock.acquire([key], 1000))).attempts.length, 6);
  const given = { retryCount: 1, retryDelay: undefined };
  t.is((await rejection(redlock.acquire([key], 1000, given))).attempts.length, 2);
});

test('the pause is retryDelay, give or take retryJitter', async (t) => {
  const servers = shared.slice(0, 1);
  const key = name();
  await plant(servers, key);
  const redlock = connect(t, servers, { retryCount: 1, retryDelay: 300, retryJitter: 50 });
  const start = performance.now();
  await rejection(redlock.acquire([key], 1000));
  t.true(performance.now() - start >= 249);
});

test('a lock by hand releases and extends by its value', async (t) => {
  const servers = shared.slice(0, 3);
  const key = name();
  const { resources, value, expiration } = await connect(t, servers).acquire([key], 5000);
  const other = connect(t, servers);
  const extended = await new Lock(other, resources, value, [], expiration).extend(20_000);
  t.true((await ask(servers, 'PTTL', key))[0] > 15_000);
  await new Lock(other, resources, value, [], extended.expiration).release();
  t.true(await isFree(servers, key));
});

test('using holds the lock, kept alive, and gives what the routine gives', async (t) => {
  const servers = shared.slice(0, 3);
  const keys = [name(), name()];
  const redlock = connect(t, servers, { automaticExtensionThreshold: 1000 });
  const result = {};
  const given = await redlock.using(keys, 2000, async (signal) => {
    const values = await ask(servers, 'GET', keys[0]);
    await delay(3000); // longer than it lives
    t.deepEqual(await ask(servers, 'GET', keys[1]), values);
    t.false(signal.aborted);
    t.is(signal.error, undefined);
    return result;
  });
  t.is(given, result);
  t.true(await isFree(servers, ...keys));
  t.is(await redlock.using(keys, 5000, { retryCount: 0 }, async () => 1), 1);
  t.is(await redlock.using(keys, 5000, undefined, () => 2), 2);
});

test('using rejects as the routine rejects, and releases', async (t) => {
  const servers = shared.slice(0, 3);
  const key = name();
  const redlock = connect(t, servers);
  const mine = new Error('mine');
  t.is(
    await rejection(
      redlock.using([key], 5000, async () => {
        throw mine;
      }),
    ),
    mine,
  );
  t.is(
    await rejection(
      redlock.using([key], 5000, () => {
        throw mine;
      }),
    ),
    mine,
  );
  t.true(await isFree(servers, key));
});

test('using aborts the signal when the lock is lost, with the error in it', async (t) => {
  const servers = shared.slice(0, 3);
  const key = name();
  const redlock = connect(t, servers, { automaticExtensionThreshold: 400 });
  const error = await rejection(
    redlock.using([key], 600, async (signal) => {
      await ask(servers, 'DEL', key);
      await plant(servers, key);
      if (!signal.aborted) await once(signal, 'abort');
      t.true(signal.error instanceof ExecutionError);
      t.is(signal.reason, signal.error);
    }),
  );
  // The routine has succeeded, but not under the lock.
  t.true(error instanceof ExecutionError);
  t.deepEqual(
    await ask(servers, 'GET', key),
    servers.map(() => 'foreign'),
  );
});

async function lead(file, url) {
  const { default: Redlock } = require(file.replace('index.js', 'redlock/index.js'));
  await new Redlock([url]).using(['name'], 2000, async (signal) => {
    console.log('leads');
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    console.log('is told');
  });
}

test('a routine of using that waits for its signal keeps the process alive', async (t) => {
  const [server] = await useServers(t, 1);
  const leader = startProcess({}, lead, server.url);
  await leader.says('leads');
  await server.command('DEL', 'name');
  const { stdout, signal } = await leader.ended;
  t.deepEqual([stdout, signal], ['leads\nis told', null]);
});

test('using does not run the routine without the lock', async (t) => {
  const servers = shared.slice(0, 3);
  const key = name();
  await plant(servers, key);
  const redlock = connect(t, servers);
  const settings = { retryCount: 1 };
  const error = await rejection(redlock.using([key], 5000, settings, () => t.fail()));
  t.true(error instanceof ExecutionError);
  t.is(error.attempts.length, 2);
});

test('a minority that is down is voted down, and told of', async (t) => {
  const redlock = connect(t, [...shared.slice(0, 2), await deadUrl()], { retryCount: 0 });
  const lock = await redlock.acquire([name()], 5000);
  await lock.release();
  await t.notThrowsAsync(redlock.using([name()], 5000, async () => {}));
});

test('a majority that is down is why', async (t) => {
  const [server] = shared;
  const dead = [await deadUrl(), await deadUrl()];
  const key = name();
  const redlock = connect(t, [...dead, server], { retryCount: 1 });
  const events = errorsOf(redlock);
  const error = await rejection(redlock.acquire([key], 5000));
  t.true(error.cause instanceof FailedError);
  for (const { votesFor, votesAgainst } of await votesOf(error)) {
    t.deepEqual([...votesFor], [server.url]);
    t.deepEqual([...votesAgainst.keys()], dead);
    for (const reason of votesAgainst.values()) t.is(reason.cause.code, 'ECONNREFUSED');
  }
  t.is(events.length, 4);
  t.true(await isFree([server], key));
});

test('after quit nothing is acquired', async (t) => {
  const servers = shared.slice(0, 1);
  const key = name();
  await plant(servers, key);
  const redlock = new Redlock([servers[0].url], { retryCount: -1, retryDelay: 36_000_000 });
  const waiting = rejection(redlock.acquire([key], 5000));
  await once(redlock, 'error');
  await redlock.quit();
  const error = await waiting;
  t.true(error instanceof ExecutionError);
  t.true(error.cause instanceof ClosedError);
  t.true((await rejection(redlock.acquire([key], 5000))).cause instanceof ClosedError);
});

test('a listener that throws harms the process, as it does, but not the lock', async (t) => {
  const result = await runProcess(async (file) => {
    const { default: Redlock } = require(file.replace('index.js', 'redlock/index.js'));
    process.on('uncaughtException', (error) => console.log(`uncaught ${error.message}`));
    const redlock = new Redlock(['memory:'], { retryCount: 1, retryDelay: 10, retryJitter: 0 });
    redlock.on('error', () => {
      throw new Error('mine');
    });
    await redlock.acquire(['a'], 5000);
    await redlock.acquire(['a'], 5000).catch((error) => console.log(error.attempts.length));
  });
  endedWell(t, result);
  t.deepEqual(result.stdout.split('\n').sort(), ['2', 'uncaught mine', 'uncaught mine']);
});

test('the messages are those of node-redlock, and what has happened is the cause', async (t) => {
  const servers = shared.slice(0, 3);
  const [key, free] = [name(), name()];
  await plant(servers, key);
  const redlock = connect(t, servers, { retryCount: 1 });

  const failed = await rejection(redlock.acquire([free, key], LONG));
  t.is(failed.message, 'The operation was unable to achieve a quorum during its retry window.');
  t.regex(failed.cause.message, /^lock ".*" and 1 other name: taken after 1 attempt /);
  for (const [, locked] of (await votesOf(failed)).flatMap((votes) => [...votes.votesAgainst])) {
    t.is(locked.message, 'The operation was applied to: 0 of the 2 requested resources.');
    t.true(locked.cause instanceof NodeTakenError);
  }

  const lock = await redlock.acquire([free], LONG);
  await lock.release();
  const over = await rejection(lock.extend(1000));
  t.is(over.message, 'Cannot extend an already-expired lock.');
  t.deepEqual(over.attempts, []);
  t.true(over.cause instanceof LockExpiredError);
  t.is((await rejection(lock.release())).message, failed.message);

  for (const duration of [0.5, Number.MAX_SAFE_INTEGER / 10, '1000', undefined, NaN, Infinity]) {
    const message = 'Duration must be an integer value in milliseconds.';
    const held = new Lock(redlock, [free], 'value', [], Date.now() + LONG);
    for (const call of [
      () => redlock.acquire([free], duration),
      () => redlock.using([free], duration, async () => {}),
      () => held.extend(duration),
    ]) {
      const error = await t.throwsAsync(call, { ...RANGE, message }, String(duration));
      t.regex(error.cause.message, /^The "duration" argument must be an integer/);
    }
  }
});

test('a client tells in its own words why it could not be asked', async (t) => {
  const closed = new Redis(shared[0].port, { lazyConnect: true });
  closed.disconnect();
  const redlock = new Redlock([closed], { retryCount: 1, retryDelay: 1 });
  const events = errorsOf(redlock);
  const error = await rejection(redlock.acquire([name()], LONG));
  const reasons = (await votesOf(error)).map(({ votesAgainst }) => votesAgainst.get(closed));
  t.is(reasons.length, 2);
  for (const reason of reasons) t.is(reason.message, 'Connection is closed.');
  t.deepEqual(events, reasons);
  t.is(error.cause.errors[0].cause.code, 'ECLOSED');
});

// Each is exact: no digit is lost on its way.
const DURATIONS = {
  'a day and a millisecond': 86_400_001,
  'longer than a timer can run': 2 ** 31,
  'some thousand years': 900_719_925_474_099,
};

for (const [title, duration] of Object.entries(DURATIONS)) {
  for (const over of ['URLs', 'ioredis']) {
    test(`durations have no limit: ${title}, over ${over}`, async (t) => {
      const servers = shared.slice(0, 3);
      const keys = [name(), name()];
      const clients = servers.map(({ port, url }) => (over === 'URLs' ? url : new Redis(port)));
      const redlock = connect(t, clients);
      const isLocked = async (least) => {
        for (const key of keys) {
          for (const ttl of await ask(servers, 'PTTL', key)) {
            t.true(ttl <= least && ttl > least - 10_000, `${ttl}`);
          }
        }
      };
      const before = Date.now();
      const lock = await redlock.acquire(keys, duration, { driftFactor: 0 });
      await isLocked(duration);
      t.true(lock.expiration <= Date.now() + duration);
      t.true(lock.expiration >= before + duration - 10_000);
      const extended = await lock.extend(3 * duration);
      await isLocked(3 * duration);
      t.true(extended.expiration > before + 3 * duration - 10_000);
      await extended.release();
      t.true(await isFree(servers, ...keys));

      // One name goes another way than several.
      const single = await (await redlock.acquire(keys.slice(1), LONG)).extend(duration);
      t.true((await ask(servers, 'PTTL', keys[1])).every((ttl) => ttl > duration - 10_000));
      await single.release();
      await redlock.using(keys, duration, async (signal) => {
        await isLocked(duration);
        t.false(signal.aborted);
      });
      t.true(await isFree(servers, ...keys));
    });
  }
}

test('what is too long for a Date is as long as one can tell', async (t) => {
  const servers = shared.slice(0, 1);
  const redlock = connect(t, servers);
  for (const duration of [Number.MAX_SAFE_INTEGER, 1e300]) {
    const key = name();
    const lock = await (await redlock.acquire([key], duration)).extend(duration);
    t.true(lock.expiration > Date.now() + 7e15);
    t.true((await servers[0].command('PTTL', key)) > 7e15);
    await lock.release();
    t.true(await isFree(servers, key));
  }
});

test('no client is waited for longer than a minute, nor for half of a duration', (t) => {
  for (const duration of [1, 100, 1000, 30_000, 86_400_000, 900_719_925_474_099, 1e300]) {
    const settings = readSettings({});
    const { expiry, timeoutFactor } = mutexSettings(duration, settings);
    t.true(expiry * timeoutFactor <= Math.min(60_000.001, expiry / 2));
    t.true(expiry * timeoutFactor >= Math.min(999.999, expiry / 2.1));
  }
});

test('a duration that is over at once is locked, and over', async (t) => {
  const servers = shared.slice(0, 3);
  const redlock = connect(t, servers, { retryCount: -1 }); // a busy machine may take some attempts
  for (const duration of [1, 3]) {
    const key = name();
    const lock = await redlock.acquire([key], duration);
    t.true(lock.expiration <= Date.now());
    await untilSteady(() => isFree(servers, key));
    t.is((await rejection(lock.extend(1000))).message, 'Cannot extend an already-expired lock.');
    await t.throwsAsync(lock.release(), { instanceOf: ExecutionError });
    const long = await redlock.acquire([key], 60_000);
    await long.extend(duration); // never shortens what the keys have
    t.true((await ask(servers, 'PTTL', key)).every((ttl) => ttl > 50_000));
    await ask(servers, 'DEL', key);
  }
});

test('settings that are no numbers are not there, as it is with null', async (t) => {
  const url = shared[0].url;
  const strings = { retryCount: '3', retryDelay: null, driftFactor: '0.5', retryJitter: {} };
  t.deepEqual(new Redlock([url], strings).settings, new Redlock([url]).settings);
  t.deepEqual(new Redlock([url], null).settings, new Redlock([url]).settings);
  const redlock = connect(t, [url], { retryCount: 1 });
  const key = name();
  const lock = await redlock.acquire([key], LONG, null);
  const error = await rejection(redlock.acquire([key], LONG, { retryCount: '3' }));
  t.is(error.attempts.length, 2);
  await redlock.release(lock, null);
  t.is(await redlock.using([key], LONG, null, async () => 1), 1);
});

test('what is no client votes against', async (t) => {
  const useless = [{}, { evalsha() {} }];
  const redlock = new Redlock(useless, { retryCount: 0 });
  const error = await rejection(redlock.acquire([name()], LONG));
  t.true(error instanceof ExecutionError);
  const [{ votesAgainst }] = await votesOf(error);
  t.deepEqual([...votesAgainst.keys()], useless);
  [...votesAgainst.values()].forEach((reason, i) => {
    t.regex(
      reason.message,
      new RegExp(`^The "clients\\[${i}\\]" argument must be an ioredis client`),
    );
  });
  await redlock.quit();
  const among = connect(t, [{}, ...shared.slice(0, 2)]);
  await (await among.acquire([name()], LONG)).release();
});

test('the scripts are shown, and stay', (t) => {
  const { scripts } = new Redlock(['memory:'], {}, { acquireScript: 'not a function' });
  for (const key of ['acquireScript', 'extendScript', 'releaseScript']) {
    const { value, hash } = scripts[key];
    t.is(hash, createHash('sha1').update(value).digest('hex'));
    const change = { [key]: (script) => script };
    t.throws(() => new Redlock(['memory:'], {}, change), {
      ...TYPE,
      message: `The "scripts.${key}" argument is not supported: the scripts are fixed`,
    });
  }
});

test('without a limit of attempts the newest are remembered', async (t) => {
  const key = name();
  const redlock = connect(t, ['memory:'], { retryCount: -1, retryDelay: 0, retryJitter: 0 });
  const lock = await redlock.acquire([key], LONG);
  const waiting = redlock.acquire([key], 5000);
  let count = 0;
  await new Promise((resolve) => {
    redlock.on('error', () => {
      if (++count === 1200) resolve();
    });
  });
  await lock.release();
  const { attempts } = await waiting;
  t.is(attempts.length, 1000);
  t.is((await attempts.at(-1)).votesFor.size, 1);
});

test('what node-redlock 4 has is there, by the names that the documents give', async (t) => {
  t.is(require('./index.js').default, Redlock);
  const client = new Redis(shared[0].port);
  const redlock = connect(t, [client], { retryCount: 1 });
  t.is(redlock.clients.size, 1);
  t.is(redlock.settings.retryCount, 1);
  const keys = [name(), name()];
  const events = errorsOf(redlock); // clientError
  const lock = await redlock.acquire(keys, LONG); // lock()
  t.deepEqual(lock.resources, keys); // resource
  t.is(lock.attempts.length, 1); // attempts
  const taken = await rejection(redlock.acquire(keys, LONG, { retryCount: 0 })); // lockWithOptions()
  t.is(taken.name, 'ExecutionError'); // LockError
  t.is(taken.attempts.length, 1);
  t.true(events.every((event) => event instanceof ResourceLockedError));
  const extended = await lock.extend(LONG);
  t.not(extended, lock);
  await extended.release(); // unlock()
  const settings = { automaticExtensionThreshold: 100 };
  t.is(await redlock.using([keys[0]], LONG, settings, async () => 1), 1); // disposer()
});

test('in jest, with mocks of clients and timers', (t) => {
  const root = path.join(__dirname, '..');
  const jest = path.join(root, 'node_modules', '.bin', 'jest');
  const args = ['--rootDir', 'redlock', '--testMatch', '**/redlock.jest.js'];
  const output = execFileSync('/bin/sh', ['-c', '"$0" "$@" 2>&1', jest, ...args], {
    cwd: root,
    encoding: 'utf8',
    env: { PATH: process.env.PATH, FORCE_COLOR: '0', CI: '1' },
  });
  t.regex(output, /Tests: +3 passed, 3 total/);
});

// Where it is better on purpose

test('difference: a tie on an even number of clients ends', async (t) => {
  for (const size of [2, 4]) {
    const servers = shared.slice(0, size);
    const key = name();
    await plant(servers.slice(0, size / 2), key);
    const redlock = connect(t, servers, { retryCount: 2 });
    const error = await rejection(redlock.acquire([key], 5000));
    t.true(error instanceof ExecutionError);
    t.is(error.attempts.length, 3);
    for (const { votesFor, votesAgainst } of await votesOf(error)) {
      t.is(votesFor.size, size / 2);
      t.is(votesAgainst.size, size / 2);
    }
    t.true(await isFree(servers.slice(size / 2), key));
  }
});

test('difference: a lock that is over by the time it is granted is not returned', async (t) => {
  const [server] = await useServers(t, 1);
  const proxy = await useProxy(t, server);
  const redlock = connect(t, [proxy.url], { retryCount: 0 });
  await (await redlock.acquire([name()], 5000)).release();
  proxy.delay(150); // longer than the lock lives
  const error = await rejection(redlock.acquire([name()], 200));
  t.true(error instanceof ExecutionError);
  await untilSteady(async () => (await server.command('DBSIZE')) === 0);
});

test('difference: to release what is over ends at once', async (t) => {
  const servers = shared.slice(0, 3);
  const key = name();
  const redlock = connect(t, servers, { retryCount: -1, retryDelay: LONG });
  const events = errorsOf(redlock);
  const lock = await redlock.acquire([key], 5000);
  await ask(servers, 'DEL', key);
  const error = await rejection(lock.release());
  t.true(error instanceof ExecutionError);
  t.true(error.cause instanceof LockExpiredError);
  t.is(error.attempts.length, 1);
  t.true(events.every((event) => event instanceof ResourceLockedError));

  const taken = await redlock.acquire([key], 5000);
  await plant(servers, key);
  t.true((await rejection(taken.release())).cause instanceof TakenError);
  t.deepEqual(
    await ask(servers, 'GET', key),
    servers.map(() => 'foreign'),
  );
});

test('difference: to extend what is lost ends at once', async (t) => {
  const servers = shared.slice(0, 3);
  const key = name();
  const redlock = connect(t, servers, { retryCount: -1, retryDelay: LONG });
  const lock = await redlock.acquire([key], LONG);
  await ask(servers.slice(1), 'DEL', key);
  const error = await rejection(lock.extend(LONG));
  t.true(error instanceof ExecutionError);
  t.is(error.attempts.length, 1);
  await lock.release().catch(() => {});
});

test('difference: nothing is extended once it is over', async (t) => {
  const dead = [await deadUrl(), await deadUrl()];
  const [server] = shared;
  const key = name();
  const alone = connect(t, [server]);
  const { value, expiration } = await alone.acquire([key], 1000);
  const redlock = connect(t, [server, ...dead], { retryCount: -1 });
  const error = await rejection(new Lock(redlock, [key], value, [], expiration).extend(1000));
  t.true(error instanceof ExecutionError);
  t.true(Date.now() >= expiration);
});

test('difference: a release that takes several attempts counts what each has released', async (t) => {
  const servers = await useServers(t, 3);
  const proxies = await Promise.all(servers.map((server) => useProxy(t, server)));
  const key = name();
  const redlock = connect(t, proxies, { retryCount: -1 });
  const lock = await redlock.acquire([key], LONG);
  for (const proxy of proxies.slice(1)) proxy.reset();
  for (const proxy of proxies.slice(1)) proxy.refuse();
  const releasing = lock.release();
  await until(async () => (await servers[0].command('EXISTS', key)) === 0);
  for (const proxy of proxies.slice(1)) await proxy.heal();
  const { attempts } = await releasing;
  t.true(attempts.length > 1);
  await untilSteady(() => isFree(servers, key));
});

test('difference: an extension keeps the settings of its acquisition', async (t) => {
  const servers = await useServers(t, 3);
  const redlock = connect(t, servers, { retryCount: 7, retryDelay: 1, retryJitter: 0 });
  const lock = await redlock.acquire([name()], LONG, { retryCount: 2 });
  const extended = await lock.extend(LONG);
  await Promise.all(servers.slice(1).map((server) => server.kill()));
  t.is((await rejection(extended.extend(LONG))).attempts.length, 3);
  t.is((await rejection(redlock.extend(extended, LONG, { retryCount: 1 }))).attempts.length, 2);
  t.is((await rejection(extended.release())).attempts.length, 3);
});

test('difference: nothing runs after using has settled', async (t) => {
  const servers = await useServers(t, 3);
  const key = name();
  const redlock = connect(t, servers, { automaticExtensionThreshold: 700 });
  const { commands, settle } = await monitor(t, servers[0]);
  let signal;
  await redlock.using([key], 1000, async (given) => {
    signal = given;
    await delay(500); // it is extended meanwhile, and due again
  });
  await settle();
  const count = commands.length;
  await delay(1000);
  await settle();
  t.is(commands.length, count);
  t.true(commands.some(([verb]) => verb.startsWith('EVAL')));
  t.false(signal.aborted);
});

test('difference: partial acquisitions are released between the attempts', async (t) => {
  const servers = shared.slice(0, 3);
  const key = name();
  await plant(servers.slice(0, 2), key);
  const redlock = connect(t, servers, { retryCount: 1, retryDelay: 2000 });
  const failing = rejection(redlock.acquire([key], LONG));
  await once(redlock, 'error');
  t.true(await isFree(servers.slice(2), key)); // and the next attempt is yet to come
  t.is((await failing).attempts.length, 2);
  t.true(await isFree(servers.slice(2), key));
});

test('difference: every attempt has a value of its own', async (t) => {
  const servers = await useServers(t, 3);
  const key = name();
  await plant(servers.slice(0, 2), key);
  const { settle } = await monitor(t, servers[2]);
  await rejection(connect(t, servers, { retryCount: 3 }).acquire([key], 5000));
  const values = (await settle()).filter(([verb]) => verb === 'SET').map((command) => command[2]);
  t.is(values.length, 4);
  t.is(new Set(values).size, 4);
});

test('difference: one hung client does not hang an operation', async (t) => {
  const servers = await useServers(t, 3);
  servers[1].pause();
  servers[2].pause();
  const redlock = connect(t, servers, { retryCount: 0 });
  const error = await rejection(redlock.acquire([name()], 5000));
  t.true(error instanceof ExecutionError);
  t.is((await votesOf(error))[0].votesAgainst.size, 2);
  servers[1].resume();
  await until(() =>
    redlock.acquire([name()], 5000).then(
      (lock) => lock.release(),
      () => false,
    ),
  );
});

test('difference: what the routine threw is not replaced by a failed release', async (t) => {
  const servers = shared.slice(0, 3);
  const key = name();
  const mine = new Error('mine');
  const error = await rejection(
    connect(t, servers).using([key], 5000, async () => {
      await ask(servers, 'DEL', key);
      throw mine;
    }),
  );
  t.is(error, mine);
});

test('difference: a resource that is given twice is locked once, and can be released', async (t) => {
  const servers = shared.slice(0, 3);
  const key = name();
  const lock = await connect(t, servers).acquire([key, key], 5000);
  t.deepEqual(lock.resources, [key, key]);
  await lock.release();
  t.true(await isFree(servers, key));
});

test('difference: an extension never shortens the life of a key', async (t) => {
  const servers = shared.slice(0, 3);
  const key = name();
  const lock = await connect(t, servers).acquire([key], LONG);
  const extended = await lock.extend(1000);
  t.true(extended.expiration < Date.now() + 1000);
  t.true((await ask(servers, 'PTTL', key)).every((ttl) => ttl > 10_000));
  await extended.release();
});

test('a bad argument is told before anybody is asked', async (t) => {
  const url = await deadUrl();
  const construct =
    (...args) =>
    () =>
      new Redlock(...args);
  t.throws(construct(), { ...TYPE, message: /"clients"/ });
  t.throws(construct(url), { ...TYPE, message: /"clients"/ });
  t.throws(construct([]), { ...RANGE, message: /"clients"/ });
  t.throws(construct([url, undefined]), { ...TYPE, message: /"clients\[1\]"/ });
  t.throws(construct([url], 1), { ...TYPE, message: /"settings"/ });
  t.throws(construct([url], { retryCount: -2 }), RANGE);
  t.throws(construct([url], { driftFactor: 1 }), RANGE);
  t.throws(construct([url], { retryDelay: NaN }), RANGE);
  t.throws(construct([url], {}, { acquireScript: (script) => script }), {
    ...TYPE,
    message: /"scripts\.acquireScript"/,
  });
  t.notThrows(construct([url], {}, {}));

  const redlock = connect(t, [url]);
  const lock = new Lock(redlock, ['a'], 'value', [], Date.now() + LONG);
  const isRefused = (call, expected) => t.throwsAsync(() => call(), expected);
  await isRefused(() => redlock.acquire('a', 1000), { ...TYPE, message: /"resources"/ });
  await isRefused(() => redlock.acquire([], 1000), { ...RANGE, message: /"resources"/ });
  await isRefused(() => redlock.acquire([1], 1000), TYPE);
  await isRefused(() => redlock.acquire(['a'], 0), { ...RANGE, message: /"duration"/ });
  await isRefused(() => redlock.acquire(['a'], -1), { ...RANGE, message: /"duration"/ });
  await isRefused(() => redlock.acquire(['a'], 50, { driftFactor: 0.97 }), {
    ...RANGE,
    message: /"duration"/,
  });
  await isRefused(() => redlock.acquire(['a'], 1000, { retryJitter: -1 }), RANGE);
  await isRefused(() => redlock.using(['a'], 1000), { ...TYPE, message: /"routine"/ });
  await isRefused(() => redlock.using(['a'], 599, () => {}), { ...RANGE, message: /"duration"/ });
  await isRefused(() => redlock.release({}), { ...TYPE, message: /"lock"/ });
  await isRefused(() => lock.extend(0), { ...RANGE, message: /"duration"/ });
  const foreign = new Lock(redlock, ['a'], '', [], Date.now() + LONG);
  await isRefused(() => foreign.extend(1000), { ...RANGE, message: /"lock.value"/ });
  t.true(lock.expiration > 0);
});

test('neither a lock nor a Redlock shows the URLs that it has', async (t) => {
  const { inspect } = require('node:util');
  const redlock = new Redlock(['redis://user:secret@127.0.0.1:1'], { retryCount: 0 });
  const lock = new Lock(redlock, ['a'], 'value', [], 0);
  const error = await rejection(redlock.acquire(['a'], 1000));
  for (const shown of [redlock, lock, error]) t.notRegex(inspect(shown), /secret/);
  await redlock.quit();
});

test.serial('what was added to Object.prototype is no setting', (t) => {
  Object.prototype.retryCount = 0;
  Object.prototype.acquireScript = () => '';
  try {
    const redlock = new Redlock(['memory:'], {}, {});
    t.is(redlock.settings.retryCount, 10);
  } finally {
    delete Object.prototype.retryCount;
    delete Object.prototype.acquireScript;
  }
});

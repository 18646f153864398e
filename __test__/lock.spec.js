'use strict';

const path = require('node:path');

const test = require('ava');

const { FailedError, Mutex, Redsync, TakenError } = require('../index.js');
const { rejection, until } = require('./helpers/async.js');
const { overBackends } = require('./helpers/backends.js');
const { monitor, useServers } = require('./helpers/servers.js');

const eachBackend = overBackends(test);

eachBackend('a fresh mutex holds nothing', async (t, backend) => {
  const name = backend.name();
  const mutex = backend.connect(t).newMutex(name);
  t.is(mutex.name, name);
  t.deepEqual(mutex.names, [name]);
  t.is(mutex.value, '');
  t.is(mutex.until, undefined);
  t.false(await mutex.valid());
  t.true(await backend.isFreeEverywhere(name));
});

eachBackend('lock() stores the value on every node, unlock() takes it off', async (t, backend) => {
  const name = backend.name();
  const mutex = backend.connect(t).newMutex(name);
  const lock = await mutex.lock();
  t.is(lock.mutex, mutex);
  t.is(mutex.value, lock.value);
  t.is(Buffer.from(lock.value, 'base64').length, 16);
  t.true(await backend.isHeldEverywhere(name, lock.value));
  t.true(await lock.unlock());
  t.true(await backend.isFreeEverywhere(name));
});

eachBackend('until and remaining tell the validity, drift deducted', async (t, backend) => {
  const mutex = backend.connect(t).newMutex(backend.name(), { expiry: 10_000, driftFactor: 0.1 });
  const before = Date.now();
  const lock = await mutex.lock();
  const after = Date.now();
  t.true(lock.until instanceof Date);
  t.deepEqual(mutex.until, lock.until);
  // 10,000 ms less 1,000 ms of drift less 2 ms, from when the nodes were asked.
  const validity = 8998;
  const tolerance = 2; // of comparing two clocks in whole milliseconds
  t.true(lock.until >= before + validity - tolerance, `${lock.until - before} ms from the call`);
  t.true(lock.until <= after + validity + tolerance, `${lock.until - after} ms from the answer`);
  t.true(lock.remaining > 0 && lock.remaining <= validity);
  t.true(await lock.unlock());
});

eachBackend('value and until outlive the lock, as in go-redsync', async (t, backend) => {
  const mutex = backend.connect(t).newMutex(backend.name());
  const lock = await mutex.lock();
  await lock.unlock();
  t.is(mutex.value, lock.value);
  t.deepEqual(mutex.until, lock.until);
});

eachBackend('tryLock() gives a lock, or null where it is taken', async (t, backend) => {
  const redsync = backend.connect(t);
  const name = backend.name();
  const lock = await redsync.newMutex(name).tryLock();
  t.is(await redsync.newMutex(name).tryLock(), null);
  t.true(await backend.isHeldEverywhere(name, lock.value));
  t.true(await lock.unlock());
});

eachBackend('a second lock() waits until the first is released', async (t, backend) => {
  const name = backend.name();
  const [first, second] = [backend.connect(t), backend.connect(t)];
  const held = await first.newMutex(name).lock();
  let attempts = 0;
  let released = false;
  const waiting = second
    .newMutex(name, {
      tries: Infinity,
      retryDelay: () => {
        attempts++;
        return 5;
      },
    })
    .lock()
    .then((lock) => {
      t.true(released);
      return lock;
    });
  await until(() => attempts > 0);
  released = true;
  t.true(await held.unlock());
  const lock = await waiting;
  t.true(await backend.isHeldByQuorum(name, lock.value));
  t.true(await lock.unlock());
});

eachBackend('an expired lock lets another in', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t);
  const expired = await redsync.newMutex(name, { expiry: 300 }).lock();
  const lock = await redsync.newMutex(name, { tries: Infinity, retryDelay: 10 }).lock();
  t.is(expired.remaining, 0);
  t.true(expired.until <= Date.now());
  // A quorum: the nodes do not expire a key in the same millisecond.
  t.true(await lock.mutex.valid());
  t.true(await lock.unlock());
});

eachBackend('lock() gives up after `tries`, with a pause between them', async (t, backend) => {
  const name = backend.name();
  await backend.plantEverywhere(name);
  const pauses = [];
  const mutex = backend.connect(t).newMutex(name, {
    tries: 4,
    retryDelay: (n) => {
      pauses.push(n);
      return 1;
    },
  });
  const error = await t.throwsAsync(mutex.lock(), { instanceOf: TakenError });
  t.is(error.attempts, 4);
  t.deepEqual(pauses, [1, 2, 3]);
  t.is(mutex.value, '');
  t.is(mutex.until, undefined);
});

eachBackend('every attempt has a fresh value', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t);
  await backend.plantEverywhere(name);
  const values = [];
  const mutex = redsync.newMutex(name, {
    tries: Infinity,
    retryDelay: 1,
    genValue: () => {
      values.push(`value-${values.length}`);
      return values.at(-1);
    },
  });
  const waiting = mutex.lock();
  await until(() => values.length >= 3);
  await backend.removeEverywhere(name, 'foreign');
  const lock = await waiting;
  t.is(lock.value, values.at(-1));
  t.true(await backend.isHeldByQuorum(name, lock.value));
  await lock.unlock();

  const attempts = values.length;
  const again = await mutex.lock();
  t.is(values.length, attempts + 1);
  t.is(again.value, values.at(-1));
  await again.unlock();

  const own = redsync.newMutex(name);
  const [one, two] = [await own.lock().then(disposed), await own.lock().then(disposed)];
  t.not(one.value, two.value);
});

async function disposed(lock) {
  await lock[Symbol.asyncDispose]();
  return lock;
}

eachBackend('genValue may be asynchronous', async (t, backend) => {
  const name = backend.name();
  const mutex = backend.connect(t).newMutex(name, {
    genValue: async () => {
      await new Promise(setImmediate);
      return 'made-later';
    },
  });
  const lock = await mutex.lock();
  t.is(lock.value, 'made-later');
  t.true(await backend.isHeldEverywhere(name, 'made-later'));
  t.true(await lock.unlock());
});

eachBackend('an error of genValue is the reason, and no key is left', async (t, backend) => {
  const name = backend.name();
  const reason = new Error('no entropy');
  const redsync = backend.connect(t);
  const throwing = redsync.newMutex(name, {
    genValue: () => {
      throw reason;
    },
  });
  const rejecting = redsync.newMutex(name, {
    genValue: async () => {
      throw reason;
    },
  });
  t.is(await rejection(throwing.lock()), reason);
  t.is(await rejection(throwing.tryLock()), reason);
  t.is(await rejection(rejecting.lock()), reason);
  t.true(await backend.isFreeEverywhere(name));
});

eachBackend('an error of genValue in a later attempt ends the waiting', async (t, backend) => {
  const name = backend.name();
  const quorumTaken = backend.indices.slice(0, backend.quorum);
  await Promise.all(quorumTaken.map((i) => backend.plant(i, name)));
  const reason = new Error('no more entropy');
  let calls = 0;
  const genValue = () => {
    if (++calls === 3) throw reason;
    return `value-${calls}`;
  };
  const mutex = backend.connect(t).newMutex(name, { tries: 10, retryDelay: 1, genValue });
  t.is(await rejection(mutex.lock()), reason);
  t.true(await backend.isHeldExactlyOn(quorumTaken, name));
});

eachBackend('a value that is no string is a TypeError', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t);
  for (const value of [undefined, 7, null]) {
    const error = await rejection(redsync.newMutex(name, { genValue: () => value }).lock());
    t.true(error instanceof TypeError, String(value));
    t.is(error.code, 'ERR_INVALID_ARG_TYPE');
    t.regex(error.message, /genValue/);
  }
  t.true(await backend.isFreeEverywhere(name));
});

eachBackend('an error of retryDelay is the reason', async (t, backend) => {
  const name = backend.name();
  await backend.plantEverywhere(name);
  const reason = new Error('no patience');
  const mutex = backend.connect(t).newMutex(name, {
    retryDelay: () => {
      throw reason;
    },
  });
  t.is(await rejection(mutex.lock()), reason);
  t.true(await backend.isHeldEverywhere(name, 'foreign'));
});

eachBackend('a delay that is no number rejects', async (t, backend) => {
  const name = backend.name();
  await backend.plantEverywhere(name);
  const redsync = backend.connect(t);
  for (const [delay, code] of [
    [NaN, 'ERR_OUT_OF_RANGE'],
    [-1, 'ERR_OUT_OF_RANGE'],
    [Infinity, 'ERR_OUT_OF_RANGE'],
    ['5', 'ERR_INVALID_ARG_TYPE'],
    [undefined, 'ERR_INVALID_ARG_TYPE'],
  ]) {
    const error = await rejection(redsync.newMutex(name, { retryDelay: () => delay }).lock());
    t.is(error.code, code, String(delay));
    t.regex(error.message, /retryDelay/);
  }
});

eachBackend('failFast and shufflePools lock and unlock like any other', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t);
  for (const options of [
    { failFast: true },
    { shufflePools: true },
    { failFast: true, shufflePools: true },
  ]) {
    const lock = await redsync.newMutex(name, options).lock();
    t.true(await lock.mutex.valid()); // failing fast, not every node need have been asked
    t.is(await redsync.newMutex(name, options).tryLock(), null);
    t.true(await lock.extend());
    t.true(await lock.unlock());
    await until(() => backend.isFreeEverywhere(name));
  }
});

eachBackend('several names are one lock', async (t, backend) => {
  const names = [backend.name(), backend.name(), backend.name()];
  const redsync = backend.connect(t);
  const mutex = redsync.newMutex(names);
  t.is(mutex.name, names[0]);
  t.deepEqual(mutex.names, names);
  const lock = await mutex.lock();
  for (const name of names) t.true(await backend.isHeldEverywhere(name, lock.value));
  t.is(await redsync.newMutex(names[1]).tryLock(), null);
  t.true(await lock.extend());
  t.true(await mutex.valid());
  t.true(await lock.unlock());
  for (const name of names) t.true(await backend.isFreeEverywhere(name));
});

eachBackend('several names are taken all or not at all', async (t, backend) => {
  const names = [backend.name(), backend.name(), backend.name()];
  const taken = backend.indices.slice(0, backend.quorum);
  await Promise.all(taken.map((i) => backend.plant(i, names[1])));
  const mutex = backend.connect(t).newMutex(names, { tries: 2, retryDelay: 1 });
  const error = await t.throwsAsync(mutex.lock(), { instanceOf: TakenError });
  t.deepEqual([...error.nodes].sort(), taken);
  t.true(await backend.isFreeEverywhere(names[0]));
  t.true(await backend.isHeldExactlyOn(taken, names[1]));
  t.true(await backend.isFreeEverywhere(names[2]));
});

eachBackend('keyPrefix is in front of the key and not of the name', async (t, backend) => {
  const name = backend.name();
  const mutex = backend.connect(t, { keyPrefix: 'app:' }).newMutex(name);
  const lock = await mutex.lock();
  t.is(mutex.name, name);
  t.true(await backend.isHeldEverywhere(`app:${name}`, lock.value));
  t.true(await backend.isFreeEverywhere(name));
  t.true(await lock.unlock());
});

eachBackend('defaults of the Redsync hold unless the mutex says otherwise', async (t, backend) => {
  const name = backend.name();
  await backend.plantEverywhere(name);
  const redsync = backend.connect(t, { tries: 3, retryDelay: 1 });
  const attempts = async (options) => {
    const error = await rejection(redsync.newMutex(name, options).lock());
    return error.attempts;
  };
  t.is(await attempts(), 3);
  t.is(await attempts({ tries: 2 }), 2);
  t.is(await attempts({ tries: undefined }), 3);
});

eachBackend('a rejection shows where the caller waited', async (t, backend) => {
  const name = backend.name();
  await backend.plantEverywhere(name);
  const mutex = backend.connect(t).newMutex(name, { tries: 1 });
  const awaitHere = async () => {
    await mutex.lock();
  };
  const error = await rejection(awaitHere());
  t.true(error instanceof FailedError);
  t.regex(error.stack, /awaitHere/);
  t.true(error.stack.includes(path.basename(__filename)), error.stack);
});

eachBackend('64 contenders on a plain counter lose no update', async (t, backend) => {
  const name = backend.name();
  const processes = Array.from({ length: 4 }, () => backend.connect(t));
  let counter = 0;
  let inside = 0;
  const contend = async (_, i) => {
    const lock = await processes[i % processes.length]
      .newMutex(name, {
        tries: Infinity,
        retryDelay: () => 5 + Math.floor(Math.random() * 20),
      })
      .lock();
    t.is(++inside, 1);
    const read = counter;
    await new Promise(setImmediate);
    counter = read + 1;
    inside--;
    t.true(await lock.unlock());
  };
  await Promise.all(Array.from({ length: 64 }, contend));
  t.is(counter, 64);
  await until(() => backend.isFreeEverywhere(name));
});

test.serial('lock() and unlock() are one round trip each', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = new Redsync(server.url);
  t.teardown(() => redsync.close());
  const mutex = redsync.newMutex('warm-up');
  await (await mutex.lock()).unlock(); // connects, and teaches the server the script

  const { settle } = await monitor(t, server);
  const lock = await redsync.newMutex('measured').lock();
  await lock.unlock();
  const sent = (await settle()).map(([verb, ...args]) => [verb.toLowerCase(), ...args]);
  t.is(sent.length, 2, JSON.stringify(sent));
  t.deepEqual(sent[0], ['set', 'measured', lock.value, 'NX', 'PX', '8000']);
  t.regex(sent[1][0], /^(eval(sha)?|delex|delifeq)$/);
});

test.serial('a Mutex is made by a Redsync only', (t) => {
  t.throws(() => new Mutex(), { instanceOf: TypeError });
  const redsync = new Redsync('memory:');
  t.true(redsync.newMutex('name') instanceof Mutex);
});

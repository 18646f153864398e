'use strict';

// A lock that was acquired elsewhere, known by its value; and one that is to run out.

const { once } = require('node:events');
const { Worker } = require('node:worker_threads');

const test = require('ava');

const { ExtendError, LockLostError, Redsync, TakenError } = require('../index.js');
const { aborted, delay, rejection, until } = require('./helpers/async.js');
const { KEPT, overBackends } = require('./helpers/backends.js');
const { endedWell, startProcess } = require('./helpers/processes.js');
const { useServers } = require('./helpers/servers.js');

const eachBackend = overBackends(test, { sizes: [1, 3] });

/** Where two Redsyncs are known to have the same nodes; a Pool belongs to one. */
const onShared = (title, body) =>
  eachBackend(title, body, ({ kind }) => kind === 'memory' || kind === 'redis');

/** A lock of somebody who does nothing more for it, by its value. */
async function handedOver(t, backend, name, expiry = KEPT) {
  return (await backend.connect(t).newMutex(name, { expiry }).lock()).value;
}

eachBackend('an adopted lock is kept alive from its first extension on', async (t, backend) => {
  const name = backend.name();
  const value = await handedOver(t, backend, name);
  const options = { value, expiry: KEPT, autoExtend: true };
  const heir = backend.connect(t).newMutex(name, options);
  t.true(await heir.extend());
  const first = heir.until;
  await until(() => heir.until > first.getTime() + KEPT);
  t.true(await backend.isHeldEverywhere(name, value));
  t.true(await heir.extend(), 'and by hand as well');
  t.true(await heir.unlock());
  t.true(await backend.isFreeEverywhere(name));
  await delay(KEPT);
  t.true(await backend.isFreeEverywhere(name));
});

eachBackend('an adopted lock without autoExtend is not', async (t, backend) => {
  const name = backend.name();
  const value = await handedOver(t, backend, name);
  const heir = backend.connect(t).newMutex(name, { value, expiry: 500 });
  t.true(await heir.extend());
  await until(() => backend.isFreeEverywhere(name));
});

eachBackend('a lock that is over is not adopted', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t);
  const options = { value: 'long gone', expiry: 500, autoExtend: true };
  const heir = redsync.newMutex(name, options);
  t.is((await rejection(heir.extend())).constructor, ExtendError);
  const { held } = redsync.stats();
  t.is(held, 0);
  t.true(await backend.isFreeEverywhere(name));
  const call = redsync.using(name, options, () => t.fail());
  t.is((await rejection(call)).constructor, ExtendError);
  t.true(await backend.isFreeEverywhere(name));
});

eachBackend('using() holds an adopted lock, and releases it', async (t, backend) => {
  const name = backend.name();
  const value = await handedOver(t, backend, name);
  const redsync = backend.connect(t);
  const given = await redsync.using(name, { value, expiry: KEPT }, async (signal, lock) => {
    t.is(lock.value, value);
    t.is(lock.mutex.value, value);
    t.true(lock.remaining > 0);
    const first = lock.until;
    await until(() => lock.until > first.getTime() + KEPT);
    t.false(signal.aborted);
    t.true(await backend.isHeldEverywhere(name, value));
    return 'done';
  });
  t.is(given, 'done');
  t.true(await backend.isFreeEverywhere(name));
});

eachBackend('the loss of an adopted lock is told', async (t, backend) => {
  const name = backend.name();
  const value = await handedOver(t, backend, name);
  const options = { value, expiry: KEPT, autoExtend: { interval: 50 } };
  await backend.connect(t).using(name, options, async (signal) => {
    await backend.removeEverywhere(name, value);
    const reason = await aborted(signal);
    t.true(reason instanceof LockLostError);
    t.regex(reason.message, /it was deleted$/);
  });
});

eachBackend('a caller who has gone adopts nothing', async (t, backend) => {
  const name = backend.name();
  const value = await handedOver(t, backend, name);
  const redsync = backend.connect(t, { expiry: KEPT, autoExtend: true });
  const heir = redsync.newMutex(name, { value });
  const controller = new AbortController();
  const calls = [
    rejection(heir.extend({ signal: controller.signal })),
    rejection(redsync.using(name, { value, signal: controller.signal }, () => t.fail())),
  ];
  controller.abort('never mind');
  for (const call of calls) t.is(await call, 'never mind');
  await until(() => backend.isFreeEverywhere(name));
  t.is(redsync.stats().held, 0);
});

eachBackend('released while it is adopted, it is not kept', async (t, backend) => {
  const name = backend.name();
  const value = await handedOver(t, backend, name);
  const redsync = backend.connect(t, { expiry: KEPT, autoExtend: { interval: 50 } });
  const heir = redsync.newMutex(name, { value });
  const calls = [heir.extend(), heir.extend(), heir.unlock()];
  await Promise.allSettled(calls);
  t.true(await backend.isFreeEverywhere(name));
  await delay(200);
  t.true(await backend.isFreeEverywhere(name));
  t.is(redsync.stats().held, 0);
});

eachBackend('two calls at once adopt it once', async (t, backend) => {
  const name = backend.name();
  const value = await handedOver(t, backend, name);
  const redsync = backend.connect(t, { expiry: KEPT, autoExtend: true });
  const heir = redsync.newMutex(name, { value });
  t.deepEqual(await Promise.all([heir.extend(), heir.extend()]), [true, true]);
  t.is(redsync.stats().held, 1);
  const first = heir.until;
  await until(() => heir.until > first.getTime() + KEPT);
  t.true(await heir.unlock());
  t.is(redsync.stats().held, 0);
});

// --- in the Redsync that has it already

eachBackend(
  "adopted beside its holder, it is everybody's to keep and to lose",
  async (t, backend) => {
    const name = backend.name();
    const redsync = backend.connect(t, { expiry: KEPT });
    for (const autoExtend of [true, false]) {
      const lock = await redsync.newMutex(name, { autoExtend }).lock();
      const { signal, value } = lock;
      await redsync.using(
        name,
        { value, autoExtend: { interval: 50 } },
        async (theirs, adopted) => {
          const first = lock.until;
          await until(() => lock.until > first.getTime() + KEPT && adopted.until > first);
          t.false(signal.aborted || theirs.aborted);
          await backend.removeEverywhere(name, value);
          if (!autoExtend) await until(() => lock.signal.aborted);
          const reasons = await Promise.all([aborted(signal), aborted(theirs)]);
          // The memory nodes are released by a Redsync of their own.
          for (const { message } of reasons) t.regex(message, /it was deleted$/);
        },
      );
      t.is(redsync.stats().held, 0);
    }
  },
);

eachBackend('released by its value, it is over for whoever has it', async (t, backend) => {
  const redsync = backend.connect(t, { expiry: 60_000 });
  for (const options of [{ autoExtend: true }, {}]) {
    const name = backend.name();
    const lock = await redsync.newMutex(name, options).lock();
    const { signal } = lock;
    const kept = await redsync.using(name, { value: lock.value }, (theirs) => theirs);
    t.false(kept.aborted, 'whoever releases it is not told');
    const reason = await aborted(signal);
    t.true(reason instanceof LockLostError);
    t.is(reason.message, `lock "${name}" is lost: it was released by its value`);
    t.is(lock.remaining, 0);
    t.true(await backend.isFreeEverywhere(name));
    t.is((await rejection(lock.unlock())).code, 'ERR_LOCK_EXPIRED');
  }
  t.is(redsync.stats().held, 0);
});

async function dropAdopted(file, url) {
  const { Redsync } = require(file);
  const { setTimeout: delay } = require('node:timers/promises');
  const warnings = [];
  process.on('warning', ({ message }) => warnings.push(message));
  const redsync = new Redsync(url, { expiry: 600, timeoutFactor: 0.5, autoExtend: true });
  const adopt = async (value) => {
    await redsync.newMutex('name', { value }).extend();
    return value;
  };
  const collect = async () => {
    for (let i = 0; i < 20; i++) {
      globalThis.gc();
      await delay(100);
    }
  };
  const value = await adopt(await (async () => (await redsync.acquire('name')).value)());
  const last = redsync.newMutex('name', { value });
  await last.extend();
  await collect();
  console.log(warnings.length, await last.valid(), last.until > Date.now(), redsync.stats().held);
  await last.unlock();

  await adopt(await (async () => (await redsync.acquire('name')).value)());
  await collect();
  console.log(warnings.join('\n'));
  console.log((await redsync.newMutex('name').tryLock()) !== null);
}

/** A node that takes no part, but for an extension: that one never ends. */
function hangingPool() {
  const refuse = async () => {
    throw new Error('it takes no part');
  };
  const conn = {
    setNX: refuse,
    eval: ({ source }) => (/pexpire/i.test(source) ? new Promise(() => {}) : refuse()),
    pttl: async () => -2,
    close() {},
  };
  return { get: () => conn };
}

test('a release by its value is told at once, also while the lock is being extended', async (t) => {
  const redsync = new Redsync(['memory:', 'memory:', hangingPool()]);
  const lock = await redsync.acquire('x', { expiry: 60_000, autoExtend: { interval: 100 } });
  const told = aborted(lock.signal);
  await delay(200); // two nodes have extended it by then, and the third is waited for
  t.true(await redsync.newMutex('x', { value: lock.value, failFast: true }).unlock());
  t.true((await told) instanceof LockLostError);
  t.deepEqual([lock.remaining, redsync.stats().held], [0, 0]);
});

test.serial('whoever has it is told while the release is still on its way', async (t) => {
  const servers = await useServers(t, 3);
  const redsync = new Redsync(
    servers.map(({ url }) => url),
    { expiry: 60_000 },
  );
  t.teardown(() => redsync.close());
  for (const options of [{ autoExtend: true }, {}]) {
    const lock = await redsync.acquire('name', options);
    const told = aborted(lock.signal);
    for (const server of servers) server.pause();
    let isReleased = false;
    const releasing = redsync.newMutex('name', { value: lock.value }).unlock();
    const released = releasing.then(() => (isReleased = true));
    t.regex((await told).message, /released by its value/);
    t.false(isReleased);
    for (const server of servers) server.resume();
    t.true(await released);
  }
});

for (const [title, options] of [
  ['that is kept alive', { autoExtend: true }],
  ['whose signal he has', {}],
]) {
  onShared(`a lock ${title} is released through another Redsync`, async (t, backend) => {
    const name = backend.name();
    const [redsync, other] = [1, 2].map(() => backend.connect(t, { expiry: 600_000 }));
    const lock = await redsync.acquire(name, options);
    const told = aborted(lock.signal);
    const theirs = other.newMutex(name, { value: `not ${lock.value}` });
    await t.throwsAsync(theirs.unlock(), { instanceOf: TakenError });
    t.true(await lock.extend());
    t.false(lock.signal.aborted);

    t.true(await other.newMutex(name, { value: lock.value }).unlock());
    const reason = await told;
    t.true(reason instanceof LockLostError);
    t.is(reason.message, `lock "${name}" is lost: it was released by its value`);
    t.deepEqual([lock.remaining, redsync.stats().held, redsync.stats().lost], [0, 0, 1]);
    t.true(await backend.isFreeEverywhere(name));
  });
}

onShared('a routine of using() is told of a release by another Redsync', async (t, backend) => {
  const name = backend.name();
  const [redsync, other] = [1, 2].map(() => backend.connect(t, { expiry: 600_000 }));
  const reason = await redsync.using(name, async (signal, lock) => {
    t.true(await other.newMutex(name, { value: lock.value }).unlock());
    return aborted(signal);
  });
  t.true(reason instanceof LockLostError);
  const next = await redsync.acquire(name);
  t.true(await next.unlock());
});

onShared('a holder who releases it ends what another Redsync keeps alive', async (t, backend) => {
  const name = backend.name();
  const [redsync, other] = [1, 2].map(() => backend.connect(t, { expiry: 600_000 }));
  const lock = await redsync.acquire(name, { autoExtend: true });
  const { signal } = lock;
  await other.using(name, { value: lock.value }, async (theirs) => {
    t.true(await lock.unlock());
    t.true((await aborted(theirs)) instanceof LockLostError);
  });
  t.false(signal.aborted, 'he knows');
  t.deepEqual([redsync.stats().lost, other.stats().lost], [0, 1]);
});

/** Holds a lock in a worker, and tells its value and then why it is lost. */
function holdInWorker(t, inputs, name) {
  const body = async (file, inputs, name) => {
    const { parentPort } = require('node:worker_threads');
    const { Redsync } = require(file);
    const lock = await new Redsync(inputs, { expiry: 600_000 }).acquire(name, { autoExtend: true });
    parentPort.on('message', () => {}); // stays
    lock.signal.onabort = () => parentPort.postMessage(lock.signal.reason.message);
    parentPort.postMessage(lock.value);
  };
  const args = [require.resolve('../index.js'), inputs, name].map((arg) => JSON.stringify(arg));
  const worker = new Worker(`(${body})(${args})`, { eval: true });
  t.teardown(() => worker.terminate());
  return worker;
}

onShared('a worker is told of a release by the main thread', async (t, backend) => {
  const name = backend.name();
  const worker = holdInWorker(t, backend.inputs(), name);
  const [value] = await once(worker, 'message');
  const told = once(worker, 'message');
  t.true(await backend.connect(t).newMutex(name, { value }).unlock());
  t.deepEqual(await told, [`lock "${name}" is lost: it was released by its value`]);
});

eachBackend('reading the signal of a lock leaves it to those who keep it', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t);
  const first = await redsync.acquire(name, { expiry: KEPT });
  const options = { value: first.value, expiry: KEPT, autoExtend: true };
  const heir = redsync.newMutex(name, options);
  t.true(await heir.extend());
  const { signal } = first;
  const begin = heir.until.getTime();
  await until(() => heir.until.getTime() > begin + KEPT);
  t.false(signal.aborted);
  t.true(await heir.unlock());
  t.true((await aborted(signal)) instanceof LockLostError, 'it is told of the end of the lock');
});

test.serial('whoever drops it leaves it to those who keep it', async (t) => {
  const [server] = await useServers(t, 1);
  const nodeArgs = ['--expose-gc', '--no-warnings'];
  const result = await startProcess({ nodeArgs }, dropAdopted, server.url).ended;
  endedWell(
    t,
    result,
    [
      '0 true true 1',
      'lock "name" was dropped without unlock(): it is left to expire',
      'true',
    ].join('\n'),
  );
});

// --- letExpire()

eachBackend('letExpire() lets a lock run out', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { expiry: KEPT, autoExtend: { interval: 100 } });
  const lock = await redsync.newMutex(name).lock();
  const { signal } = lock;
  const first = lock.until.getTime();
  await until(() => lock.until > first);
  t.is(lock.letExpire(), undefined);
  lock.letExpire();
  await delay(300); // what was on its way is over
  const last = lock.until;
  t.true(lock.remaining > 0, 'it is not released');
  t.true(await backend.isHeldEverywhere(name, lock.value));
  const reason = await aborted(signal);
  t.regex(reason.message, /it has expired$/);
  t.deepEqual(lock.until, last);
  await until(() => backend.isFreeEverywhere(name));
});

eachBackend('after letExpire() it can be extended by hand, and released', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { expiry: KEPT, autoExtend: { interval: 100 } });
  const lock = await redsync.newMutex(name).lock();
  lock.letExpire();
  await delay(300);
  const last = lock.until;
  t.true(await lock.extend());
  t.true(lock.until > last);
  t.true(await lock.unlock());
  t.false(lock.signal.aborted);
  t.true(await backend.isFreeEverywhere(name));
  lock.letExpire(); // of no consequence
});

eachBackend('letExpire() of a lock that nothing extends changes nothing', async (t, backend) => {
  const redsync = backend.connect(t, { expiry: 400 });
  const lock = await redsync.newMutex(backend.name()).lock();
  lock.letExpire();
  t.regex((await aborted(lock.signal)).message, /it has expired$/);
  const other = await redsync.newMutex(backend.name()).lock();
  await redsync.close();
  t.notThrows(() => other.letExpire());
});

eachBackend('using() whose routine lets the lock expire', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { expiry: KEPT, autoExtend: { interval: 100 } });
  await redsync.using(name, async (signal, lock) => {
    lock.letExpire();
    t.regex((await aborted(signal)).message, /it has expired$/);
  });
  await until(() => backend.isFreeEverywhere(name));
});

eachBackend('what is left to expire is not released at the end of a block', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { expiry: KEPT, autoExtend: true });
  const value = await redsync.using(name, (signal, lock) => {
    lock.letExpire();
    return lock.value;
  });
  t.true(await backend.isHeldEverywhere(name, value));
  await until(() => backend.isFreeEverywhere(name));
  const lock = await redsync.newMutex(name).lock();
  lock.letExpire();
  await lock[Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]();
  t.true(await backend.isHeldEverywhere(name, lock.value));
  t.true(await lock.unlock(), 'by hand it is');
  t.true(await backend.isFreeEverywhere(name));
});

'use strict';

// Whoever would wait for what he holds himself, in using(), is told at once; or shares it, if he says so.

const test = require('ava');

const { DeadlockError, Redsync, RedsyncError, TakenError } = require('../index.js');
const { rejection, until } = require('./helpers/async.js');
const { overBackends } = require('./helpers/backends.js');
const { endedWell, startProcess } = require('./helpers/processes.js');

const eachBackend = overBackends(test, { sizes: [1, 3] });
const onMemory = overBackends(test, { kinds: ['memory'], sizes: [1] });

/** Without an error each of these would wait for ever. */
const PATIENT = { tries: Infinity, retryDelay: 10 };
const NONE = { instanceOf: TakenError };

function deadlock(name) {
  return {
    instanceOf: DeadlockError,
    code: 'ERR_LOCK_DEADLOCK',
    message:
      `lock "${name}": the using() around this call holds it, and this call would wait for it for ever. ` +
      'Pass the lock on; or call using() with { reentrant: true }',
  };
}

eachBackend('a call that would wait for its own using() rejects at once', async (t, backend) => {
  const redsync = backend.connect(t, PATIENT);
  const name = backend.name();
  const calls = [
    () => redsync.using(name, () => t.fail()),
    () => redsync.acquire(name),
    () => redsync.newMutex(name).lock(),
    () => redsync.using([backend.name(), name], () => t.fail()),
    () => redsync.using(name, { mode: 'read' }, () => t.fail()),
    () => redsync.using(name, { mode: 'write' }, () => t.fail()),
  ];
  await redsync.using(name, async (signal, lock) => {
    for (const call of calls) await t.throwsAsync(call, deadlock(name));
    await t.throwsAsync(lock.mutex.lock(), deadlock(name));
    await new Promise(setImmediate);
    await redsync.using(backend.name(), () => t.throwsAsync(calls[0], deadlock(name)));
    t.true(await backend.isHeldEverywhere(name, lock.value));
    t.false(signal.aborted);
  });
  t.true(await backend.isFreeEverywhere(name));
  t.true((await rejection(redsync.using(name, () => calls[0]()))) instanceof RedsyncError);
  t.true(await (await redsync.acquire(name)).unlock());
});

onMemory('who waits for nobody is told that the lock is taken', async (t, backend) => {
  const redsync = backend.connect(t, PATIENT);
  const name = backend.name();
  await redsync.using(name, async () => {
    t.is(await redsync.newMutex(name).tryLock(), null);
    await t.throwsAsync(redsync.acquire(name, { tries: 1 }), NONE);
    await t.throwsAsync(
      redsync.using(name, { tries: 1 }, () => t.fail()),
      NONE,
    );
  });
});

onMemory(
  'other locks, other Redsyncs and other call chains are no deadlock',
  async (t, backend) => {
    const redsync = backend.connect(t, PATIENT);
    const other = backend.connect(t, PATIENT);
    const name = backend.name();
    let inside;
    const began = new Promise((resolve) => (inside = resolve));
    let end;
    const ended = new Promise((resolve) => (end = resolve));
    const outer = redsync.using(name, async () => {
      await redsync.using(backend.name(), () => {});
      await t.throwsAsync(other.acquire(name, { tries: 2 }), NONE);
      inside();
      await ended;
    });
    await began;
    let hasRun = false;
    const beside = redsync.using(name, () => (hasRun = true)); // waits for its turn
    await until(() => redsync.stats().waiting === 1);
    t.false(hasRun);
    end();
    await Promise.all([outer, beside]);
    t.true(hasRun);
  },
);

onMemory('a lock of acquire() is not known to be held by anybody', async (t, backend) => {
  const redsync = backend.connect(t, { tries: 2, retryDelay: 10 });
  const name = backend.name();
  const lock = await redsync.acquire(name);
  await t.throwsAsync(
    redsync.using(name, () => {}),
    NONE,
  );
  await lock.unlock();
});

onMemory('what was released, lost or left to expire is waited for', async (t, backend) => {
  const redsync = backend.connect(t, PATIENT);
  const name = backend.name();
  await redsync.using(name, async (signal, lock) => {
    await lock.unlock();
    t.true(await redsync.using(name, () => true));
  });
  await redsync.using(name, async (signal, lock) => {
    await redsync.newMutex(name, { value: lock.value }).unlock();
    await until(() => signal.aborted);
    t.true(await redsync.using(name, () => true));
  });
  await redsync.using(name, { expiry: 300 }, async (signal, lock) => {
    lock.letExpire();
    t.true(await redsync.using(name, () => true));
  });
});

onMemory('what a routine has left behind may lock again when it is over', async (t, backend) => {
  const redsync = backend.connect(t, PATIENT);
  const name = backend.name();
  let go;
  const over = new Promise((resolve) => (go = resolve));
  let left;
  await redsync.using(name, () => {
    left = over.then(() => redsync.using(name, () => 'again'));
  });
  // Another hold, so that it is looked who holds what.
  await redsync.using(backend.name(), async () => {
    go();
    t.is(await left, 'again');
  });
});

onMemory('readers wait for no reader of their own, but for writers', async (t, backend) => {
  const redsync = backend.connect(t, PATIENT);
  const name = backend.name();
  const [read, write] = [{ mode: 'read' }, { mode: 'write' }];
  await redsync.using(name, read, async () => {
    t.true(await redsync.using(name, read, () => true));
    await t.throwsAsync(
      redsync.using(name, write, () => {}),
      deadlock(name),
    );
    await t.throwsAsync(
      redsync.using(name, () => {}),
      deadlock(name),
    );
  });
  await redsync.using(name, write, async (signal, lock) => {
    await t.throwsAsync(
      redsync.using(name, read, () => {}),
      deadlock(name),
    );
    await lock.downgrade();
    t.true(await redsync.using(name, read, () => true));
  });
});

onMemory('a semaphore is waited for in vain when all permits are one’s own', async (t, backend) => {
  const redsync = backend.connect(t, PATIENT);
  const name = backend.name();
  const two = { permits: 2 };
  await redsync.using(name, two, async () => {
    t.true(await redsync.using(name, two, () => true));
    await redsync.using(name, two, async () => {
      await t.throwsAsync(
        redsync.using(name, two, () => {}),
        deadlock(name),
      );
      await t.throwsAsync(
        redsync.using(name, () => {}),
        deadlock(name),
      );
      t.true(await redsync.using(name, { permits: 3 }, () => true));
    });
  });
  // The other permit comes back.
  const other = await redsync.newMutex(name, two).lock();
  await redsync.using(name, two, async () => {
    const waiting = redsync.using(name, two, () => true);
    await until(() => redsync.stats().waiting === 1);
    await other.unlock();
    t.true(await waiting);
  });
});

eachBackend('reentrant: the inner using() shares the hold', async (t, backend) => {
  const redsync = backend.connect(t, { ...PATIENT, reentrant: true });
  const name = backend.name();
  const order = [];
  const result = await redsync.using(name, async (signal, lock) => {
    const { locks } = redsync.stats();
    const inner = await redsync.using(name, async (innerSignal, innerLock) => {
      t.is(innerSignal, signal);
      t.is(innerLock, lock);
      order.push('inner');
      return redsync.using(name, () => 'innermost');
    });
    t.is(redsync.stats().locks, locks);
    t.true(await backend.isHeldEverywhere(name, lock.value));
    order.push('outer');
    return inner;
  });
  t.is(result, 'innermost');
  t.deepEqual(order, ['inner', 'outer']);
  t.true(await backend.isFreeEverywhere(name));
});

onMemory('an inner routine settles as it settles, and ends no outer one', async (t, backend) => {
  const redsync = backend.connect(t, { ...PATIENT, reentrant: true });
  const name = backend.name();
  const thrown = new Error('mine');
  await redsync.using(name, async (signal, lock) => {
    const inner = redsync.using(name, async () => {
      throw thrown;
    });
    t.is(await rejection(inner), thrown);
    t.true(await lock.mutex.valid());
  });
});

onMemory('the last of those who share a hold releases it', async (t, backend) => {
  const redsync = backend.connect(t, { ...PATIENT, reentrant: true });
  const name = backend.name();
  let end;
  const ended = new Promise((resolve) => (end = resolve));
  let inner;
  const value = await redsync.using(name, (signal, lock) => {
    inner = redsync.using(name, () => ended);
    return lock.value;
  });
  t.true(await backend.isHeldEverywhere(name, value)); // the inner one is still at work
  end();
  await inner;
  t.true(await backend.isFreeEverywhere(name));
});

onMemory('an inner call has its own signal, and the outer one’s', async (t, backend) => {
  const redsync = backend.connect(t, { ...PATIENT, reentrant: true });
  const name = backend.name();
  const [outer, inner, never] = [1, 2, 3].map(() => new AbortController());
  never.abort(new Error('before'));
  await redsync.using(name, { signal: outer.signal }, async (signal) => {
    const refused = redsync.using(name, { signal: never.signal }, () => t.fail());
    t.is((await rejection(refused)).message, 'before');
    await redsync.using(name, { signal: inner.signal }, (both) => {
      inner.abort(new Error('inner'));
      t.is(both.reason.message, 'inner');
    });
    t.false(signal.aborted);
    await redsync.using(name, { signal: new AbortController().signal }, (both) => {
      outer.abort(new Error('outer'));
      t.is(both.reason.message, 'outer');
    });
    t.is(signal.reason.message, 'outer');
  });
});

// what is held, what is asked for with `reentrant`, whether it is shared
const COVERED = [
  ['a', {}, 'a', {}, true],
  [['a', 'b'], {}, 'a', {}, true],
  ['a', {}, ['a', 'b'], {}, false],
  ['a', {}, 'a', { mode: 'read' }, true],
  ['a', { mode: 'write' }, 'a', { mode: 'read' }, true],
  ['a', { mode: 'write' }, 'a', {}, true],
  ['a', { mode: 'read' }, 'a', { mode: 'read' }, true],
  ['a', { mode: 'read' }, 'a', { mode: 'write' }, false],
  ['a', { mode: 'read' }, 'a', {}, false],
  ['a', {}, 'a', { fencing: true }, false],
  ['a', { fencing: true }, 'a', { fencing: true }, true],
  ['a', { fencing: true }, 'a', {}, true],
  ['a', { permits: 2 }, 'a', { permits: 2 }, true],
];

for (const [heldName, held, name, asked, isShared] of COVERED) {
  const title = `${heldName} ${JSON.stringify(held)} for ${name} ${JSON.stringify(asked)}`;
  test(`reentrant: ${title}: ${isShared ? 'shared' : 'a deadlock'}`, async (t) => {
    const redsync = new Redsync('memory:', PATIENT);
    t.teardown(() => redsync.close());
    await redsync.using(heldName, held, async (signal, lock) => {
      const inner = redsync.using(name, { ...asked, reentrant: true }, (_, each) => each === lock);
      if (isShared) t.true(await inner);
      else await t.throwsAsync(inner, deadlock('a'));
    });
  });
}

onMemory('reentrant is for using(): nobody else could know when to release', async (t, backend) => {
  const redsync = backend.connect(t, { ...PATIENT, reentrant: true });
  const name = backend.name();
  await redsync.using(name, async () => {
    await t.throwsAsync(redsync.acquire(name), deadlock(name));
    await t.throwsAsync(redsync.newMutex(name).lock(), deadlock(name));
  });
});

onMemory('a call that is refused counts as failed, and leaves nothing', async (t, backend) => {
  const redsync = backend.connect(t, PATIENT);
  const name = backend.name();
  await redsync.using(name, async () => {
    await t.throwsAsync(redsync.acquire(name), deadlock(name));
    const { failures, waiting } = redsync.stats();
    t.deepEqual({ failures, waiting }, { failures: 1, waiting: 0 });
  });
});

test('routines that begin the next one, without end, keep none of those that are over', async (t) => {
  const body = async (file) => {
    const { Redsync } = require(file);
    const redsync = new Redsync('memory:');
    const turn = () => new Promise(setImmediate);
    let stop;
    const beside = redsync.using('beside', () => new Promise((resolve) => (stop = resolve)));
    const locks = [];
    let last;
    const begin = async () => {
      await turn();
      await redsync.using('name', (signal, lock) => {
        locks.push(new WeakRef(lock));
        if (locks.length < 20) setImmediate(() => setImmediate(begin));
        else last = setInterval(() => {}, 1000); // it knows of its hold
      });
    };
    begin();
    while (locks.length < 20) await turn();
    for (let i = 0; i < 100 && locks[5].deref() !== undefined; i++) {
      // In another turn than deref(), which keeps the lock until the end of its own.
      await new Promise((resolve) => setTimeout(resolve, 20));
      globalThis.gc();
    }
    console.log(locks[5].deref() === undefined ? 'forgotten' : 'kept');
    clearInterval(last);
    stop();
    await beside;
    await redsync.close();
  };
  const result = await startProcess({ nodeArgs: ['--expose-gc'] }, body).ended;
  endedWell(t, result, 'forgotten');
});

'use strict';

const { getEventListeners } = require('node:events');

const test = require('ava');

const { Redsync } = require('../index.js');
const { rejection, until, untilSteady } = require('./helpers/async.js');
const { overBackends } = require('./helpers/backends.js');
const { monitor, useServers } = require('./helpers/servers.js');

const eachBackend = overBackends(test);

function listeners({ signal }) {
  return getEventListeners(signal, 'abort').length;
}

/** Every call that takes a signal. */
const CALLS = {
  lock: (mutex, options) => mutex.lock(options),
  tryLock: (mutex, options) => mutex.tryLock(options),
  extend: (mutex, options) => mutex.extend(options),
  unlock: (mutex, options) => mutex.unlock(options),
  valid: (mutex, options) => mutex.valid(options),
};

eachBackend('an aborted signal rejects before anything is done', async (t, backend) => {
  const redsync = backend.connect(t);
  const name = backend.name();
  const reason = new Error('too late');
  const signal = AbortSignal.abort(reason);
  for (const [verb, call] of Object.entries(CALLS)) {
    t.is(await rejection(call(redsync.newMutex(name), { signal })), reason, verb);
  }
  t.true(await backend.isFreeEverywhere(name));

  const lock = await redsync.newMutex(name).lock();
  t.is(await rejection(lock.unlock({ signal })), reason);
  t.is(await rejection(lock.extend({ signal })), reason);
  t.true(await backend.isHeldEverywhere(name, lock.value));
  t.true(await lock.unlock());
});

test.serial('an aborted signal sends nothing to a node', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = new Redsync(server.url);
  t.teardown(() => redsync.close());
  await redsync.ready();
  const { settle } = await monitor(t, server);
  const signal = AbortSignal.abort();
  for (const call of Object.values(CALLS)) {
    await rejection(call(redsync.newMutex('untouched', { value: 'mine' }), { signal }));
  }
  const about = (await settle()).filter((command) => command.includes('untouched'));
  t.deepEqual(about, []);
});

eachBackend('abort in the same turn as the call leaves no key', async (t, backend) => {
  const redsync = backend.connect(t);
  for (const verb of ['lock', 'tryLock']) {
    const name = backend.name();
    const controller = new AbortController();
    const reason = new Error(`never mind the ${verb}`);
    const call = CALLS[verb](redsync.newMutex(name), { signal: controller.signal });
    controller.abort(reason);
    t.is(await rejection(call), reason);
    t.is(listeners(controller), 0);
    await untilSteady(() => backend.isFreeEverywhere(name));
  }
});

for (const count of [1, 3]) {
  test.serial(`abort during the round trip leaves no key [${count} redis]`, async (t) => {
    const servers = await useServers(t, count);
    const redsync = new Redsync(
      servers.map(({ url }) => url),
      {
        expiry: 60_000,
        timeoutFactor: 0.5, // only the abort can end the call in time
      },
    );
    t.teardown(() => redsync.close());
    await redsync.ready();

    for (const server of servers) server.pause();
    const controller = new AbortController();
    let asked = false;
    const mutex = redsync.newMutex('in-flight', {
      genValue: () => {
        asked = true;
        return 'ours';
      },
    });
    const call = mutex.lock({ signal: controller.signal });
    await until(() => asked);
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    }); // the commands are on their way
    controller.abort(new Error('changed my mind'));
    t.is((await rejection(call)).message, 'changed my mind');
    t.is(mutex.value, '');

    for (const server of servers) server.resume();
    await untilSteady(
      async () => {
        const left = await Promise.all(servers.map((each) => each.command('EXISTS', 'in-flight')));
        return left.every((keys) => keys === 0);
      },
      { period: 500 },
    );

    const lock = await mutex.lock();
    t.true(await lock.unlock());
  });
}

eachBackend('abort between attempts ends the waiting at once', async (t, backend) => {
  const name = backend.name();
  await backend.plantEverywhere(name);
  const controller = new AbortController();
  let waiting = false;
  let attempts = 0;
  const call = backend
    .connect(t)
    .newMutex(name, {
      tries: Infinity,
      retryDelay: () => {
        waiting = true;
        return 600_000;
      },
      genValue: () => `value-${++attempts}`,
    })
    .lock({ signal: controller.signal });
  await until(() => waiting);
  const reason = new Error('bored');
  controller.abort(reason);
  t.is(await rejection(call), reason);
  t.is(attempts, 1);
  t.is(listeners(controller), 0);
  t.true(await backend.isHeldEverywhere(name, 'foreign'));
});

eachBackend('abort between attempts leaves a minority free', async (t, backend) => {
  const name = backend.name();
  const taken = backend.indices.slice(0, backend.quorum);
  await Promise.all(taken.map((i) => backend.plant(i, name)));
  const controller = new AbortController();
  let attempts = 0;
  const call = backend
    .connect(t)
    .newMutex(name, {
      tries: Infinity,
      retryDelay: 1,
      genValue: () => `value-${++attempts}`,
    })
    .lock({ signal: controller.signal });
  await until(() => attempts > 3);
  controller.abort();
  t.is((await rejection(call)).name, 'AbortError');
  await untilSteady(() => backend.isHeldExactlyOn(taken, name));
  const counted = attempts;
  await untilSteady(() => attempts === counted);
});

eachBackend('the reason is handed on as it is', async (t, backend) => {
  const name = backend.name();
  await backend.plantEverywhere(name);
  const mutex = backend.connect(t).newMutex(name, { tries: Infinity, retryDelay: 5 });
  for (const reason of ['a string', 0, null, { some: 'object' }]) {
    const controller = new AbortController();
    const call = mutex.lock({ signal: controller.signal });
    setImmediate(() => controller.abort(reason));
    t.is(await rejection(call), reason);
  }
  for (const abort of [
    (controller) => controller.abort(),
    (controller) => controller.abort(undefined),
  ]) {
    const controller = new AbortController();
    const call = mutex.lock({ signal: controller.signal });
    setImmediate(() => abort(controller));
    const error = await rejection(call);
    t.true(error instanceof DOMException);
    t.is(error.name, 'AbortError');
  }
});

eachBackend('AbortSignal.timeout() bounds the waiting', async (t, backend) => {
  const name = backend.name();
  await backend.plantEverywhere(name);
  const mutex = backend.connect(t).newMutex(name, { tries: Infinity, retryDelay: 5 });
  const error = await rejection(mutex.lock({ signal: AbortSignal.timeout(50) }));
  t.is(error.name, 'TimeoutError');
});

eachBackend('no listener stays on the signal', async (t, backend) => {
  const redsync = backend.connect(t);
  const controller = new AbortController();
  const { signal } = controller;
  const name = backend.name();
  const mutex = redsync.newMutex(name, { tries: 2, retryDelay: 1 });

  const lock = await mutex.lock({ signal });
  t.is(listeners(controller), 0);
  t.is(await redsync.newMutex(name).tryLock({ signal }), null);
  await rejection(redsync.newMutex(name, { tries: 2, retryDelay: 1 }).lock({ signal }));
  await lock.extend({ signal });
  await mutex.valid({ signal });
  await lock.unlock({ signal });
  await rejection(lock.unlock({ signal }));
  await redsync.ready({ signal });
  t.is(listeners(controller), 0);
});

eachBackend('abort of one waiter disturbs no other', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t);
  const held = await redsync.newMutex(name).lock();
  const options = { tries: Infinity, retryDelay: 5 };
  const controller = new AbortController();
  const leaving = redsync.newMutex(name, options).lock({ signal: controller.signal });
  const staying = redsync.newMutex(name, options).lock();
  setImmediate(() => controller.abort());
  t.is((await rejection(leaving)).name, 'AbortError');
  t.true(await held.unlock());
  const lock = await staying;
  t.true(await lock.unlock());
  t.true(await backend.isFreeEverywhere(name));
});

eachBackend('one signal ends all calls that were given it', async (t, backend) => {
  const redsync = backend.connect(t);
  const names = Array.from({ length: 12 }, () => backend.name());
  await Promise.all(names.map((name) => backend.plantEverywhere(name)));
  const controller = new AbortController();
  const calls = names.map((name) =>
    redsync.newMutex(name, { tries: Infinity, retryDelay: 5 }).lock({ signal: controller.signal }),
  );
  setImmediate(() => controller.abort('all of you'));
  const reasons = await Promise.all(calls.map(rejection));
  t.true(reasons.every((reason) => reason === 'all of you'));
  t.is(listeners(controller), 0);
});

eachBackend('abort after success changes nothing', async (t, backend) => {
  const name = backend.name();
  const controller = new AbortController();
  const lock = await backend.connect(t).newMutex(name).lock({ signal: controller.signal });
  controller.abort();
  await untilSteady(() => backend.isHeldEverywhere(name, lock.value));
  t.true(await lock.extend());
  t.true(await lock.unlock());
});

eachBackend(
  'what a call that was aborted has asked for answers no other call',
  async (t, backend) => {
    const redsync = backend.connect(t);
    const answers = [];
    const genValue = () =>
      new Promise((resolve) => {
        answers.push(resolve);
      });
    const controller = new AbortController();
    const { signal } = controller;
    const aborted = rejection(redsync.newMutex(backend.name(), { genValue }).lock({ signal }));
    await until(() => answers.length === 1);
    controller.abort('never mind');
    t.is(await aborted, 'never mind');
    await new Promise((resolve) => {
      setTimeout(resolve, 100);
    }); // the engine is done with it

    const calls = [1, 2, 3].map(() => redsync.newMutex(backend.name(), { genValue }).lock());
    await until(() => answers.length === 4);
    answers[0]('too late');
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
    answers.slice(1).forEach((answer, i) => answer(`value ${i}`));
    const locks = await Promise.all(calls);
    t.deepEqual(locks.map(({ value }) => value).sort(), ['value 0', 'value 1', 'value 2']);
    for (const lock of locks) t.true(await lock.unlock());
  },
);

'use strict';

const test = require('ava');

const { ClosedError, DeadlockError, LockLostError, Redsync } = require('../index.js');
const { aborted, delay, rejection, until } = require('./helpers/async.js');
const { KEPT, overBackends } = require('./helpers/backends.js');
const { endedWell, startProcess } = require('./helpers/processes.js');
const { useServers } = require('./helpers/servers.js');

const eachBackend = overBackends(test, { sizes: [1, 3] });
const TYPE = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };

/** Whoever waits is woken, or asks soon. */
const OPTIONS = { retryDelay: 20 };

/** Several who lead the same name, and who of them does so now. */
function candidates(t, backend, count, options) {
  const name = backend.name();
  const leading = new Set();
  const all = Array.from({ length: count }, (_, i) => {
    const stop = new AbortController();
    const redsync = backend.connect(t, { ...OPTIONS, ...options });
    const over = redsync.lead(name, { signal: stop.signal }, async (signal) => {
      leading.add(i);
      t.is(leading.size, 1);
      await aborted(signal);
      leading.delete(i);
    });
    return { redsync, stop, over };
  });
  return { name, leading, all };
}

eachBackend('one leads, and another one when he wants to no more', async (t, backend) => {
  const { name, leading, all } = candidates(t, backend, 3, { expiry: KEPT });
  const seen = [];
  for (let i = 0; i < all.length; i++) {
    await until(() => leading.size === 1);
    const [leader] = leading;
    seen.push(leader);
    all[leader].stop.abort();
    t.is(await all[leader].over, undefined);
  }
  t.deepEqual(seen.sort(), [0, 1, 2]);
  await until(() => backend.isFreeEverywhere(name));
});

eachBackend('who has lost the lock campaigns again', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { ...OPTIONS, expiry: KEPT, autoExtend: { interval: 50 } });
  const stop = new AbortController();
  const reasons = [];
  const values = [];
  const over = redsync.lead(name, { signal: stop.signal }, async (signal, lock) => {
    values.push(lock.value);
    reasons.push(await aborted(signal));
    if (reasons.length === 1) throw new Error('whatever it stops with');
  });
  await until(() => values.length === 1);
  await backend.removeEverywhere(name, values[0]);
  await until(() => values.length === 2);
  t.true(reasons[0] instanceof LockLostError);
  t.not(values[0], values[1]);
  stop.abort();
  await over;
  t.is(reasons[1], stop.signal.reason);
  await until(() => backend.isFreeEverywhere(name));
});

eachBackend('who is done campaigns again, until the signal aborts', async (t, backend) => {
  const name = backend.name();
  const stop = new AbortController();
  let terms = 0;
  const routine = () => {
    if (++terms === 3) stop.abort();
  };
  await backend.connect(t, OPTIONS).lead(name, { signal: stop.signal }, routine);
  t.is(terms, 3);
  await until(() => backend.isFreeEverywhere(name));
});

eachBackend('holdAtLeast keeps terms apart, in all processes', async (t, backend) => {
  const name = backend.name();
  const stop = new AbortController();
  const terms = [];
  const start = performance.now();
  const routine = () => {
    if (terms.push(performance.now() - start) === 4) stop.abort();
  };
  const options = { signal: stop.signal, holdAtLeast: 100 };
  const leaders = [1, 2].map(() => backend.connect(t, OPTIONS).lead(name, options, routine));
  await Promise.all(leaders);
  t.true(terms.length >= 4);
  t.true(terms[3] >= 300, `${terms}`);
});

eachBackend('what its routine throws while it leads, it rejects with', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, OPTIONS);
  const mine = new Error('mine');
  const throwing = () => {
    throw mine;
  };
  t.is(await rejection(redsync.lead(name, throwing)), mine);
  t.is(await rejection(redsync.lead(name, async () => throwing())), mine);
  t.is(await rejection(redsync.lead(name, () => Promise.reject())), undefined);
  await until(() => backend.isFreeEverywhere(name));
});

eachBackend('what it throws when it was told to stop is how it stops', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, OPTIONS);
  for (const stopping of [
    (signal) => delay(60_000, undefined, { signal }),
    async (signal) => {
      throw await aborted(signal);
    },
    async (signal) => {
      await aborted(signal);
      throw new Error('another');
    },
  ]) {
    const stop = new AbortController();
    let leads = false;
    const over = redsync.lead(name, { signal: stop.signal }, (signal) => {
      leads = true;
      return stopping(signal);
    });
    await until(() => leads);
    stop.abort(new Error('enough'));
    t.is(await over, undefined);
  }
  await until(() => backend.isFreeEverywhere(name));
});

eachBackend('a campaign ends when the signal aborts', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { ...OPTIONS, tries: 1, wait: 0 });
  const lock = await backend.connect(t, { expiry: 60_000 }).acquire(name);
  const stop = new AbortController();
  const over = redsync.lead(name, { signal: stop.signal }, () => t.fail());
  await until(() => redsync.stats().waits > 2 || redsync.stats().waiting === 1);
  await delay(50);
  t.is(redsync.stats().waiting, 1, 'one try is not the end of it');
  stop.abort();
  t.is(await over, undefined);
  t.is(await redsync.lead(name, { signal: stop.signal }, () => t.fail()), undefined);
  t.true(await lock.unlock());
});

eachBackend('close() ends it', async (t, backend) => {
  const name = backend.name();
  const [leader, candidate] = [1, 2].map(() => backend.connect(t, { ...OPTIONS, expiry: KEPT }));
  const terms = [];
  const leads = leader.lead(name, async (signal) => {
    terms.push(signal);
    await aborted(signal);
  });
  await until(() => terms.length === 1);
  const campaigns = candidate.lead(name, () => t.fail());
  await until(() => candidate.stats().waiting === 1);
  await candidate.close();
  t.true((await rejection(campaigns)) instanceof ClosedError);
  await leader.close();
  t.true(terms[0].reason instanceof LockLostError);
  t.true((await rejection(leads)) instanceof ClosedError);
  t.true((await rejection(leader.lead(name, () => t.fail()))) instanceof ClosedError);
});

test('the lock of a leader is kept alive', async (t) => {
  const redsync = new Redsync(['memory:', 'memory:', 'memory:'], { expiry: KEPT });
  t.teardown(() => redsync.close());
  const stop = new AbortController();
  let terms = 0;
  await redsync.lead('job', { signal: stop.signal }, async (signal, lock) => {
    terms++;
    const { until: first } = lock;
    await until(() => lock.until > first);
    t.false(signal.aborted);
    stop.abort();
  });
  t.is(terms, 1);
});

test('nodes that do not answer are no end', async (t) => {
  const servers = await useServers(t, 3);
  for (const server of servers) server.pause();
  const redsync = new Redsync(
    servers.map(({ url }) => url),
    { expiry: 2000, retryDelay: 20 },
  );
  t.teardown(() => redsync.close());
  const stop = new AbortController();
  let leads = false;
  const over = redsync.lead('job', { signal: stop.signal }, (signal) => {
    leads = true;
    return aborted(signal);
  });
  await until(async () => (await redsync.health()).every(({ status }) => status === 'down'));
  await delay(300); // for some attempts
  t.false(leads);
  for (const server of servers) server.resume();
  await until(() => leads);
  stop.abort();
  await over;
});

test('it does not wait for the using() around it', async (t) => {
  const redsync = new Redsync('memory:', { reentrant: true });
  t.teardown(() => redsync.close());
  await redsync.using('job', async () => {
    t.true((await rejection(redsync.lead('job', () => t.fail()))) instanceof DeadlockError);
  });
});

test('bad arguments are refused before anything is asked', async (t) => {
  const redsync = new Redsync('memory:');
  t.teardown(() => redsync.close());
  const routine = () => t.fail();
  const refused = [
    [() => redsync.lead(), /"name" argument/],
    [() => redsync.lead(['a', 'b'], routine), /"name" argument/],
    [() => redsync.lead('a'), /"routine" argument must be a function/],
    [() => redsync.lead('a', {}), /"routine" argument must be a function/],
    [() => redsync.lead('a', {}, 1), /"routine" argument must be a function/],
    [() => redsync.lead('a', 5000, routine), /"options" argument/],
    [() => redsync.lead('a', new AbortController().signal, routine), /"options" argument/],
    [() => redsync.lead('a', { signal: 1 }, routine), /"options.signal" argument/],
    [() => redsync.lead('a', { tries: 1 }, routine), /"options.tries" argument/],
  ];
  for (const [call, message] of refused) await t.throwsAsync(call, { ...TYPE, message });
  t.is(redsync.stats().attempts, 0);
});

test('it keeps the process alive, and a signal lets it end', async (t) => {
  const body = async (file) => {
    const { Redsync } = require(file);
    const { once } = require('node:events');
    const redsync = new Redsync('memory:');
    const stop = new AbortController();
    process.once('SIGTERM', () => stop.abort());
    await redsync.lead('job', { signal: stop.signal }, async (signal) => {
      console.log('leads');
      await once(signal, 'abort');
    });
    console.log('over');
  };
  const running = startProcess({}, body);
  await running.says('leads');
  process.kill(running.pid, 'SIGTERM');
  endedWell(t, await running.ended, 'leads\nover');
});

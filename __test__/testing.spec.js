'use strict';

const { execFileSync } = require('node:child_process');
const diagnosticsChannel = require('node:diagnostics_channel');
const { once } = require('node:events');
const path = require('node:path');

const test = require('ava');

const { LockLostError, Redsync } = require('../index.js');
const { newClock } = require('../lib/testing.js');
const { rejection } = require('./helpers/async.js');

const ROOT = path.join(__dirname, '..');

function open(t, nodes, options) {
  const redsync = new Redsync(nodes, options);
  t.teardown(() => redsync.close());
  return redsync;
}

test('a clock that is moved on lets locks expire', async (t) => {
  const clock = newClock();
  const nodes = clock.nodes();
  t.is(nodes.length, 3);
  const [one, two] = [open(t, nodes), open(t, nodes)];
  const lock = await one.newMutex('name', { expiry: 10_000 }).lock();
  const { signal } = lock;
  t.is(await two.newMutex('name').tryLock(), null);
  await clock.advance(5000);
  t.true(lock.remaining > 3000 && lock.remaining < 5000);
  t.is(await two.newMutex('name').tryLock(), null);
  t.true(await lock.extend());
  t.true(lock.remaining > 8000);
  await clock.advance(5000);
  t.false(signal.aborted);
  t.true(await lock.mutex.valid());

  await clock.advance(5000);
  t.true(signal.aborted, 'told by the time that advance() resolves');
  t.true(signal.reason instanceof LockLostError);
  t.is(lock.remaining, 0);
  t.true(lock.until <= Date.now());
  const next = await two.newMutex('name').tryLock();
  t.not(next, null);
  t.is((await rejection(lock.unlock())).code, 'ERR_LOCK_TAKEN');
  t.true(await next.unlock());
});

test('how long a lost lock was held is told by the clock', async (t) => {
  const clock = newClock();
  await clock.advance(60_000);
  const lock = await open(t, clock.nodes()).newMutex('how long', { expiry: 10_000 }).lock();
  const { signal } = lock;
  const told = [];
  const listen = (message) => message.name === 'how long' && told.push(message.duration);
  diagnosticsChannel.subscribe('redsync:lost', listen);
  t.teardown(() => diagnosticsChannel.unsubscribe('redsync:lost', listen));
  await clock.advance(12_000);
  t.true(signal.aborted);
  t.is(told.length, 1);
  t.true(told[0] >= 12_000 && told[0] < 60_000, `${told[0]}`);
});

test('who waits gets the lock when it expires', async (t) => {
  const clock = newClock();
  const nodes = clock.nodes(1);
  await open(t, nodes).newMutex('name', { expiry: 600_000 }).lock();
  const waiting = open(t, nodes).newMutex('name', { tries: Infinity, retryDelay: 5 }).lock();
  await clock.advance(600_000);
  t.true(await (await waiting).unlock());
});

test('a lock that is kept alive is extended, until maxHold', async (t) => {
  const clock = newClock();
  const redsync = open(t, clock.nodes());
  const mutex = redsync.newMutex('name', {
    expiry: 300_000,
    autoExtend: { interval: 100_000, maxHold: 500_000 },
  });
  const lock = await mutex.lock();
  const { signal } = lock;
  for (let i = 0; i < 4; i++) {
    await clock.advance(100_000);
    t.false(signal.aborted);
    t.true(await lock.mutex.valid());
  }
  await clock.advance(100_000);
  await clock.advance(300_000);
  if (!signal.aborted) await once(signal, 'abort');
  t.regex(signal.reason.message, /maxHold/);
});

test('clocks do not disturb each other', async (t) => {
  const [one, two] = [newClock(), newClock()];
  const lock = await open(t, one.nodes()).newMutex('name').lock();
  const other = await open(t, 'memory:').newMutex('name').lock();
  await two.advance(1_000_000);
  t.true(lock.remaining > 0);
  await one.advance(10_000);
  t.is(lock.remaining, 0);
  t.true(other.remaining > 0);
  t.true(await other.unlock());
});

test('a Redsync that is opened later sees the same time', async (t) => {
  const clock = newClock();
  const nodes = clock.nodes();
  const lock = await open(t, nodes).newMutex('name').lock();
  await clock.advance(4000);
  const later = open(t, nodes);
  t.is(await later.newMutex('name').tryLock(), null);
  await clock.advance(4000);
  const next = await later.newMutex('name').tryLock();
  t.true(next.remaining > 7000);
  t.is(lock.remaining, 0);
});

test('bad arguments are told', async (t) => {
  const clock = newClock();
  for (const count of [0, 65, 1.5, '3', null]) {
    t.throws(() => clock.nodes(count), { message: /"count" argument must be an integer/ });
  }
  for (const ms of [-1, 0.5, Infinity, '1', undefined]) {
    t.regex((await rejection(clock.advance(ms))).message, /"ms" argument must be an integer/);
  }
  t.throws(() => new clock.constructor(), { instanceOf: TypeError });
  t.throws(() => new Redsync([...clock.nodes(), ...newClock().nodes()]), {
    instanceOf: RangeError,
    message: /clock/,
  });
});

for (const [runner, args, passed] of [
  ['ava', ['--config', 'examples/testing/ava.config.js'], /2 tests passed/],
  ['jest', ['--rootDir', 'examples/testing', '--testMatch', '**/*.jest.js'], /Tests: +3 passed/],
]) {
  test(`the example for ${runner} passes`, (t) => {
    const program = path.join(ROOT, 'node_modules', '.bin', runner);
    const output = execFileSync('/bin/sh', ['-c', `"$0" "$@" 2>&1`, program, ...args], {
      cwd: ROOT,
      encoding: 'utf8',
      env: { PATH: process.env.PATH, FORCE_COLOR: '0', CI: '1' },
    });
    t.regex(output, passed);
  });
}

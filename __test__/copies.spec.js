'use strict';

// A package manager may install the package twice: the errors of one copy are those of the other, too.

const path = require('node:path');

const test = require('ava');

const ours = require('../index.js');
const { rejection } = require('./helpers/async.js');

const ROOT = path.join(__dirname, '..');
const OWN = [path.join(ROOT, 'index.js'), path.join(ROOT, 'lib') + path.sep];

/** Another copy of all that is JavaScript; the binary is loaded once, as for worker threads. */
function load() {
  const kept = { ...require.cache };
  for (const file of Object.keys(require.cache)) {
    if (OWN.some((own) => file.startsWith(own))) delete require.cache[file];
  }
  try {
    return require('../index.js');
  } finally {
    Object.assign(require.cache, kept);
  }
}

const theirs = load();

/** An error of each class, by one copy of the library. */
async function errorsOf({ Redsync }, t) {
  const redsync = new Redsync('memory:', { tries: 1, expiry: 60_000 });
  const mutex = redsync.newMutex('a');
  const never = await rejection(mutex.unlock());
  const notExtended = await rejection(mutex.extend());
  const lock = await mutex.lock();
  const mode = await rejection(lock.downgrade());
  const taken = await rejection(redsync.acquire('a'));
  const { signal } = lock;
  const failing = new Redsync({ host: '127.0.0.1', port: 1 }, { tries: 1 });
  t.teardown(() => failing.close());
  const failed = await rejection(failing.acquire('a'));
  await redsync.newMutex('a', { value: lock.value }).unlock();
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
  await redsync.close();
  const closed = await rejection(redsync.acquire('a'));
  return {
    LockExpiredError: never,
    ExtendError: notExtended,
    ModeError: mode,
    TakenError: taken,
    NodeTakenError: taken.errors[0],
    FailedError: failed,
    RedisError: failed.errors[0],
    LockLostError: signal.reason,
    ClosedError: closed,
  };
}

const CLASSES = Object.keys(ours).filter((name) => name.endsWith('Error'));
const FAILED = ['FailedError', 'TakenError', 'ExtendError', 'LockExpiredError'];

test('errors of two copies recognise each other, each its own class and those above it', async (t) => {
  t.true(CLASSES.length > 9);
  for (const copy of [ours, theirs]) {
    for (const [name, error] of Object.entries(await errorsOf(copy, t))) {
      t.is(error.constructor, copy[name]);
      for (const other of CLASSES) {
        t.not(ours[other], theirs[other]);
        const isAbove =
          other === name ||
          other === 'RedsyncError' ||
          (other === 'FailedError' && FAILED.includes(name));
        for (const { [other]: Class } of [ours, theirs]) {
          t.is(error instanceof Class, isAbove, `${name} instanceof ${other}`);
        }
      }
    }
  }
});

test('what is no error of the library is none of any copy', (t) => {
  const others = [undefined, null, 1, 'a', {}, new Error('a'), () => {}, Object.create(null)];
  for (const value of others) {
    for (const name of CLASSES) t.false(value instanceof ours[name]);
  }
});

test('a class of the application over one of ours knows its own only', async (t) => {
  class Own extends ours.TakenError {}
  const { TakenError } = await errorsOf(ours, t);
  t.false(TakenError instanceof Own);
  const own = new Own('a', [], 1);
  t.true(own instanceof Own);
  t.true(own instanceof ours.TakenError && own instanceof theirs.TakenError);
});

'use strict';

const { setTimeout: delay } = require('node:timers/promises');

const { FailedError, RedisError } = require('../lib/errors.js');
const { Redsync } = require('../lib/redsync.js');
const { EXIT, killedBy } = require('./exit-codes.js');
const { complain } = require('./messages.js');
const { Program } = require('./program.js');
const { Signals } = require('./signals.js');
const { UsageError, conflictExitCode, milliseconds, permitCount } = require('./usage.js');

const KILL_AFTER = 5000;

// A lock is tried for in portions: in between is the chance to say that no node can be asked.
const TRIES = 8;
/** Of --no-wait, as long as too few nodes answer: the first connection may take a moment. */
const SHORT_TRIES = 3;
const PAUSE = 100;

/** Runs a program while holding a lock. */
async function run(usage) {
  const { name, nodes, prefix, program, fencing, mode } = usage;
  const killAfter = milliseconds('--kill-after', usage['kill-after'], 0) ?? KILL_AFTER;
  const expiry = milliseconds('--expiry', usage.expiry, 1);
  const holdAtLeast = milliseconds('--hold-at-least', usage['hold-at-least'], 0);
  const wait = milliseconds('--wait', usage.wait, 0);
  const permits = permitCount(usage.permits);
  const conflict = conflictExitCode(usage['conflict-exit-code']) ?? EXIT.FAILED;
  if (wait !== undefined && usage['no-wait']) {
    throw new UsageError('--wait and --no-wait exclude each other');
  }
  const redsync = new Redsync(nodes, { keyPrefix: prefix });
  const signals = new Signals();
  try {
    const kind = { fencing, permits, mode, holdAtLeast };
    const options = { expiry, tries: TRIES, autoExtend: true, ...kind };
    const newMutex = (left) => redsync.newMutex(name, { ...options, wait: left });
    const patience = usage['no-wait'] ? 0 : wait;
    const lock =
      patience === 0
        ? await tryLock(newMutex(), signals, redsync)
        : await waitFor(newMutex, patience, signals, redsync);
    if (signals.first !== undefined) {
      await lock?.unlock().catch(() => {});
      return killedBy(signals.first);
    }
    if (lock === null) {
      const how = patience > 0 ? `still taken after ${patience} ms` : 'taken';
      complain(`lock ${JSON.stringify(name)}: ${how}`);
      return conflict;
    }
    const env = environment(lock, usage['pass-nodes']);
    return await hold(lock, program, env, killAfter, signals);
  } finally {
    await redsync.close();
  }
}

/** Takes the lock, or gives `null` if it is taken, or others who want it are always in the way. */
async function tryLock(mutex, signals, redsync) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await mutex.tryLock({ signal: signals.signal });
    } catch (error) {
      if (signals.first !== undefined) return null;
      if (!(error instanceof FailedError)) throw error;
      if (attempt === SHORT_TRIES && canBeHad(error, redsync)) return null;
      if (attempt === SHORT_TRIES) throw error;
      await delay(PAUSE);
    }
  }
}

/** Waits for the lock; `null` when patience is over and others have it, or a signal came. */
async function waitFor(newMutex, patience = Infinity, { signal }, redsync) {
  const end = performance.now() + patience;
  for (;;) {
    const left = Math.max(0, Math.ceil(end - performance.now()));
    try {
      return await newMutex(left).lock({ signal });
    } catch (error) {
      if (signal.aborted) return null;
      if (!canBeHad(error, redsync)) throw error;
      if (performance.now() >= end) return null;
    }
  }
}

/** Has it failed only because others want it too? Then enough nodes have answered. */
function canBeHad(error, { size, quorum }) {
  if (!(error instanceof FailedError)) return false;
  const failed = error.errors.filter(
    (each) => each instanceof RedisError && each.cause?.code !== 'ETOKEN',
  );
  return size - failed.length >= quorum;
}

/** What the program finds in its environment. */
function environment(lock, passesNodes = false) {
  // Without a token it is left out: the one of a `redsync run` around this one is of another lock.
  const own = { REDSYNC_LOCK: lock.value, REDSYNC_TOKEN: lock.token?.toString() };
  const env = { ...process.env, ...own };
  // It may have passwords in it, and the program what others have written.
  if (!passesNodes) delete env.REDSYNC_NODES;
  return env;
}

/** Runs the program until it ends, and releases the lock. Gives its exit code. */
async function hold(lock, words, env, killAfter, signals) {
  const program = new Program(words, env);
  signals.passTo(program);
  let end;
  const lose = () => {
    complain(`${lock.signal.reason.message}; the program gets SIGTERM`);
    end = program.end(killAfter);
  };
  if (lock.signal.aborted) lose();
  else lock.signal.addEventListener('abort', lose);
  const code = await program.ended;
  await end; // of what it has started
  program.close();
  if (lock.signal.aborted) return code === EXIT.OK ? EXIT.LOST : code;
  try {
    await lock.unlock();
  } catch (error) {
    complain(`not released, so it will expire: ${error.message}`);
  }
  return code;
}

module.exports = { run };

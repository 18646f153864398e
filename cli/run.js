'use strict';

const { spawn } = require('node:child_process');
const { setTimeout: delay } = require('node:timers/promises');

const { FailedError, RedisError } = require('../lib/errors.js');
const { Redsync } = require('../lib/redsync.js');
const { EXIT, killedBy } = require('./exit-codes.js');
const { UsageError, conflictExitCode, milliseconds, permitCount } = require('./usage.js');
const { Witness, isOfGroup } = require('./witness.js');

/** They end the wait for the lock. While the program runs they are its own, and it is what ends. */
const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];

/** These say nothing to this process. Node.js would open its inspector, or end. */
const OTHERS = ['SIGUSR1', 'SIGUSR2'];

const FORWARDED = [...ENDING, ...OTHERS];
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
  const wait = milliseconds('--wait', usage.wait, 0);
  const permits = permitCount(usage.permits);
  const conflict = conflictExitCode(usage['conflict-exit-code']) ?? EXIT.FAILED;
  if (wait !== undefined && usage['no-wait']) {
    throw new UsageError('--wait and --no-wait exclude each other');
  }
  const redsync = new Redsync(nodes, { keyPrefix: prefix });
  const signals = new Signals();
  try {
    const options = { expiry, tries: TRIES, autoExtend: true, fencing, permits, mode };
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
    signals.stop();
    await redsync.close();
  }
}

function complain(message) {
  process.stderr.write(`redsync: ${message}\n`);
}

/** The signals that this process gets: for itself while it waits, for the program while that runs. */
class Signals {
  #listener = (signal) => this.#receive(signal);
  #abort = new AbortController();
  #child;
  #witness;

  constructor() {
    this.first = undefined;
    for (const signal of FORWARDED) process.on(signal, this.#listener);
  }

  get signal() {
    return this.#abort.signal;
  }

  /** From now on they are the program's. */
  forwardTo(child) {
    this.#child = child;
    if (process.platform !== 'win32') this.#witness = new Witness();
  }

  #receive(signal) {
    if (this.#child !== undefined) {
      this.#forward(signal);
    } else if (ENDING.includes(signal)) {
      this.first ??= signal;
      this.giveUp();
    }
  }

  /** What was sent to the process group the program has got already. */
  async #forward(signal) {
    // On Windows nobody but the console sends one, to all who are attached to it.
    if (this.#witness === undefined) return;
    if (isOfGroup(this.#child.pid) && (await this.#witness.hasSeen(signal))) return;
    this.#child.kill(signal);
  }

  /** Nobody waits for the lock any more. */
  giveUp() {
    this.#abort.abort();
  }

  stop() {
    for (const signal of FORWARDED) process.off(signal, this.#listener);
    this.#witness?.stop();
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
async function hold(lock, [command, ...args], env, killAfter, signals) {
  const child = spawn(command, args, { stdio: 'inherit', env });
  const end = ended(child, command);
  signals.forwardTo(child);
  let killer;
  lock.signal.addEventListener('abort', () => {
    complain(`${lock.signal.reason.message}; the program gets SIGTERM`);
    child.kill('SIGTERM');
    killer = setTimeout(() => child.kill('SIGKILL'), killAfter);
  });
  const code = await end;
  clearTimeout(killer);
  if (lock.signal.aborted) return code === EXIT.OK ? EXIT.LOST : code;
  try {
    await lock.unlock();
  } catch (error) {
    complain(`not released, so it will expire: ${error.message}`);
  }
  return code;
}

function ended(child, command) {
  return new Promise((resolve) => {
    child.on('exit', (code, signal) => resolve(code ?? killedBy(signal)));
    child.on('error', (error) => {
      // Also of a signal that could not be sent: it is still running then.
      if (child.pid !== undefined) return complain(error.message);
      const isMissing = error.code === 'ENOENT';
      complain(`${command}: ${isMissing ? 'not found' : `cannot be run (${error.code})`}`);
      resolve(isMissing ? EXIT.NOT_FOUND : EXIT.NOT_EXECUTABLE);
    });
  });
}

module.exports = { run };

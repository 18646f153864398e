'use strict';

// How the fencing examples make a writer late. Two processes deposit to one account; the first is stopped
// between its last look at its lock and its write, as a suspended machine or a long garbage collection
// stops one, until the second has the lock.

const { fork } = require('node:child_process');
const { on, once } = require('node:events');

const { LockLostError, Redsync } = require('../index.js');
const { lifeline } = require('../tools/lifeline.js');
const { findNodes } = require('./nodes.js');

/** The store has refused a write, because a later holder of the lock has been there. */
class LateError extends Error {}

/** What runs in a process of its own: deposits once, and starts over when the store refuses. */
async function write(deposit, name, place, keyPrefix, urls) {
  const redsync = new Redsync(urls.split(','), { keyPrefix });
  const say = (line) => process.send(`${name} ${line}`);
  const halt = async (line) => {
    say(line);
    await once(process, 'message');
  };
  for (let isWritten = false; !isWritten;) {
    try {
      say(`has written ${await deposit(redsync, place, halt)}`);
      isWritten = true;
    } catch (error) {
      if (error instanceof LateError) say('is refused and starts over');
      else if (!(error instanceof LockLostError)) throw error; // it knew in time
    }
  }
  await redsync.close();
  process.disconnect();
}

/** Another process of the example, which tells its lines and halts in its deposit until `go()`. */
class Writer {
  #child;
  #lines;

  constructor(...args) {
    const [execPath, ...execArgv] = [...lifeline(), process.execPath];
    this.#child = fork(process.argv[1], args, { execPath, execArgv });
    this.#lines = on(this.#child, 'message', { close: ['exit'] });
  }

  async show() {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('a writer has ended too soon');
    console.log(value[0]);
  }

  go() {
    this.#child.send('go');
  }

  stop() {
    this.#child.kill('SIGSTOP');
  }

  continue() {
    this.#child.kill('SIGCONT');
  }

  get hasEnded() {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  async ended() {
    if (!this.hasEnded) await once(this.#child, 'exit');
  }

  async kill() {
    if (this.hasEnded) return;
    this.#child.kill('SIGKILL');
    await this.ended();
  }
}

async function tell(start) {
  const amber = start('amber');
  await amber.show();
  amber.stop();
  console.log('amber is stopped for longer than its lock lives');
  const birch = start('birch');
  await birch.show();
  amber.continue();
  amber.go();
  await amber.show();
  birch.go();
  await birch.show();
  await amber.show();
  amber.go();
  await amber.show();
  await Promise.all([amber.ended(), birch.ended()]);
}

/**
 * The main function of an example.
 *
 * @param {() => Promise<{ place: string, remove: () => Promise<void> }>} openStore where the account is
 * @param {(redsync: Redsync, place: string, halt: (line: string) => Promise<void>) => Promise<number>} deposit
 *   takes the lock, writes, and gives the new balance
 */
async function play(openStore, deposit) {
  const [name, ...args] = process.argv.slice(2);
  if (name) return write(deposit, name, ...args);

  const nodes = await findNodes({ betweenProcesses: true });
  const writers = [];
  let store;
  try {
    store = await openStore();
    await tell((writer) => {
      writers.push(new Writer(writer, store.place, `example:${process.pid}:`, nodes.urls.join()));
      return writers.at(-1);
    });
  } finally {
    await Promise.all(writers.map((writer) => writer.kill()));
    await store?.remove();
    await nodes.stop();
  }
}

module.exports = { LateError, play };

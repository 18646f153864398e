'use strict';

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const { setTimeout: delay } = require('node:timers/promises');

const { complain } = require('./messages.js');
const { EXIT, killedBy } = require('./exit-codes.js');
const { family, processes } = require('./processes.js');
const { Witness } = require('./witness.js');

/** How often to look whether all of a program has ended, in milliseconds: often at first. */
const SHORTEST_PAUSE = 5;
const LONGEST_PAUSE = 500;

/**
 * A program that runs, and what it has started.
 *
 * It has a process group of its own, and a session: what is sent to the group reaches all of it, and nothing
 * else. At a terminal it stays in the group of this process. In another one it would stop as soon as it read
 * from the terminal; in another session it could ask for no password. Then its family stands for the group.
 */
class Program {
  #child;
  #isApart = process.platform !== 'win32' && !isAtTerminal();
  #relatives = new Map(); // birth by pid
  #witness;

  /**
   * @param {readonly string[]} words the program and its arguments
   * @param {NodeJS.ProcessEnv} env
   */
  constructor([command, ...args], env) {
    this.#child = spawn(command, args, { stdio: 'inherit', env, detached: this.#isApart });
    /** Its exit code. @type {Promise<number>} */
    this.ended = ending(this.#child, command);
    if (this.#child.pid === undefined || process.platform === 'win32') return;
    if (!this.#isApart) this.#witness = new Witness();
  }

  /**
   * Passes a signal on that has come to this process, unless the program has got it already, as all do who
   * are in the foreground of a terminal.
   *
   * @param {NodeJS.Signals} signal
   */
  async pass(signal) {
    // On Windows nobody but the console sends one, to all who are attached to it.
    if (process.platform === 'win32') return;
    const isShared = this.#witness !== undefined && this.#isOfOurGroup();
    if (isShared && (await this.#witness.hasSeen(signal))) return;
    this.#send(signal);
  }

  /**
   * Ends all of it: by SIGTERM, and by SIGKILL what goes on for longer than that.
   *
   * @param {number} patience in milliseconds
   */
  async end(patience) {
    const deadline = performance.now() + patience;
    this.#send('SIGTERM');
    for (let pause = SHORTEST_PAUSE; this.#goesOn(); pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      const left = deadline - performance.now();
      if (left <= 0) return this.#send('SIGKILL');
      await delay(Math.min(pause, left));
    }
  }

  /** What was for it is of no use any more. */
  close() {
    this.#witness?.stop();
  }

  #send(signal) {
    for (const target of this.#targets()) {
      try {
        process.kill(target, signal);
      } catch (error) {
        // What has just ended needs none. What sudo runs refuses it.
        if (error.code !== 'ESRCH') complain(`${signal} could not be sent: ${error.code}`);
      }
    }
  }

  /** What to send a signal to, as kill() takes it. */
  #targets() {
    const { pid } = this.#child;
    if (pid === undefined) return [];
    if (this.#isApart) return [-pid];
    const pids = this.#family().map((each) => each.pid);
    return pids.length === 0 && this.#isRunning ? [pid] : pids;
  }

  #goesOn() {
    if (!this.#isApart) return this.#targets().length > 0;
    try {
      return process.kill(-this.#child.pid, 0);
    } catch (error) {
      return error.code === 'EPERM';
    }
  }

  /** The program and all that descends from it, also from what was found before and has ended since. */
  #family() {
    const found = family(
      processes(),
      ({ pid, birth }) =>
        (pid === this.#child.pid && this.#isRunning) || this.#relatives.get(pid) === birth,
    );
    for (const { pid, birth } of found) this.#relatives.set(pid, birth);
    return found;
  }

  /** Not known to have ended: its pid is its own. */
  get #isRunning() {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Programs leave the group, as `timeout` and `setsid` do: what is sent to it does not reach them then. */
  #isOfOurGroup() {
    const all = processes();
    const groupOf = (pid) => all.find((each) => each.pid === pid)?.group;
    return groupOf(this.#child.pid) === groupOf(process.pid);
  }
}

/** Has this process a terminal, whatever its input and output are? */
function isAtTerminal() {
  try {
    fs.closeSync(fs.openSync('/dev/tty'));
    return true;
  } catch {
    return false;
  }
}

function ending(child, command) {
  return new Promise((resolve) => {
    child.on('exit', (code, signal) => resolve(code ?? killedBy(signal)));
    child.on('error', ({ code }) => {
      const isMissing = code === 'ENOENT';
      complain(`${command}: ${isMissing ? 'not found' : `cannot be run (${code})`}`);
      resolve(isMissing ? EXIT.NOT_FOUND : EXIT.NOT_EXECUTABLE);
    });
  });
}

module.exports = { Program };

'use strict';

const { spawn } = require('node:child_process');
const { setTimeout: delay } = require('node:timers/promises');

/** Whoever signals the processes of a group one by one, as a service manager does, takes a moment. */
const MOMENT = 20;

/**
 * A process that nobody knows and that does nothing. A signal of which it dies, too, was sent to the
 * whole process group, as a terminal does it for Ctrl-C.
 */
class Witness {
  #process;
  #end; // resolves with the signal that has ended it
  #isStopped = false;

  constructor() {
    this.#begin();
  }

  #begin() {
    // It ends with its input, so it does not outlive this process, whatever ends that.
    const witness = spawn('cat', { stdio: ['pipe', 'pipe', 'ignore'] });
    this.#end = new Promise((resolve) => {
      witness.on('exit', (code, signal) => resolve(signal));
      witness.on('error', () => resolve(undefined)); // there is no such program
    });
    // Without any file descriptor left it has no pipes either: then there is no witness.
    this.#process = witness.stdin && witness.stdout ? witness : undefined;
    if (this.#process === undefined) return;
    witness.stdin.on('error', () => {}); // it has ended
    for (const handle of [witness, witness.stdin, witness.stdout]) handle.unref();
  }

  /**
   * Was the signal that has just come sent to all of the process group?
   *
   * @param {string} signal
   */
  async hasSeen(signal) {
    const [witness, end] = [this.#process, this.#end];
    if (witness === undefined) return false;
    await delay(MOMENT);
    // What it says after the signal was sent shows that it was not sent to it.
    const answer = new Promise((resolve) => {
      witness.stdout.once('data', () => resolve(undefined));
    });
    witness.stdin.write('\n');
    const seen = await Promise.race([end, answer]);
    const isOver = witness.exitCode !== null || witness.signalCode !== null;
    if (isOver && witness === this.#process && !this.#isStopped) this.#begin();
    return seen === signal;
  }

  stop() {
    this.#isStopped = true;
    this.#process?.stdin.destroy();
  }
}

module.exports = { Witness };

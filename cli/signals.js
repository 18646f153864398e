'use strict';

/** They end the wait for the lock. While the program runs they are its own, and it is what ends. */
const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];

/** These say nothing to this process. Node.js would open its inspector, or end. */
const OTHERS = ['SIGUSR1', 'SIGUSR2'];

/** The signals that this process gets: for itself while it waits, for the program while that runs. */
class Signals {
  #abort = new AbortController();
  #program;

  constructor() {
    /** The one that has ended the wait. @type {NodeJS.Signals | undefined} */
    this.first = undefined;
    // For good: whoever is about to end with the program's exit code dies of none.
    for (const signal of [...ENDING, ...OTHERS]) process.on(signal, () => this.#receive(signal));
  }

  /** Aborts when nobody waits for the lock any more. */
  get signal() {
    return this.#abort.signal;
  }

  /**
   * From now on they are the program's.
   *
   * @param {import('./program.js').Program} program
   */
  passTo(program) {
    this.#program = program;
  }

  #receive(signal) {
    if (this.#program !== undefined) {
      this.#program.pass(signal);
    } else if (ENDING.includes(signal)) {
      this.first ??= signal;
      this.#abort.abort();
    }
  }
}

module.exports = { Signals };

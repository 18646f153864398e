'use strict';

// The process of one library, seen from outside: worker.js, or the Rust program.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const readline = require('node:readline');

class Contender {
  #child;
  #answers;
  #exited;

  constructor({ id, title, command }) {
    this.id = id;
    this.title = title;
    const [program, ...args] = command;
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdin.on('error', () => {}); // it has ended: told by the missing answer
    this.#exited = once(this.#child, 'exit');
    const lines = readline.createInterface({ input: this.#child.stdout });
    this.#answers = lines[Symbol.asyncIterator]();
  }

  async #ask(...words) {
    this.#child.stdin.write(`${words.join(' ')}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error(`the process of ${this.title} has ended at "${words[0]}"`);
    return JSON.parse(value);
  }

  connect(urls) {
    return this.#ask('connect', ...urls);
  }

  hold(key) {
    return this.#ask('hold', key);
  }

  release(key) {
    return this.#ask('release', key);
  }

  /** Lock+unlock cycles, so many at once, for so many milliseconds. */
  run(inFlight, duration) {
    return this.#ask('run', inFlight, duration);
  }

  async close() {
    this.#child.stdin.end();
    await this.#exited;
  }

  /** close() for when something has gone wrong. */
  kill() {
    this.#child.kill('SIGKILL');
  }
}

module.exports = { Contender };

'use strict';

// The two sides of a test: processes that are told what to lock, by one protocol.

const { spawn } = require('node:child_process');
const path = require('node:path');
const { createInterface } = require('node:readline');

// See prepare.js.
const GO = path.join(__dirname, 'target', 'go-redsync');

/** A process that locks with one library. */
class Party {
  #child;
  #waiting = new Map();
  #ids = 0;
  #stderr = '';

  constructor(library, addresses) {
    const list = addresses.join(',');
    const [command, ...args] =
      library === 'go-redsync'
        ? [GO, list]
        : [process.execPath, path.join(__dirname, 'contender.js'), library, list];
    this.library = library;
    this.#child = spawn(command, args);
    this.#child.stderr.setEncoding('utf8').on('data', (text) => {
      this.#stderr += text;
    });
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#hear(line));
    this.ended = new Promise((resolve) => {
      this.#child.on('close', (status, signal) => {
        resolve({ status, signal });
        const error = new Error(`${library} has ended (${signal ?? status}): ${this.#stderr}`);
        for (const { reject } of this.#waiting.values()) reject(error);
      });
    });
  }

  #hear(line) {
    const { id, ...answer } = JSON.parse(line);
    this.#waiting.get(id).resolve(answer);
    this.#waiting.delete(id);
  }

  /** Does what contender.js and go/main.go know. */
  ask(op, command) {
    const id = ++this.#ids;
    this.#child.stdin.write(`${JSON.stringify({ id, op, ...command })}\n`);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  stop() {
    this.#child.stdin.end();
    this.#child.kill();
    return this.ended;
  }
}

/** Starts a process for one test. */
function useParty(t, library, servers) {
  const party = new Party(
    library,
    servers.map(({ port }) => `127.0.0.1:${port}`),
  );
  t.teardown(() => party.stop());
  return party;
}

module.exports = { useParty };

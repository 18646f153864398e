'use strict';

// What a process writes down about its locks, on a clock that all processes share, so that it can
// be read after the process was killed.

const fs = require('node:fs');

/** Milliseconds on CLOCK_MONOTONIC, which is the same for all processes of a machine. */
function now() {
  return Number(process.hrtime.bigint()) / 1e6;
}

const NONE = '-';
const FAILED = 'failed';

/**
 * Lines of: time, event, number of the hold or call, name, milliseconds of validity left.
 * `began` and `ended` are about calls. Behind them stand what was called, the value of the lock and how it has ended: `done`,
 * `failed`, or as what the lock is held. The others are about locks:
 * `held` and `still` say that it is held, and how long it will be; `over` that it is not any more. `accepted`, `refused`
 * and `wrong` are about writes to a store, with the fencing token for the time. `error` has the code of a node for the number.
 */
class Journal {
  #file;

  constructor(path) {
    this.#file = fs.openSync(path, 'a');
  }

  write(event, number, name = NONE, left = 0, at = now()) {
    this.#add(at, event, number, name, left);
  }

  writeCall(event, number, name, what, value = NONE, outcome = 'done') {
    this.#add(now(), event, number, name, 0, what, value, outcome);
  }

  #add(...fields) {
    // Written at once: the process may be killed at any time.
    fs.writeSync(this.#file, `${fields.join(' ')}\n`);
  }
}

/** The entries of a journal; the last line may be cut off. */
function read(path) {
  const lines = fs.readFileSync(path, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => {
    const [at, event, number, name, left] = line.split(' ');
    return { at: Number(at), event, number, name, left: Number(left) };
  });
}

module.exports = { FAILED, Journal, now, read };

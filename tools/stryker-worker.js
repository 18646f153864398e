'use strict';

// Preloaded where a spec runs under StrykerJS, in place of its own hook: ava runs a spec in a worker thread, which
// has the same process id as the main thread. The runner reads from a file, named by that, what the spec has
// covered; the main thread has covered nothing.

const fs = require('node:fs');
const { isMainThread } = require('node:worker_threads');

const { STRYKER_DRY_RUN, STRYKER_HIT_LIMIT } = process.env;
const file = `stryker-output-${process.pid}.json`;

/** In one step: whichever thread ends first, the file is whole. */
function write(state) {
  fs.writeFileSync(`${file}.${isMainThread}`, JSON.stringify(state));
  fs.renameSync(`${file}.${isMainThread}`, file);
}

if (isMainThread) {
  process.on('SIGTERM', () => process.exit(1)); // a test has failed, which is enough
  process.on('exit', () => {
    if (!fs.existsSync(file)) write({});
  });
} else {
  const limit = STRYKER_HIT_LIMIT && { hitLimit: Number(STRYKER_HIT_LIMIT), hitCount: 0 };
  const state = { ...limit };
  globalThis.__stryker__ = state; // where the mutants look
  process.on('exit', () => {
    const { hitCount, mutantCoverage } = state;
    write(STRYKER_DRY_RUN === 'true' ? { mutantCoverage } : { hitCount });
  });
}

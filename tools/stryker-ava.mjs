// Runs ava's specs inside StrykerJS's own process: ava's command line starts two threads for each mistake, and
// takes a second before the first test. It uses ava's runner, as ava's worker does, which is not public.

import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const require = createRequire(import.meta.url);
const AVA = require.resolve('ava');
const lib = path.join(path.dirname(AVA), '..', 'lib');
const inAva = (file) => pathToFileURL(path.join(lib, file)).href;

const { default: Runner } = await import(inAva('runner.js'));
const { set: setChalk } = await import(inAva('chalk.js'));
setChalk({ level: 0 });
require(path.join(lib, 'worker', 'options.cjs')).set({ chalkOptions: { level: 0 } });

/** As StrykerJS has them. */
const PASSED = 0;
const FAILED = 1;

/** For how long the other tests of a spec may clean up when one has failed, in milliseconds. */
const PATIENCE = 1000;

/** All of ours is loaded anew: a mistake may be in what runs but once. */
function forget(folder) {
  const own = folder + path.sep;
  for (const file of Object.keys(require.cache)) {
    if (file.startsWith(own) && !file.endsWith('.node')) delete require.cache[file];
  }
}

/** Runs a spec; resolves with what failed first, or nothing. */
async function play(file, projectDir) {
  forget(projectDir);
  const runner = new Runner({ file, projectDir, failFast: true, failWithoutAssertions: true });
  require.cache[AVA] = { id: AVA, filename: AVA, loaded: true, exports: runner.chain };
  let failure;
  let tellFailed;
  const failed = new Promise((resolve) => {
    tellFailed = resolve;
  });
  const fail = (error) => {
    failure ??= `${error?.message ?? error}`;
    tellFailed();
  };
  process.on('unhandledRejection', fail);
  process.on('uncaughtException', fail);
  try {
    runner.on('stateChange', ({ type, title, err }) => {
      if (err !== undefined) fail(`${title ?? type}: ${err.message ?? ''}`);
    });
    const finished = runner.once('finish');
    try {
      require(file);
    } catch (error) {
      runner.interrupt();
      return error.message;
    }
    // Tests that wait for what does not come any more are left alone.
    await Promise.race([finished, failed.then(() => delay(PATIENCE))]);
    await new Promise(setImmediate);
    return failure;
  } finally {
    process.off('unhandledRejection', fail);
    process.off('uncaughtException', fail);
  }
}

/**
 * Runs specs with this state of the mutants in them, up to the first that fails. On a busy machine one may fail
 * by itself: so it has failed if it fails twice.
 */
async function run(specs, state) {
  const root = fs.realpathSync(process.cwd());
  globalThis.__stryker__ = state;
  const tests = [];
  for (const spec of specs) {
    const start = performance.now();
    const failureMessage = (await play(spec, root)) && (await play(spec, root));
    tests.push({
      id: spec,
      name: spec,
      fileName: spec,
      timeSpentMs: performance.now() - start,
      status: failureMessage === undefined ? PASSED : FAILED,
      failureMessage,
    });
    if (failureMessage !== undefined) break;
  }
  return tests;
}

/** A test is a spec: which of its tests reaches a line, nobody knows while they run side by side. */
class AvaRunner {
  capabilities() {
    return { reloadEnvironment: true };
  }

  async dryRun({ testFiles }) {
    const perTest = {};
    for (const spec of testFiles) {
      const state = {};
      await run([spec], state);
      perTest[spec] = state.mutantCoverage?.static ?? {};
    }
    // A spec that passes but once would find every mistake.
    const tests = await run(testFiles, {});
    return { status: 'complete', tests, mutantCoverage: { static: {}, perTest } };
  }

  async mutantRun({ activeMutant: { id }, testFilter, hitLimit }) {
    process.env.__STRYKER_ACTIVE_MUTANT__ = id; // for processes that a spec starts
    const state = { activeMutant: id, hitLimit, hitCount: hitLimit && 0 };
    const tests = await run(testFilter, state);
    if (state.hitCount > hitLimit) return { status: 'timeout', reason: 'an endless loop' };
    const { id: killer, failureMessage } = tests.at(-1);
    if (failureMessage === undefined) return { status: 'survived', nrOfTests: tests.length };
    return { status: 'killed', killedBy: [killer], failureMessage, nrOfTests: tests.length };
  }
}

export const strykerPlugins = [{ kind: 'TestRunner', name: 'ava', injectableClass: AvaRunner }];

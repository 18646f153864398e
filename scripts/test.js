'use strict';

// `npm test` and, with `--quick`, `npm run test:quick`: sets the machine up, then makes every check, also
// after one has failed, and counts.

const { spawn } = require('node:child_process');
const { stripVTControlCharacters } = require('node:util');

const { readOptions } = require('../tools/command-line.js');
const { fetchPromtool } = require('../tools/promtool.js');
const setup = require('../tools/setup.js');
const { ALONE, BESIDE, COMPUTING, quick } = require('./test-steps.js');

const { announce, root } = setup;

/** How much of a failed step is told again at the end: what test runners say of each failure is their last. */
const LAST_LINES = 80;

/** Runs one step; resolves with what it printed and how it ended. */
function execute({ command: [command, ...args], env: own }, isShown) {
  return new Promise((resolve) => {
    const env = { ...process.env, FORCE_COLOR: '0', CARGO_TERM_COLOR: 'never', ...own };
    const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const show = (stream) => (chunk) => {
      output += chunk;
      if (isShown) stream.write(chunk);
    };
    for (const stream of ['stdout', 'stderr']) {
      child[stream].setEncoding('utf8').on('data', show(process[stream]));
    }
    child.on('error', (error) => {
      console.error(`${command} could not be started: ${error.message}`);
      resolve({ lines: [], succeeded: false });
    });
    child.on('close', (code) => {
      const lines = stripVTControlCharacters(output).split('\n');
      resolve({ lines, succeeded: code === 0 });
    });
  });
}

async function runStep(step, isShown = true) {
  const reason = step.skip?.();
  if (isShown) announceStep(reason ? `${step.title}: skipped, ${reason}` : step.title);
  if (reason) return { title: step.title, passed: 0, failed: 0, lines: [] };
  const start = performance.now();
  const { lines, succeeded } = await execute(step, isShown);
  const { passed, failed } = step.count(lines, succeeded);
  // A step that crashed before it could count a failure, or that ran nothing, has failed too.
  const crashed = failed === 0 && (!succeeded || passed === 0);
  const seconds = (performance.now() - start) / 1000;
  return { title: step.title, passed, failed: crashed ? 1 : failed, lines, seconds };
}

function announceStep(title) {
  console.log('');
  announce(title);
}

async function runInTurn(steps, isShown) {
  const results = [];
  for (const step of steps) results.push(await runStep(step, isShown));
  return results;
}

/** Runs steps beside others: what they have printed comes in one piece, when all have ended. */
async function runBeside(steps) {
  const results = await runInTurn(steps, false);
  return () => {
    for (const { title, lines } of results) {
      announceStep(title);
      console.log(lines.join('\n'));
    }
    return results;
  };
}

function requireForExamples() {
  setup.requirePostgres();
  if (!fetchPromtool()) announce('no promtool is to be had: Prometheus does not try the alerts');
}

async function runSetup({ debug }) {
  const start = performance.now();
  let failed = 0;
  await setup.main(() => {
    failed = 1;
    setup.install();
    setup.build({ debug });
    setup.requireRedisServer();
    if (!debug) requireForExamples(); // the quick run plays none
    failed = 0;
  });
  return {
    title: 'set-up',
    passed: 0,
    failed,
    lines: [],
    seconds: (performance.now() - start) / 1000,
  };
}

async function runAll(isQuick) {
  const chosen = isQuick ? quick : (steps) => steps;
  const results = [await runSetup({ debug: isQuick })];
  const beside = runBeside(chosen(BESIDE));
  results.push(...(await runInTurn(chosen(COMPUTING))));
  results.push(...(await beside)());
  results.push(...(await runInTurn(chosen(ALONE))));

  // Whoever sees only the end of a long log sees why it failed.
  for (const { title, failed, lines } of results) {
    if (!failed) continue;
    announceStep(`how "${title}" ended`);
    console.log(lines.slice(-LAST_LINES).join('\n'));
  }
  console.log('');
  for (const { title, passed, failed, seconds } of results) {
    if (seconds === undefined) continue;
    const state = failed ? 'FAIL' : 'ok  ';
    console.log(`${state} ${title}: ${passed} passed, ${failed} failed, ${seconds.toFixed(0)} s`);
  }
  console.log('');
  const sum = (key) => results.reduce((total, result) => total + result[key], 0);
  console.log(`${sum('passed')} passed, ${sum('failed')} failed`);
  process.exitCode = sum('failed') > 0 ? 1 : 0;
}

setup.main(() => runAll(readOptions(process.argv.slice(2), { quick: { type: 'boolean' } }).quick));

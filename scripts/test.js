'use strict';

// Sets the machine up, then runs every check, also after one has failed, and counts.

const { spawn, spawnSync } = require('node:child_process');
const { stripVTControlCharacters } = require('node:util');

const setup = require('../tools/setup.js');

const { announce, bin, root } = setup;

/** Waits for most of its time, so that it goes beside the steps that only compute. */
const SOAK = {
  title: 'soak',
  command: ['node', 'soak/run.js', '--minutes', '2'],
  count: one,
};

/** Those that only compute: on how long they take, nothing depends. */
const COMPUTING = [
  { title: 'rustfmt', command: ['cargo', 'fmt', '--all', '--check'], count: one },
  {
    title: 'clippy',
    command: ['cargo', 'clippy', '--workspace', '--all-targets', '--locked', '--',
      '-D', 'warnings'],
    count: one,
  },
  {
    title: 'engine and addon tests',
    command: ['cargo', 'test', '--workspace', '--locked', '--no-fail-fast'],
    count: cargoTests,
  },
  {
    title: 'mistakes in the engine are found',
    command: ['cargo', 'test', '--locked', '--package', 'redsync-engine', '--features', 'mutants',
      '--test', 'simulation', 'teeth'],
    count: cargoTests,
  },
];

const STEPS = [
  {
    title: 'generated loader is up to date',
    command: ['git', 'diff', '--exit-code', '--', 'native.js', 'native.d.ts'],
    count: one,
    skip: () => !isGitCheckout() && 'not a git checkout',
  },
  { title: 'code style', command: ['npm', 'run', 'lint'], count: one },
  { title: 'types', command: ['npm', 'run', 'test:types'], count: one },
  { title: 'the package in an empty folder', command: ['npm', 'run', 'test:package'], count: one },
  {
    title: 'workers that are terminated',
    command: ['node', 'scripts/test-workers.js', '--rounds', '5'],
    count: one,
  },
  { title: 'behaviour on real servers', command: [bin('ava')], count: avaTests },
  {
    title: 'beside other libraries',
    command: ['node', 'interop/run.js', '--if-found', '--seconds', '2'],
    count: avaTests,
  },
];

/** How much of a failed step is told again at the end: what test runners say of each failure is their last. */
const LAST_LINES = 80;

function isGitCheckout() {
  const { status } = spawnSync('git', ['rev-parse', '--git-dir'], { cwd: root, stdio: 'ignore' });
  return status === 0;
}

function one(lines, succeeded) {
  return { passed: succeeded ? 1 : 0, failed: succeeded ? 0 : 1 };
}

function cargoTests(lines) {
  const total = { passed: 0, failed: 0 };
  for (const line of lines) {
    const result = /^test result: .* (\d+) passed; (\d+) failed;/.exec(line);
    if (!result) continue;
    total.passed += Number(result[1]);
    total.failed += Number(result[2]);
  }
  return total;
}

// One line a test, and one more with a cross for each spec file that crashed or timed out. ava's
// closing summary is no substitute: it leaves the passed tests out once one has failed.
function avaTests(lines) {
  return {
    passed: lines.filter((line) => /^\s*[✔√] /.test(line)).length,
    failed: lines.filter((line) => /^\s*[✘×] /.test(line)).length,
  };
}

/** Runs one step; resolves with what it printed and how it ended. */
function execute([command, ...args], isShown) {
  return new Promise((resolve) => {
    const env = { ...process.env, FORCE_COLOR: '0', CARGO_TERM_COLOR: 'never' };
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

async function runStep({ title, command, count, skip }) {
  const reason = skip && skip();
  console.log('');
  announce(reason ? `${title}: skipped, ${reason}` : title);
  if (reason) return { title, passed: 0, failed: 0, last: [] };
  return result({ title, count }, await execute(command, true));
}

/** Runs a step beside others: what it has printed comes in one piece, when it is asked for. */
function runBeside({ title, command, count }) {
  const ended = execute(command, false);
  return async () => {
    const { lines, succeeded } = await ended;
    console.log('');
    announce(title);
    console.log(lines.join('\n'));
    return result({ title, count }, { lines, succeeded });
  };
}

function result({ title, count }, { lines, succeeded }) {
  const { passed, failed } = count(lines, succeeded);
  // A step that crashed before it could count a failure, or that ran nothing, has failed too.
  const crashed = failed === 0 && (!succeeded || passed === 0);
  return { title, passed, failed: crashed ? 1 : failed, last: lines.slice(-LAST_LINES) };
}

async function runSetup() {
  let failed = 0;
  await setup.main(() => {
    failed = 1;
    setup.install();
    setup.build();
    setup.requireRedisServer();
    failed = 0;
  });
  return { title: 'set-up', passed: 0, failed, last: [] };
}

async function runAll() {
  const results = [await runSetup()];
  const soak = runBeside(SOAK);
  for (const step of COMPUTING) results.push(await runStep(step));
  results.push(await soak());
  for (const step of STEPS) results.push(await runStep(step));

  // Whoever sees only the end of a long log sees why it failed.
  for (const { title, failed, last } of results) {
    if (!failed) continue;
    console.log('');
    announce(`how "${title}" ended`);
    console.log(last.join('\n'));
  }
  console.log('');
  for (const { title, passed, failed } of results) {
    if (passed + failed === 0) continue;
    console.log(`${failed ? 'FAIL' : 'ok  '} ${title}: ${passed} passed, ${failed} failed`);
  }
  console.log('');
  const sum = (key) => results.reduce((total, result) => total + result[key], 0);
  console.log(`${sum('passed')} passed, ${sum('failed')} failed`);
  process.exitCode = sum('failed') > 0 ? 1 : 0;
}

runAll();

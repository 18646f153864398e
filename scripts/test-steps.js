'use strict';

// The checks of `npm test`, and which of them `npm run test:quick` makes.

const { spawnSync } = require('node:child_process');

const { CORE_SPECS } = require('../tools/core-specs.js');
const { bin, canBuildWasm, root } = require('../tools/setup.js');
const { actionlint } = require('./lint-workflows.js');

const QUICK_SPECS = ['circles', 'documents', 'nodes-input', 'options'].map(
  (name) => `__test__/${name}.spec.js`,
);

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

const NO_WASM = 'rustc has no target for WebAssembly here';

const CARGO_TEST = ['cargo', 'test', '--workspace', '--locked'];

/** Of the engine: very many schedules, all states of a small system, and the mistakes that are made with it. */
const LONG_TESTS = [
  'no_schedule_violates_an_invariant',
  'no_state_violates_exclusion',
  'every_mistake_is_found',
];

/** Those that only compute: on how long they take, nothing depends. */
const COMPUTING = [
  {
    title: 'generated loader is up to date',
    command: ['git', 'diff', '--exit-code', '--', 'native.js', 'native.d.ts'],
    count: one,
    skip: () => !isGitCheckout() && 'not a git checkout',
  },
  { title: 'rustfmt', command: ['cargo', 'fmt', '--all', '--check'], count: one, quick: {} },
  {
    title: 'clippy',
    command: [
      'cargo',
      'clippy',
      '--workspace',
      '--all-targets',
      '--locked',
      '--',
      '-D',
      'warnings',
    ],
    count: one,
    quick: {},
  },
  {
    title: 'engine and addon tests',
    command: [...CARGO_TEST, '--no-fail-fast'],
    count: cargoTests,
    quick: {
      command: [
        ...CARGO_TEST,
        '--no-fail-fast',
        '--',
        ...LONG_TESTS.flatMap((name) => ['--skip', name]),
      ],
    },
  },
];

/** Those that wait for most of their time or use one processor: they go beside those that only compute. */
const BESIDE = [
  { title: 'soak', command: ['node', 'soak/run.js', '--minutes', '2'], count: one },
  {
    title: 'workers that are terminated',
    command: ['node', 'scripts/test-workers.js', '--rounds', '5'],
    count: one,
  },
  { title: 'the package in an empty folder', command: ['npm', 'run', 'test:package'], count: one },
  {
    title: 'the packages of a release',
    command: ['npm', 'run', 'release'],
    count: one,
    skip: () => (!isGitCheckout() && 'not a git checkout') || (!canBuildWasm() && NO_WASM),
  },
  { title: 'code style', command: ['npm', 'run', 'lint'], count: one, quick: {} },
  { title: 'types', command: ['npm', 'run', 'test:types'], count: one, quick: {} },
  {
    title: 'workflows',
    command: ['npm', 'run', 'lint:workflows'],
    count: one,
    skip: () => !actionlint() && 'there is neither actionlint nor Go',
  },
];

/** Those that have the machine for themselves. */
const ALONE = [
  {
    title: 'behaviour on real servers',
    command: [bin('ava')],
    count: avaTests,
    quick: {
      command: [bin('ava'), ...CORE_SPECS, ...QUICK_SPECS],
      env: { REDSYNC_TEST_KIND: 'redis' },
    },
  },
  {
    title: 'as WebAssembly',
    command: ['node', 'scripts/test-wasm.js'],
    count: avaTests,
    skip: () => !canBuildWasm() && NO_WASM,
  },
  {
    title: 'beside other libraries',
    command: ['node', 'interop/run.js', '--if-found', '--seconds', '2'],
    count: avaTests,
  },
];

/** Those of a list that `npm run test:quick` makes, as it makes them. */
function quick(steps) {
  return steps.filter((step) => step.quick).map((step) => ({ ...step, ...step.quick }));
}

module.exports = { ALONE, BESIDE, COMPUTING, quick };

'use strict';

// `npm run fuzz`: see HELP.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { count, readNames } = require('../tools/command-line.js');
const {
  SetupError,
  announce,
  install,
  main,
  requireCargo,
  root,
  run,
} = require('../tools/setup.js');

const SECONDS = 60;

/** Of the addon, by cargo-fuzz. */
const TARGETS = fs
  .readdirSync(path.join(root, 'fuzz', 'fuzz_targets'))
  .map((file) => path.basename(file, '.rs'))
  .sort();
/** Of JavaScript, by fast-check. */
const URLS = 'urls';

const HELP = `Usage: npm run fuzz -- [options] [target ...]

Feeds the addon with inputs that a fuzzer makes up: see docs/correctness.md. Ends with an error, and the
input in fuzz/artifacts, as soon as one has found something.

  --seconds N  for each target (default ${SECONDS})
  --help       prints this

Targets: ${[...TARGETS, URLS].join(', ')} (default: all)
`;

function readOptions() {
  const {
    values: { seconds, help },
    names,
  } = readNames([...TARGETS, URLS], {
    seconds: { type: 'string', default: `${SECONDS}` },
    help: { type: 'boolean' },
  });
  return { help, seconds: count(seconds, '--seconds', 9_999_999), targets: names };
}

function requireCargoFuzz() {
  requireCargo();
  const { status } = spawnSync('cargo', ['fuzz', '--version'], { stdio: 'ignore' });
  if (status !== 0) run('cargo', ['install', '--locked', 'cargo-fuzz']);
}

/** Runs a target of the addon from its seeds and from what earlier runs have kept in fuzz/corpus. */
function fuzz(target, seconds) {
  const corpus = path.join('fuzz', 'corpus', target);
  fs.mkdirSync(path.join(root, corpus), { recursive: true });
  // Without a sanitizer it takes no nightly compiler; memory errors need unsafe code, of which the
  // addon has next to none.
  const { status, stderr } = spawnSync(
    'cargo',
    [
      'fuzz',
      'run',
      '--sanitizer',
      'none',
      target,
      corpus,
      path.join('fuzz', 'seeds', target),
      '--',
      `-max_total_time=${seconds}`,
      '-timeout=10',
      '-rss_limit_mb=1024',
      '-print_final_stats=1',
    ],
    { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 30, stdio: ['ignore', 'inherit', 'pipe'] },
  );
  if (status !== 0) {
    console.error(stderr.slice(-20_000));
    throw new SetupError(`${target}: found something, see above`);
  }
  const stat = (name) => Number(new RegExp(`stat::${name}:\\s+(\\d+)`).exec(stderr)?.[1]);
  return stat('number_of_executed_units');
}

function readUrls(seconds) {
  install();
  const { readUrls: readSome } = require('../__test__/helpers/urls.js');
  const { read, refused } = readSome({
    numRuns: 2 ** 31 - 1,
    interruptAfterTimeLimit: seconds * 1000,
  });
  return read + refused;
}

main(() => {
  const { help, seconds, targets } = readOptions();
  if (help) return console.log(HELP);
  if (targets.some((target) => target !== URLS)) {
    requireCargoFuzz();
    run('cargo', ['fuzz', 'build', '--sanitizer', 'none']);
  }
  for (const target of targets) {
    announce(`${target}, ${seconds} s`);
    const start = performance.now();
    const runs = target === URLS ? readUrls(seconds) : fuzz(target, seconds);
    const elapsed = (performance.now() - start) / 1000;
    console.log(`${target}: ${runs} runs, ${Math.round(runs / elapsed)} a second, nothing found`);
  }
});

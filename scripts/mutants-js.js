'use strict';

// `npm run mutants:js`: see HELP.

const { count, readNames } = require('../tools/command-line.js');
const { announce, build, install, main, requireRedisServer } = require('../tools/setup.js');
const { render } = require('../tools/tables.js');

/** The specs that must find a mistake in a file: those that are about it, and quick. */
const SPECS = {
  'lib/addresses.js': ['misuse', 'nodes-input', 'tracing'],
  'lib/auto-extend.js': ['misuse', 'options'],
  'lib/conflicts.js': ['misuse', 'options', 'permits-options'],
  'lib/errors.js': ['copies', 'errors'],
  'lib/events.js': ['events', 'tracing'],
  'lib/failures.js': ['errors', 'failures', 'quorum'],
  'lib/fields.js': ['misuse', 'nodes-input', 'options'],
  'lib/glob.js': ['list'],
  'lib/guesses.js': ['guesses', 'misuse'],
  'lib/list.js': ['list'],
  'lib/lock.js': ['lock', 'unlock', 'extend', 'lock-signal', 'adopt', 'shown'],
  'lib/mutex.js': [
    'adopt',
    'deadlock',
    'lock',
    'misuse',
    'options',
    'permits-options',
    'quorum',
    'shown',
    'unlock',
  ],
  'lib/nodes.js': ['misuse', 'nodes-input'],
  'lib/options.js': ['misuse', 'options', 'permits-options'],
  'lib/owner.js': ['misuse', 'owner'],
  'lib/permits.js': ['owner', 'permits-options'],
  'lib/pool-conns.js': ['pools', 'pool-nonsense'],
  'lib/pool-failures.js': ['pools', 'pool-nonsense'],
  'lib/pool-proof.js': ['proof'],
  'lib/pool-replies.js': ['pools', 'pool-nonsense'],
  'lib/pool-run.js': ['together-clients'],
  'lib/pools.js': ['pools', 'pool-nonsense', 'proof'],
  'lib/quarantine.js': ['options'],
  'lib/quorum.js': ['quorum'],
  'lib/resource.js': ['abort', 'events', 'lock', 'unlock'],
  'lib/shown.js': ['shown'],
  'lib/signals.js': ['abort', 'misuse'],
  'lib/slots.js': ['misuse', 'options', 'slots'],
  'lib/tls.js': ['misuse', 'nodes-input'],
  'lib/token.js': ['options', 'owner'],
  'lib/urls.js': ['misuse', 'nodes-input'],
  'lib/using.js': ['deadlock', 'using'],
  'lib/values.js': ['misuse', 'options', 'permits-options'],
  'lib/votes.js': ['events', 'failures', 'quorum'],
  'lib/walk.js': ['list'],
};

const HELP = `Usage: npm run mutants:js -- [options] [file ...]

Makes one mistake after another in a file and runs the specs that must find it: see "Mutation" in
docs/correctness.md. Prints those that no spec has found.

  --concurrency N  how many mistakes are tried side by side (default 2)
  --help           prints this

Files: ${Object.keys(SPECS).join(' ')} (default: all)
`;

/** Runs StrykerJS on one file. It comes as a module. */
async function mutate(file, concurrency) {
  const { Stryker } = await import('@stryker-mutator/core');
  const testFiles = SPECS[file].map((name) => `__test__/${name}.spec.js`);
  return new Stryker({ mutate: [file], testFiles, concurrency }).runMutationTest();
}

function isLeft({ status }) {
  return status === 'Survived' || status === 'NoCoverage';
}

function show({ fileName, location: { start }, mutatorName, replacement, status }) {
  const place = `${fileName}:${start.line}:${start.column}`;
  console.log(`${place} ${status}: ${mutatorName} ${replacement.replace(/\s+/g, ' ')}`);
}

function countsOf(file, mutants) {
  const [killed, timedOut, survived, notCovered] = [
    'Killed',
    'Timeout',
    'Survived',
    'NoCoverage',
  ].map((each) => mutants.filter(({ status }) => status === each).length);
  const found = killed + timedOut;
  const all = found + survived + notCovered;
  return [
    `\`${file}\``,
    all,
    killed,
    timedOut,
    survived,
    notCovered,
    all === 0 ? '' : `${((found / all) * 100).toFixed(1)}%`,
  ];
}

main(async () => {
  const {
    values: { concurrency, help },
    names,
  } = readNames(Object.keys(SPECS), {
    concurrency: { type: 'string', default: '2' },
    help: { type: 'boolean' },
  });
  if (help) return console.log(HELP);
  const sideBySide = count(concurrency, '--concurrency');
  install();
  build();
  requireRedisServer();
  // Of the backends that a spec goes over, one is enough: the facade is the same over each.
  process.env.REDSYNC_TEST_KIND = 'memory';
  const rows = [];
  for (const file of names) {
    announce(file);
    try {
      const mutants = await mutate(file, sideBySide);
      mutants.filter(isLeft).forEach(show);
      rows.push(countsOf(file, mutants));
    } catch (error) {
      console.error(error.message); // the specs fail without any mistake
      process.exitCode = 1;
    }
  }
  const HEAD = ['file', 'mutants', 'killed', 'timed out', 'survived', 'not covered', 'score'];
  console.log(`\n${render(HEAD, rows)}`);
});

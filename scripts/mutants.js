'use strict';

// `npm run mutants`: see HELP.

const fs = require('node:fs');
const path = require('node:path');

const { count, fail, readNames } = require('../tools/command-line.js');
const { SetupError, announce, main, requireCargo, root } = require('../tools/setup.js');
const { TIMEOUT } = require('./mutated-crate.js');

/** What is mutated, as `mutated-*.js` tell it. */
const PARTS = ['engine', 'nodes'];

/** Mutants that no test can find, as they change nothing that anybody could tell: by part. */
const EQUIVALENT = path.join(root, 'crates', 'mutator', 'equivalent.json');

/** In percent: of those that could be found. */
const LEAST_SCORE = 95;
const LEAST_TIMEOUT = 5000;
/** What takes so long is kept for the end. */
const LONG = 2000;

const HELP = `Usage: npm run mutants -- [options] [part]

Makes every small mistake in a part of the project, one at a time, and tells which of them no test finds: see
docs/correctness.md. All are compiled at once, each behind a switch. Ends with an error if fewer than ${LEAST_SCORE}%
are found. The report is in target/mutants.

  engine         crates/engine/src, by its own tests (the default)
  nodes          src/node/redis, by the addon's tests and by specs on real servers

  --file NAME    only those of this file of it, for example round.rs; may be repeated
  --jobs N       tests so many at a time (default 2)
  --shard K/N    only the K-th of N parts, counted from 1
  --no-specs     without the specs on real servers, of which one takes seconds: for a look at what is new
  --help         prints this
`;

function readShard(text) {
  const [, number, of] = /^(\d+)\/(\d+)$/.exec(text) ?? [];
  if (!(number >= 1 && Number(number) <= Number(of))) fail('--shard takes K/N, for example 1/8');
  return { number: Number(number), of: Number(of) };
}

/** Does something with each, so many at a time, in their order; resolves with the results. */
async function inParallel(jobs, items, act) {
  const results = [];
  const work = async () => {
    while (results.length < items.length) {
      const index = results.push(undefined) - 1;
      results[index] = await act(items[index], index);
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return results;
}

/** What a mutant is called in the list of the equivalent ones: its line may change. */
function nameOf({ file, function: where, original, mutated }) {
  return `${file} ${where}: ${original} -> ${mutated}`;
}

/** Names of their own: mutants of one function that look alike are counted. */
function withNames(mutants) {
  const seen = new Map();
  return mutants.map((mutant) => {
    const name = nameOf(mutant);
    const number = (seen.get(name) ?? 0) + 1;
    seen.set(name, number);
    return { ...mutant, name: number === 1 ? name : `${name} (${number})` };
  });
}

/** Which of these tests fails with a mutant. One that takes too long is compared with the same without a mutant. */
async function findWrong(program, tests, mutant, likely) {
  for (let timeout = Math.max(LEAST_TIMEOUT, Math.ceil(likely)); ; timeout *= 2) {
    const { wrong } = await program.execute(tests, { env: { MUTANT: mutant }, timeout });
    if (wrong !== TIMEOUT) return wrong;
    const { took } = await program.execute(tests);
    if (took < timeout / 2) return wrong; // else the machine is busy
  }
}

/**
 * What is run at once of these tests, the quickest first; of a program with a `budget`, one by one up to that, and those
 * that are about the file.
 */
function batchesOf(measured, file) {
  const batches = [];
  for (const program of new Set(measured.map((it) => it.program))) {
    const tests = measured.filter((it) => it.program === program);
    tests.sort((one, other) => one.took - other.took);
    let left = program.budget ?? Infinity;
    const isLong = ({ took }) => took >= LONG;
    const groups =
      program.budget === undefined
        ? [tests.filter((it) => !isLong(it)), tests.filter(isLong)]
        : tests.map((it) => [it]);
    for (const group of groups) {
      if (group.length === 0) continue;
      if (left <= 0 && !program.isOf(group[0].test, file)) continue;
      const took = group.reduce((sum, it) => sum + it.took, 0);
      left -= took;
      batches.push({ program, tests: group.map(({ test }) => test), took });
    }
  }
  return batches.sort((one, other) => one.took - other.took);
}

/** Runs the tests that reach a mutant until one fails. */
async function tryOut(mutant, measured) {
  const reaching = measured.filter(({ reached }) => reached.has(mutant.number));
  for (const { program, tests, took } of batchesOf(reaching, mutant.file)) {
    const wrong = await findWrong(program, tests, `${mutant.number}`, took * program.patience);
    if (wrong) return { foundBy: `${program.name}: ${wrong}` };
  }
  return { isReached: reaching.length > 0 };
}

function percent(part, whole) {
  return whole === 0 ? '-' : `${((100 * part) / whole).toFixed(1)}%`;
}

function counted(mutants) {
  const found = mutants.filter(({ foundBy }) => foundBy).length;
  const unviable = mutants.filter(({ isViable }) => !isViable).length;
  const left = mutants.filter(({ isViable, foundBy, isTried }) => isTried && isViable && !foundBy);
  const survivors = left.filter(({ why }) => !why);
  const accepted = left.length - survivors.length;
  return { all: mutants.length, found, unviable, accepted, survivors };
}

function line(name, { all, found, unviable, accepted, survivors }) {
  const score = percent(found, found + survivors.length);
  return (
    `${name}: ${all} mutants, ${found} found, ${unviable} do not compile, ` +
    `${accepted} equivalent, ${survivors.length} survive: ${score}`
  );
}

/** What is known so far, for people and for programs: in files that begin so. */
function report(mutants, file) {
  const lines = [];
  for (const file of new Set(mutants.map((mutant) => mutant.file))) {
    const counts = counted(mutants.filter((mutant) => mutant.file === file));
    lines.push(line(file, counts));
    for (const { line: at, function: where, original, mutated, isReached } of counts.survivors) {
      const reached = isReached ? '' : ' [no test gets here]';
      lines.push(`  ${file}:${at} ${where}: ${original}  ->  ${mutated}${reached}`);
    }
  }
  const by = new Map();
  for (const { foundBy } of mutants) {
    const program = foundBy?.split(':', 1)[0];
    if (program) by.set(program, (by.get(program) ?? 0) + 1);
  }
  const sum = counted(mutants);
  lines.push('', `found by ${[...by].map(([name, times]) => `${name} ${times}`).join(', ')}`);
  lines.push(line('all', sum));
  fs.writeFileSync(`${file}.txt`, `${lines.join('\n')}\n`);
  fs.writeFileSync(`${file}.json`, JSON.stringify(mutants, null, 1));
  return { text: lines.join('\n'), ...sum };
}

/** The accepted mutants of a part, by name. Each has to be one. */
function readEquivalent(part, mutants) {
  const names = new Set(mutants.map(({ name }) => name));
  const entries = JSON.parse(fs.readFileSync(EQUIVALENT, 'utf8'))[part];
  const unknown = entries.filter(({ mutant }) => !names.has(mutant));
  if (unknown.length > 0) {
    const told = unknown.map(({ mutant }) => mutant).join('\n');
    throw new SetupError(`equivalent.json names what is no mutant:\n${told}`);
  }
  return new Map(entries.map(({ mutant, why }) => [mutant, why]));
}

main(async () => {
  const { values: options, names } = readNames(PARTS, {
    file: { type: 'string', multiple: true },
    jobs: { type: 'string', default: '2' },
    shard: { type: 'string', default: '1/1' },
    'no-specs': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  });
  if (options.help) return console.log(HELP);
  const [part] = names;
  const jobs = count(options.jobs, '--jobs', 1024);
  const shard = readShard(options.shard);
  requireCargo();
  const { build, crate } = require(`./mutated-${part}.js`);
  const all = withNames(crate.make());
  const equivalent = readEquivalent(part, all);
  const file = path.join(crate.folder, 'report');
  const files = options.file ?? [...new Set(all.map(({ file }) => file))];
  const mutants = files
    .flatMap((file) => all.filter((mutant) => mutant.file === file))
    .filter((_, index) => index % shard.of === shard.number - 1)
    .map((mutant) => ({ ...mutant, why: equivalent.get(mutant.name) }));
  if (mutants.length === 0) fail('there is no such mutant');
  const programs = build({ withSpecs: !options['no-specs'] });
  announce('the tests without a mutant');
  const measured = (await inParallel(jobs, programs, (program) => crate.measure(program))).flat();
  const viable = mutants.filter(({ isViable }) => isViable);
  announce(`${measured.length} tests, ${viable.length} mutants`);
  await inParallel(jobs, viable, async (mutant, index) => {
    Object.assign(mutant, await tryOut(mutant, measured), { isTried: true });
    if (index % 20 === 0) report(mutants, file);
  });
  const { text, found, survivors } = report(mutants, file);
  console.log(text);
  // What only takes longer on a busy machine is the same all the same.
  const needless = viable.filter(
    ({ why, foundBy }) => why && foundBy && !foundBy.endsWith(TIMEOUT),
  );
  if (needless.length > 0) {
    const told = needless.map(({ name, foundBy }) => `${name}: ${foundBy}`).join('\n');
    throw new SetupError(`equivalent.json names what a test has found:\n${told}`);
  }
  if (100 * found < LEAST_SCORE * (found + survivors.length)) {
    throw new SetupError(`fewer than ${LEAST_SCORE}% are found`);
  }
});

'use strict';

// A copy of the engine with all its mutants (`crates/mutator`), built once, and its tests.

const { execFileSync, spawn, spawnSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const { SetupError, announce, root } = require('../tools/setup.js');

const ENGINE = path.join(root, 'crates', 'engine');
const FOLDER = path.join(process.env.CARGO_TARGET_DIR ?? path.join(root, 'target'), 'mutants');

/** What is wrong where no test has failed, and none has ended. */
const TIMEOUT = 'a timeout';

/** In KiB: what a test may use while a mutant makes it collect without end. */
const MOST_MEMORY = 6 * 1024 * 1024;
/** In seconds of a processor: without a mutant the longest test takes a fifth of that. */
const MOST_TIME = 30;
/** Of cargo check: each leaves out what the compiler has complained of. */
const MOST_ROUNDS = 20;
const MOST_OUTPUT = 2 ** 30;
/** Of what a test program says, in characters: room for the line of a test. */
const MOST_TOLD = 10_000;

/** Every state of small systems takes too long for each mutant; what these use of the engine, others use too. */
const TOO_LONG = ['model', 'permits', 'shared', 'tokens'];
/** The simulation's other tests are about the simulation. */
const OF_SIMULATION = [
  'no_schedule_violates_an_invariant',
  'seeds_that_have_found_something_find_it_no_more',
];
/** Schedules of the simulation for each mutant. */
const SCHEDULES = process.env.SCHEDULES ?? '2000';

/** The manifest of the copy, which is a workspace of its own. */
function manifest() {
  const workspace = fs.readFileSync(path.join(root, 'Cargo.toml'), 'utf8');
  const inherited = (_, key) => new RegExp(`^${key} = .*$`, 'm').exec(workspace)[0];
  const own = fs.readFileSync(path.join(ENGINE, 'Cargo.toml'), 'utf8');
  return `${own
    .replace('[lints]\nworkspace = true', '[lints.rust]\nwarnings = "allow"')
    .replace(/^([\w-]+)\.workspace = true$/gm, inherited)}
[workspace]

[profile.test]
opt-level = 3
debug = false
`;
}

/** Writes the copy without these sites. Tells the mutants, and where which site stands. */
function copy(leftOut) {
  const args = ['run', '--quiet', '--locked', '--package', 'redsync-mutator', '--'];
  const folders = [path.join(ENGINE, 'src'), path.join(FOLDER, 'src')];
  const printed = execFileSync('cargo', [...args, ...folders, ...leftOut], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: MOST_OUTPUT,
  });
  const mutants = [];
  const ranges = [];
  for (const line of printed.trimEnd().split('\n')) {
    const [what, ...fields] = line.split('\t');
    if (what === 'range') {
      const [file, start, end, site] = fields;
      ranges.push({ file, start: Number(start), end: Number(end), site: Number(site) });
    } else {
      const [number, site, file, at, where, original, mutated] = fields;
      const place = { number: Number(number), site: Number(site), file, line: Number(at) };
      mutants.push({ ...place, function: where, original, mutated });
    }
  }
  return { mutants, ranges };
}

/** What cargo says as JSON. */
function cargo(args) {
  const { status, stdout, stderr } = spawnSync('cargo', [...args, '--message-format=json'], {
    cwd: FOLDER,
    encoding: 'utf8',
    maxBuffer: MOST_OUTPUT,
    env: { ...process.env, CARGO_TARGET_DIR: path.join(FOLDER, 'target') },
  });
  const messages = stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
  return { succeeded: status === 0, messages, stderr };
}

/** The smallest sites that the compiler's errors are in. */
function sitesOf(messages, ranges) {
  const sites = new Set();
  for (const { message } of messages) {
    if (message?.level !== 'error' || message.spans.length === 0) continue;
    const spans = message.spans.map((span) => {
      while (span.expansion && !span.file_name.startsWith('src')) ({ span } = span.expansion);
      return { ...span, file: path.basename(span.file_name) };
    });
    const { file, byte_start: start, byte_end: end } = spans.find((span) => span.is_primary);
    const size = (range) => range.end - range.start;
    const [first] = ranges
      .filter((range) => range.file === file && range.start <= start && end <= range.end)
      .sort((one, other) => size(one) - size(other));
    if (!first) throw new SetupError(`no mutant is to blame:\n${message.rendered}`);
    sites.add(first.site);
  }
  return sites;
}

/** Of the engine's source. */
function digest() {
  const hash = createHash('sha256');
  const source = path.join(ENGINE, 'src');
  for (const file of fs.readdirSync(source).sort())
    hash.update(fs.readFileSync(path.join(source, file)));
  return hash.digest('hex');
}

/** What was kept for as long as `key` is what it was. */
function recall(name, key) {
  const file = path.join(FOLDER, name);
  if (!fs.existsSync(file)) return undefined;
  const kept = JSON.parse(fs.readFileSync(file, 'utf8'));
  return kept.key === key ? kept.value : undefined;
}

function keep(name, key, value) {
  fs.writeFileSync(path.join(FOLDER, name), JSON.stringify({ key, value }));
}

/** Makes the copy, without the mutants that do not compile. */
function make() {
  fs.mkdirSync(FOLDER, { recursive: true });
  fs.rmSync(path.join(FOLDER, 'tests'), { recursive: true, force: true });
  fs.writeFileSync(path.join(FOLDER, 'Cargo.toml'), manifest());
  fs.cpSync(path.join(root, 'Cargo.lock'), path.join(FOLDER, 'Cargo.lock'));
  const keepDates = { recursive: true, preserveTimestamps: true };
  fs.cpSync(path.join(ENGINE, 'tests'), path.join(FOLDER, 'tests'), keepDates);
  const source = digest();
  const leftOut = new Set(recall('left-out.json', source));
  for (let round = 1; round <= MOST_ROUNDS; round++) {
    const { mutants, ranges } = copy(leftOut);
    announce(`${mutants.length} mutants, round ${round}, without ${leftOut.size} places`);
    const { succeeded, messages, stderr } = cargo(['check', '--lib']);
    if (succeeded) {
      keep('left-out.json', source, [...leftOut]);
      return mutants.map((it) => ({ ...it, isViable: !leftOut.has(it.site) }));
    }
    const wrong = sitesOf(messages, ranges);
    if (wrong.size === 0) throw new SetupError(`the copy does not compile:\n${stderr}`);
    for (const site of wrong) leftOut.add(site);
  }
  throw new SetupError(`the copy does not compile after ${MOST_ROUNDS} rounds`);
}

/** The test programs of the copy. */
function build() {
  announce('cargo test --no-run');
  const names = fs.readdirSync(path.join(FOLDER, 'tests')).map((file) => path.parse(file).name);
  const meant = names.filter((name) => name !== 'support' && !TOO_LONG.includes(name));
  const chosen = meant.flatMap((name) => ['--test', name]);
  const { succeeded, messages, stderr } = cargo(['test', '--no-run', '--lib', ...chosen]);
  if (!succeeded) throw new SetupError(`the tests do not compile:\n${stderr}`);
  return messages
    .filter(({ executable }) => executable)
    .map(({ target, executable }) => ({ name: target.name, executable }));
}

/** Runs tests of a program. Resolves with what has failed, if anything has: a test, or how it has ended. */
function execute({ executable }, tests, { env = {}, timeout } = {}) {
  const command = `ulimit -v ${MOST_MEMORY}; ulimit -t ${MOST_TIME}; exec "$0" "$@"`;
  const args = ['-c', command, executable, '--exact', '--test-threads=1', ...tests];
  const start = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn('sh', args, {
      cwd: FOLDER,
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout,
      killSignal: 'SIGKILL',
      env: { ...process.env, RUST_BACKTRACE: '0', SCHEDULES, ...env },
    });
    let output = '';
    let failed;
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      output = (output + chunk).slice(-MOST_TOLD);
      failed ??= /^test (\S+) \.\.\. FAILED/m.exec(output)?.[1];
      if (failed) child.kill('SIGKILL'); // one is enough
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const took = performance.now() - start;
      const isLate = took >= (timeout ?? Infinity);
      const wrong =
        code !== 0 ? (failed ?? (isLate ? TIMEOUT : `ended by ${signal ?? code}`)) : undefined;
      resolve({ wrong, took });
    });
  });
}

function testsOf({ name, executable }) {
  const printed = execFileSync(executable, ['--list'], { cwd: FOLDER, encoding: 'utf8' });
  const tests = [...printed.matchAll(/^(.*): test$/gm)].map(([, test]) => test);
  return name === 'simulation' ? tests.filter((test) => OF_SIMULATION.includes(test)) : tests;
}

/** Runs one test without a mutant: how long it takes, in ms, and which mutants it reaches. */
async function measure(program, test) {
  const file = path.join(FOLDER, `reached-${program.name}-${test}`);
  fs.rmSync(file, { force: true });
  const { wrong, took } = await execute(program, [test], { env: { REACHED: file } });
  if (wrong) throw new SetupError(`${program.name}: ${test} fails without a mutant`);
  const reached = fs.existsSync(file) ? fs.readFileSync(file, 'utf8').trimEnd().split('\n') : [];
  fs.rmSync(file, { force: true });
  return { test, took, reached: reached.map(Number) };
}

/** The same for all tests of a program, unless it was done for this very one. */
async function measureAll(program) {
  const name = `measured-${program.name}.json`;
  const key = `${program.executable} ${fs.statSync(program.executable).mtimeMs}`;
  let measured = recall(name, key);
  if (!measured) {
    measured = [];
    for (const test of testsOf(program)) measured.push(await measure(program, test));
    keep(name, key, measured);
  }
  return measured.map((it) => ({ ...it, program, reached: new Set(it.reached) }));
}

module.exports = { FOLDER, TIMEOUT, build, execute, make, measureAll };

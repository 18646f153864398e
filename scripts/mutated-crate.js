'use strict';

// A copy of a crate with all mutants of one of its folders (`crates/mutator`), built once.

const { execFileSync, spawn, spawnSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const { lifeline } = require('../tools/lifeline.js');
const { SetupError, announce, root } = require('../tools/setup.js');

const MADE = path.join(process.env.CARGO_TARGET_DIR ?? path.join(root, 'target'), 'mutants');

/** What is wrong where no test has failed, and none has ended. */
const TIMEOUT = 'a timeout';

/** Of cargo check: each leaves out what the compiler has complained of. */
const MOST_ROUNDS = 20;
const MOST_OUTPUT = 2 ** 30;
/** Of what a test program says, in characters: room for the line of a test. */
const MOST_TOLD = 10_000;

/** The one line of a text that begins with `key =`. */
function lineOf(text, key) {
  return new RegExp(`^${key} = .*$`, 'm').exec(text)[0];
}

/** The mutants of one folder of a crate. */
class MutatedCrate {
  /**
   * @param {object} crate
   * @param {string} crate.name of it among the mutated ones
   * @param {string} crate.folder where it is, from the root
   * @param {string} crate.mutated which folder of its `src` is mutated; '' for that itself
   * @param {string[]} crate.beside what is copied beside `src`
   * @param {string} crate.profiles of the copy's manifest
   */
  constructor({ name, folder, mutated, beside, profiles }) {
    this.name = name;
    this.folder = path.join(MADE, name);
    this.source = path.join(root, folder);
    this.mutated = mutated;
    this.beside = beside;
    this.profiles = profiles;
  }

  /** Makes the copy, without the mutants that do not compile. Tells all. */
  make() {
    fs.mkdirSync(this.folder, { recursive: true });
    fs.writeFileSync(path.join(this.folder, 'Cargo.toml'), this.#manifest());
    fs.cpSync(path.join(root, 'Cargo.lock'), path.join(this.folder, 'Cargo.lock'));
    for (const name of this.beside) {
      const to = path.join(this.folder, name);
      fs.rmSync(to, { recursive: true, force: true });
      const keepDates = { recursive: true, preserveTimestamps: true };
      fs.cpSync(path.join(this.source, name), to, keepDates);
    }
    const source = this.#digest();
    const leftOut = new Set(this.recall('left-out.json', source));
    for (let round = 1; round <= MOST_ROUNDS; round++) {
      const { mutants, ranges } = this.#copy(leftOut);
      announce(`${mutants.length} mutants, round ${round}, without ${leftOut.size} places`);
      const { succeeded, messages, stderr } = this.cargo(['check', '--lib']);
      if (succeeded) {
        this.keep('left-out.json', source, [...leftOut]);
        return mutants.map((it) => ({ ...it, isViable: !leftOut.has(it.site) }));
      }
      const wrong = sitesOf(messages, ranges);
      if (wrong.size === 0) throw new SetupError(`the copy does not compile:\n${stderr}`);
      for (const site of wrong) leftOut.add(site);
    }
    throw new SetupError(`the copy does not compile after ${MOST_ROUNDS} rounds`);
  }

  /** What cargo does with the copy. */
  cargo(args) {
    const { status, stdout, stderr } = spawnSync('cargo', [...args, '--message-format=json'], {
      cwd: this.folder,
      encoding: 'utf8',
      maxBuffer: MOST_OUTPUT,
      env: { ...process.env, CARGO_TARGET_DIR: path.join(this.folder, 'target') },
    });
    const messages = stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line));
    return { succeeded: status === 0, messages, stderr };
  }

  /** The programs that cargo makes of the copy's tests. */
  testPrograms(args) {
    announce('cargo test --no-run');
    const { succeeded, messages, stderr } = this.cargo(['test', '--no-run', ...args]);
    if (!succeeded) throw new SetupError(`the tests do not compile:\n${stderr}`);
    return messages
      .filter(({ executable }) => executable)
      .map(({ target, executable }) => new TestProgram(target.name, executable, this.folder));
  }

  /** What was kept for as long as `key` is what it was. */
  recall(name, key) {
    const file = path.join(this.folder, name);
    if (!fs.existsSync(file)) return undefined;
    const kept = JSON.parse(fs.readFileSync(file, 'utf8'));
    return kept.key === key ? kept.value : undefined;
  }

  keep(name, key, value) {
    fs.writeFileSync(path.join(this.folder, name), JSON.stringify({ key, value }));
  }

  /**
   * Runs each test of a program without a mutant, unless that was done for this very one: how long it takes, in ms, and
   * which mutants it reaches.
   */
  async measure(program) {
    const name = `measured-${program.name}.json`;
    const key = `${program.file} ${fs.statSync(program.file).mtimeMs}`;
    let measured = this.recall(name, key);
    if (!measured) {
      measured = [];
      for (const test of program.tests()) measured.push(await this.#measureOne(program, test));
      this.keep(name, key, measured);
    }
    return measured.map((it) => ({ ...it, program, reached: new Set(it.reached) }));
  }

  async #measureOne(program, test) {
    const file = path.join(this.folder, `reached-${program.name}`);
    fs.rmSync(file, { force: true });
    const { wrong, took } = await program.execute([test], { env: { REACHED: file } });
    if (wrong) throw new SetupError(`${program.name}: ${test} fails without a mutant: ${wrong}`);
    const reached = fs.existsSync(file) ? fs.readFileSync(file, 'utf8').trimEnd().split('\n') : [];
    fs.rmSync(file, { force: true });
    // Several processes may have told.
    return { test, took, reached: [...new Set(reached.map(Number))] };
  }

  /** The manifest of the copy, which is a workspace of its own. */
  #manifest() {
    const workspace = fs.readFileSync(path.join(root, 'Cargo.toml'), 'utf8');
    const own = fs.readFileSync(path.join(this.source, 'Cargo.toml'), 'utf8');
    const ofCrate = own.split(/^(?=\[)/m).filter((it) => !/^\[(workspace|profile)\b/.test(it));
    const crate = ofCrate
      .join('')
      .replace('[lints]\nworkspace = true', '[lints.rust]\nwarnings = "allow"')
      .replace(/^([\w-]+)\.workspace = true$/gm, (_, key) => lineOf(workspace, key))
      .replace(/path = "crates\//g, `path = "${root}/crates/`);
    return `${crate}\n[workspace]\n${this.profiles}`;
  }

  /** Writes the copy without these sites. Tells the mutants, and where which site stands. */
  #copy(leftOut) {
    const args = ['run', '--quiet', '--locked', '--package', 'redsync-mutator', '--'];
    const folders = [path.join(this.source, 'src'), path.join(this.folder, 'src'), this.mutated];
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
        const place = { number: Number(number), site: Number(site), line: Number(at) };
        mutants.push({ ...place, file: path.basename(file), function: where, original, mutated });
      }
    }
    return { mutants, ranges };
  }

  /** Of the source. */
  #digest() {
    const hash = createHash('sha256');
    const source = path.join(this.source, 'src');
    const files = fs.readdirSync(source, { recursive: true, withFileTypes: true });
    const paths = files.filter((it) => it.isFile()).map((it) => path.join(it.parentPath, it.name));
    for (const file of paths.sort()) hash.update(fs.readFileSync(file));
    return hash.digest('hex');
  }
}

/** The smallest sites that the compiler's errors are in, or else all between the places that an error tells of. */
function sitesOf(messages, ranges) {
  const sites = new Set();
  for (const { message } of messages) {
    if (message?.level !== 'error' || message.spans.length === 0) continue;
    const spans = message.spans.map((span) => {
      while (span.expansion && !span.file_name.startsWith('src')) ({ span } = span.expansion);
      return { ...span, file: path.relative('src', span.file_name) };
    });
    const { file, byte_start: start, byte_end: end } = spans.find((span) => span.is_primary);
    const size = (range) => range.end - range.start;
    const [first] = ranges
      .filter((range) => range.file === file && range.start <= start && end <= range.end)
      .sort((one, other) => size(one) - size(other));
    if (first) {
      sites.add(first.site);
      continue;
    }
    const told = spans.filter((span) => span.file === file);
    const from = Math.min(...told.map((span) => span.byte_start));
    const to = Math.max(...told.map((span) => span.byte_end));
    const between = ranges.filter(
      (range) => range.file === file && from <= range.start && range.end <= to,
    );
    if (between.length === 0) {
      throw new SetupError(`no mutant is to blame:\n${message.rendered}`);
    }
    for (const { site } of between) sites.add(site);
  }
  return sites;
}

/** Ends a program and all that it has started. */
function end({ pid }) {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** Runs a program of tests. Resolves with what has failed, if anything has: what `failureIn` finds, or how it has ended. */
function execute(command, args, { failureIn, cwd, env, timeout }) {
  const start = performance.now();
  return new Promise((resolve, reject) => {
    const [program, ...rest] = [...lifeline(), command, ...args];
    const child = spawn(program, rest, {
      cwd,
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true, // a group of its own
      env: { ...process.env, ...env },
    });
    const timer = timeout && setTimeout(() => end(child), timeout);
    let output = '';
    let failed;
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      output = (output + chunk).slice(-MOST_TOLD);
      failed ??= failureIn(output);
      if (failed) end(child); // one is enough
    });
    child.on('error', reject);
    child.on('exit', () => end(child));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const took = performance.now() - start;
      const isLate = took >= (timeout ?? Infinity);
      const wrong =
        code !== 0 ? (failed ?? (isLate ? TIMEOUT : `ended by ${signal ?? code}`)) : undefined;
      resolve({ wrong, took });
    });
  });
}

/** In KiB: what a test may use while a mutant makes it collect without end. */
const MOST_MEMORY = 6 * 1024 * 1024;
/** In seconds of a processor: without a mutant the longest test takes a fifth of that. */
const MOST_TIME = 30;

/** A program that cargo has made of tests. */
class TestProgram {
  /** The tests that are meant; all if undefined. @type {string[] | undefined} */
  chosen;

  /** What it is told. */
  env = {};

  /** So many times as long as without a mutant is waited for a test. */
  patience = 10;

  constructor(name, file, cwd) {
    this.name = name;
    this.file = file;
    this.cwd = cwd;
  }

  tests() {
    if (this.chosen) return this.chosen;
    const printed = execFileSync(this.file, ['--list'], { cwd: this.cwd, encoding: 'utf8' });
    return [...printed.matchAll(/^(.*): test$/gm)].map(([, test]) => test);
  }

  execute(tests, { env = {}, timeout } = {}) {
    const command = `ulimit -v ${MOST_MEMORY}; ulimit -t ${MOST_TIME}; exec "$0" "$@"`;
    const args = ['-c', command, this.file, '--exact', '--test-threads=1', ...tests];
    return execute('sh', args, {
      failureIn: (output) => /^test (\S+) \.\.\. FAILED/m.exec(output)?.[1],
      cwd: this.cwd,
      env: { RUST_BACKTRACE: '0', ...this.env, ...env },
      timeout,
    });
  }
}

module.exports = { MutatedCrate, TIMEOUT, execute };

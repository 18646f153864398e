'use strict';

// `npm run test:memory`: see HELP.

const { spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');

const { count, readNames } = require('../tools/command-line.js');
const setup = require('../tools/setup.js');

const { SetupError, announce, main, root, run } = setup;

const DEFAULTS = { rounds: 3 };

const HELP = `Usage: npm run test:memory -- [options] [way ...]

Watches the memory of the addon, and what its threads do with it. Ends with an error as soon as a way has found
something. Runs on Linux; installs a nightly Rust and Valgrind if they are missing.

  address       AddressSanitizer: the addon's tests, and Node.js with the addon at work (scripts/exercise.js)
  valgrind      Valgrind: Node.js with the addon at work; it sees reads of what was never written, and leaks
  threads       ThreadSanitizer: several event loops beside the engine thread (src/binding/races.rs), and Node.js
                with the addon at work
  orders        loom: every order of what two threads do with an outbox (src/binding/interleavings.rs)

  --rounds N    of the work in Node.js, on nodes of every kind (default ${DEFAULTS.rounds}; Valgrind makes one)
  --help        prints this
`;

const NIGHTLY = '+nightly';
const TARGET = process.env.CARGO_TARGET_DIR ?? path.join(root, 'target');
const MADE = path.join(TARGET, 'memory');

/** A build of debug for its assertions, quick enough to be watched, with what tells a line from an address. */
const PROFILE = { CARGO_PROFILE_DEV_OPT_LEVEL: '1', CARGO_PROFILE_DEV_DEBUG: 'line-tables-only' };

/** What Node.js is given to do. */
const WORK = { workers: 10, calls: 200, hostile: 10_000 };
const SLOW_WORK = { rounds: 1, workers: 5, calls: 20, hostile: 200 };

function output(command, ...args) {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}

function requireNightly() {
  setup.requireCargo();
  if (output('rustc', NIGHTLY, '--version') === undefined) {
    run('rustup', ['toolchain', 'install', 'nightly', '--profile', 'minimal']);
  }
  run('rustup', ['component', 'add', 'rust-src', '--toolchain', 'nightly']);
}

function requireValgrind() {
  if (output('valgrind', '--version') === undefined) setup.installProgram({ apt: 'valgrind' });
  if (output('valgrind', '--version') === undefined) {
    throw new SetupError('valgrind was not found and could not be installed by apt-get');
  }
}

function triple() {
  return /^host: (.*)$/m.exec(output('rustc', '-vV'))[1];
}

/** Runs cargo for this machine, but not for what only builds: what is watched is watched alone. */
function cargo(command, { flags, nightly = [] }, options, env = {}) {
  run(
    'cargo',
    [...nightly, command, '--locked', '--target', triple(), '--package', 'redsync', ...options],
    {
      ...PROFILE,
      CARGO_TARGET_DIR: TARGET,
      RUSTFLAGS: `${flags} --cfg system_allocator -Cforce-frame-pointers=yes`,
      ...env,
    },
  );
}

/** The addon as it is to be watched, where the loader is told to look for it. */
function buildAddon(way, how, options = []) {
  cargo('build', how, options);
  const addon = path.join(MADE, `${way}.node`);
  fs.mkdirSync(MADE, { recursive: true });
  fs.copyFileSync(path.join(TARGET, triple(), 'debug', 'libredsync.so'), addon);
  return addon;
}

/** The runtime of a sanitizer as a library, for a program that was built without one: gcc has it. */
function runtime(name) {
  const library = output('cc', `-print-file-name=lib${name}.so`);
  // What is not there is printed as it was asked for.
  if (!path.isAbsolute(library ?? '')) throw new SetupError(`cc has no lib${name}.so: install gcc`);
  return fs.realpathSync(library);
}

/** Functions of ThreadSanitizer that Rust calls and gcc does not: they do what they are named after, watched. */
const TSAN_MEMORY = `#include <string.h>
void *__tsan_memcpy(void *to, const void *from, size_t n) { return memcpy(to, from, n); }
void *__tsan_memmove(void *to, const void *from, size_t n) { return memmove(to, from, n); }
void *__tsan_memset(void *to, int byte, size_t n) { return memset(to, byte, n); }
`;

function tsanMemory() {
  const source = path.join(MADE, 'tsan-memory.c');
  const library = path.join(MADE, 'tsan-memory.so');
  fs.writeFileSync(source, TSAN_MEMORY);
  run('cc', ['-shared', '-fPIC', '-fno-builtin', '-o', library, source]);
  return library;
}

/** Has a Node.js that is started so do the work with the addon, on servers that nobody watches. */
async function exercise(addon, work, { before = [], env = {} } = {}) {
  const { startServers } = require('../tools/redis-servers.js');
  const servers = await startServers(3);
  const urls = servers.map(({ url }) => url);
  const [command, ...args] = [
    ...before,
    process.execPath,
    '--expose-gc',
    '--no-warnings', // of locks that are forgotten on purpose
    path.join(__dirname, 'exercise.js'),
    JSON.stringify({ urls, addon, ...work }),
  ];
  announce(`${path.basename(command)} ${path.basename(addon)}`);
  const start = performance.now();
  const child = spawn(command, args, {
    stdio: 'inherit',
    env: { ...process.env, NAPI_RS_NATIVE_LIBRARY_PATH: addon, ...env },
  });
  const [status, signal] = await once(child, 'exit');
  await Promise.all(servers.map((server) => server.stop()));
  if (status !== 0)
    throw new SetupError(`${path.basename(addon)}: see above (${signal ?? status})`);
  console.log(`${((performance.now() - start) / 1000).toFixed(0)} s`);
}

async function address({ rounds }) {
  requireNightly();
  const how = { flags: '-Zsanitizer=address', nightly: [NIGHTLY] };
  cargo('test', how, ['--lib'], { ASAN_OPTIONS: 'quarantine_size_mb=8' }); // tests look at what is resident
  const addon = buildAddon('address', how);
  // What Node.js leaks by the end is its own; Valgrind tells whose.
  const env = { LD_PRELOAD: runtime('asan'), ASAN_OPTIONS: 'detect_leaks=0' };
  await exercise(addon, { ...WORK, rounds }, { env });
}

const VALGRIND = [
  'valgrind',
  '--smc-check=all-non-file', // V8 writes code
  '--fair-sched=yes',
  '--error-limit=no',
  '--num-callers=50',
  '--leak-check=full',
  '--show-leak-kinds=definite',
  '--xml=yes',
];

/**
 * What napi-rs leaves: for each environment a reference to each class (40 bytes, of Node.js); and at the end of the process, for
 * the objects that are there, what was to be called when they go (32 bytes each), for it forgets them before Node.js ends them.
 */
const KNOWN_LEAK =
  /<kind>Leak_[^]*<fn>(napi_create_reference<[^]*<fn>[^<]*register_classes|_construct&lt;[^<]*::Engine&gt;)/;

async function valgrind() {
  setup.requireCargo();
  requireValgrind();
  const addon = buildAddon('valgrind', { flags: '' });
  const file = path.join(MADE, 'valgrind.xml');
  await exercise(addon, SLOW_WORK, { before: [...VALGRIND, `--xml-file=${file}`] });
  const report = fs.readFileSync(file, 'utf8');
  if (!report.includes('<state>FINISHED</state>'))
    throw new SetupError('Valgrind has not finished');
  const errors = report.match(/<error>[^]*?<\/error>/g) ?? [];
  const unknown = errors.filter((error) => !KNOWN_LEAK.test(error));
  console.log(`Valgrind: ${errors.length - unknown.length} leaks of napi-rs that are known`);
  judge('Valgrind', unknown, /./, addon, readable);
}

/** An error of Valgrind as its text has it. */
function readable(error) {
  const lines = error.matchAll(/<(kind|text|auxwhat|what|fn|obj|file|line)>([^]*?)<\/\1>/g);
  return Array.from(lines, ([, kind, text]) => {
    if (kind === 'fn') return `    ${text}`;
    return ['file', 'line', 'obj'].includes(kind) ? `      ${text}` : text;
  }).join('\n');
}

async function threads({ rounds }) {
  requireNightly();
  // The standard library, too: what it does unseen would look like a race.
  const how = { flags: '-Zsanitizer=thread', nightly: [NIGHTLY] };
  const options = ['-Zbuild-std'];
  cargo('test', how, [...options, '--lib', 'races'], { ROUNDS: '100' });
  const addon = buildAddon('threads', how, options);
  const log = path.join(MADE, 'threads.log');
  removeAll(log);
  const env = {
    LD_PRELOAD: `${runtime('tsan')} ${tsanMemory()}`,
    TSAN_OPTIONS: `log_path=${log} exitcode=0 history_size=7`,
  };
  // Older runtimes know where programs lie in memory.
  await exercise(addon, { ...WORK, rounds }, { before: ['setarch', '--addr-no-randomize'], env });
  const reports = filesOf(log).flatMap((file) => fs.readFileSync(file, 'utf8').split(/^={18}$/m));
  judge('ThreadSanitizer', reports, /^WARNING/m, path.basename(addon), (report) => report);
}

function filesOf(log) {
  const [folder, name] = [path.dirname(log), path.basename(log)];
  return fs.readdirSync(folder).filter((each) => each.startsWith(name)).map((each) => path.join(folder, each)); // prettier-ignore
}

function removeAll(log) {
  for (const file of filesOf(log)) fs.rmSync(file);
}

/** Node.js was not built to be watched, and has errors that are none: those count that name the addon. */
function judge(watcher, reports, isError, addon, readable) {
  const errors = reports.filter((report) => isError.test(report));
  const ours = errors.filter((report) => report.includes(addon));
  for (const error of ours) console.error(readable(error));
  if (ours.length > 0)
    throw new SetupError(`${watcher}: ${ours.length} about the addon, see above`);
  console.log(`${watcher}: nothing about the addon, ${errors.length} about Node.js by itself`);
}

function orders() {
  setup.requireCargo();
  cargo('test', { flags: '' }, [
    '--features',
    'loom',
    '--lib',
    'interleavings',
    '--',
    '--nocapture',
  ]);
}

const WAYS = { address, valgrind, threads, orders };

main(async () => {
  const { values, names } = readNames(Object.keys(WAYS), {
    rounds: { type: 'string', default: `${DEFAULTS.rounds}` },
    help: { type: 'boolean' },
  });
  if (values.help) return console.log(HELP);
  if (process.platform !== 'linux') throw new SetupError('the sanitizers and Valgrind need Linux');
  const rounds = count(values.rounds, '--rounds');
  setup.install();
  setup.requireRedisServer();
  for (const name of names) await WAYS[name]({ rounds });
});

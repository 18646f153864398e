'use strict';

// What a fresh machine with Node.js and Rust lacks, and how the tools run programs. It runs before any
// install, so it uses Node's built-ins only.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const root = path.join(__dirname, '..');
const ADDON_SOURCES = ['Cargo.toml', 'Cargo.lock', 'build.rs', 'src', 'crates'];
const NODE_MAJOR = 20;
const POSTGRES_BREW = 'postgresql@17';
/** Is there when the addon is a debug build. */
const DEBUG_MARK = path.join(root, 'target', 'addon-is-debug');

/** A missing tool or a failed command: told to the user in one line, without a stack. */
class SetupError extends Error {}

function announce(step) {
  console.log(`> ${step}`);
}

/** Runs a program with its output shown. Throws if it could not start or did not succeed. */
function run(command, args, env = {}) {
  announce([path.basename(command), ...args].join(' '));
  const { status, signal, error } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  if (error) throw new SetupError(`${command} could not be started: ${error.message}`);
  if (status !== 0) {
    throw new SetupError(`${path.basename(command)} ${args[0]} failed (${signal || status})`);
  }
}

function succeeds(command, args = ['--version']) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

/** A program that a dev dependency brings. */
function bin(name) {
  return path.join(root, 'node_modules', '.bin', name);
}

function modified(file) {
  const stat = fs.statSync(path.join(root, file), { throwIfNoEntry: false });
  return stat ? stat.mtimeMs : 0;
}

/** The files at or below `entry`, relative to the root; build output is not a source. */
function filesBelow(entry) {
  const stat = fs.statSync(path.join(root, entry), { throwIfNoEntry: false });
  if (!stat) return [];
  if (!stat.isDirectory()) return [entry];
  return fs
    .readdirSync(path.join(root, entry))
    .filter((name) => name !== 'target' && name !== 'tests' && name !== 'proptest-regressions')
    .flatMap((name) => filesBelow(path.join(entry, name)));
}

function requireNode() {
  const major = Number(process.versions.node.split('.')[0]);
  if (major >= NODE_MAJOR) return;
  throw new SetupError(`Node.js ${NODE_MAJOR} or newer is needed, this is ${process.version}`);
}

function requireCargo() {
  if (succeeds('cargo')) return;
  // A shell that was open while rustup ran does not have cargo on its PATH yet.
  const home = path.join(process.env.CARGO_HOME || path.join(os.homedir(), '.cargo'), 'bin');
  process.env.PATH = `${home}${path.delimiter}${process.env.PATH}`;
  if (succeeds('cargo')) return;
  throw new SetupError('cargo was not found: install Rust from https://rustup.rs and try again');
}

/** Installs the locked dependencies of a folder, relative to the root, unless they already match its lock file. */
function install(folder = '') {
  requireNode();
  // npm writes this file last, so an interrupted install does not count.
  const record = path.join(folder, 'node_modules', '.package-lock.json');
  const installed = modified(record);
  if (installed && installed >= modified(path.join(folder, 'package-lock.json'))) return;
  run('npm', ['ci', '--prefix', path.join(root, folder), '--loglevel', 'error']);
  // npm may keep the dates of what it unpacks; this one says when the install was complete.
  const now = new Date();
  fs.utimesSync(path.join(root, record), now, now);
}

function isDebugBuild() {
  return fs.existsSync(DEBUG_MARK);
}

function isBuilt() {
  const addons = fs
    .readdirSync(root)
    .filter((name) => name.endsWith('.node'))
    .map(modified);
  if (addons.length === 0 || !modified('native.js') || !modified('native.d.ts')) return false;
  const newest = Math.max(...ADDON_SOURCES.flatMap(filesBelow).map(modified));
  return Math.max(...addons) >= newest;
}

/**
 * Builds the addon and its generated loader unless they are newer than every Rust source. A build with
 * `debug` is made sooner and runs slower: it is never taken for one without.
 */
function build({ debug = false } = {}) {
  if (isBuilt() && (debug || !isDebugBuild())) return;
  requireCargo();
  run(bin('napi'), [
    'build',
    '--platform',
    ...(debug ? [] : ['--release']),
    '--js',
    'native.js',
    '--dts',
    'native.d.ts',
    '--',
    '--locked',
  ]);
  fs.mkdirSync(path.dirname(DEBUG_MARK), { recursive: true });
  if (debug) fs.writeFileSync(DEBUG_MARK, '');
  else fs.rmSync(DEBUG_MARK, { force: true });
}

const WASM = 'redsync.wasm';
const WASM_TARGET = 'wasm32-wasip1';

/** Has rustc what it takes for a WebAssembly module? It is asked for where rustup is. */
function canBuildWasm() {
  return !succeeds('rustup') || succeeds('rustup', ['target', 'add', WASM_TARGET]);
}

/** Builds the engine as a WebAssembly module, unless that is newer than every Rust source. */
function buildWasm() {
  const newest = Math.max(...ADDON_SOURCES.flatMap(filesBelow).map(modified));
  if (modified(WASM) >= newest) return;
  requireCargo();
  if (!canBuildWasm()) throw new SetupError(`rustup could not add the target ${WASM_TARGET}`);
  const folder = path.join(root, 'target');
  const options = ['--lib', '--target', WASM_TARGET, '--profile', 'wasm', '--locked'];
  run('cargo', ['build', ...options, '--target-dir', folder]);
  fs.copyFileSync(path.join(folder, WASM_TARGET, 'wasm', WASM), path.join(root, WASM));
}

function hasRedisServer() {
  return succeeds('redis-server');
}

/** A command as the administrator runs it, where that takes a word more. */
function asRoot(...command) {
  const isRoot = process.getuid?.() === 0;
  return !isRoot && succeeds('sudo') ? ['sudo', ...command] : command;
}

/** Asks the system's package manager for a program, by the names of its packages. */
function installProgram({ apt, brew }) {
  if (succeeds('apt-get')) {
    for (const args of [['update'], ['install', '--yes', '--no-install-recommends', apt]]) {
      const [command, ...rest] = asRoot('apt-get', ...args);
      run(command, rest, { DEBIAN_FRONTEND: 'noninteractive' });
    }
  } else if (succeeds('brew')) {
    run('brew', ['install', brew]);
  }
}

/** Makes sure that `redis-server` can be started, with the system's package manager if need be. */
function requireRedisServer() {
  if (hasRedisServer()) return;
  installProgram({ apt: 'redis-server', brew: 'redis' });
  if (hasRedisServer()) return;
  throw new SetupError(
    'redis-server was not found and could not be installed by apt-get or ' +
      'brew: install Redis 6.2 or newer (https://redis.io/downloads), put redis-server on the ' +
      'PATH and try again',
  );
}

/** The folder of PostgreSQL's server programs, which Debian and Homebrew keep off the PATH. */
function postgresFolder() {
  const debian = '/usr/lib/postgresql';
  const versions = fs.existsSync(debian) ? fs.readdirSync(debian).sort((a, b) => b - a) : [];
  return [
    ...process.env.PATH.split(path.delimiter),
    ...versions.map((version) => path.join(debian, version, 'bin')),
    ...['/opt/homebrew', '/usr/local'].map((home) => path.join(home, 'opt', POSTGRES_BREW, 'bin')),
  ].find((folder) =>
    ['initdb', 'postgres'].every((name) => fs.existsSync(path.join(folder, name))),
  );
}

/** Makes sure that a PostgreSQL server can be started. */
function requirePostgres() {
  if (postgresFolder()) return;
  installProgram({ apt: 'postgresql', brew: POSTGRES_BREW });
  if (postgresFolder()) return;
  throw new SetupError(
    'PostgreSQL was not found and could not be installed by apt-get or brew: install it ' +
      '(https://www.postgresql.org/download), put initdb and postgres on the PATH and try again',
  );
}

/** Runs a script's main function; a SetupError ends it with its message alone. */
async function main(body) {
  try {
    await body();
  } catch (error) {
    console.error(error instanceof SetupError ? `\n${error.message}` : error);
    process.exitCode = 1;
  }
}

module.exports = {
  SetupError,
  WASM,
  WASM_TARGET,
  announce,
  asRoot,
  bin,
  build,
  buildWasm,
  canBuildWasm,
  hasRedisServer,
  install,
  installProgram,
  main,
  postgresFolder,
  requireCargo,
  requirePostgres,
  requireRedisServer,
  root,
  run,
};

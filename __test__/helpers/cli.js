'use strict';

// The command line, in a process of its own.

const { spawn, spawnSync } = require('node:child_process');
const path = require('node:path');

const { Redsync } = require('../../index.js');
const { until } = require('./async.js');

const BIN = path.join(__dirname, '..', '..', 'cli', 'redsync.js');
const TIMEOUT = 60_000;

/** Nothing of what the tests themselves are run by. */
const CLEAN = { REDSYNC_NODES: '', REDSYNC_LOCK: '', REDSYNC_PREFIX: '' };

/** Starts the command line in a process of its own. */
function start(t, args, env, options) {
  return startProgram(t, [process.execPath, BIN, ...args], env, options);
}

/** Starts it without a terminal, also where the tests have one. */
function startApart(t, args, env) {
  return start(t, args, env, { detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
}

/** `script`, of util-linux, gives a command a terminal. */
const hasTerminals = /util-linux/.test(spawnSync('script', ['--version']).stdout ?? '');

/**
 * Starts it at a terminal: what is written to its input is typed, and all that it prints is its output. The
 * command of a shell can have `"$@"` for it.
 */
function startAtTerminal(t, args, env, command = 'exec "$@"') {
  const words = ['sh', '-c', command, 'sh', process.execPath, BIN, ...args];
  const text = `exec ${words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')}`;
  const all = ['script', '--quiet', '--return', '--command', text, '/dev/null'];
  return startProgram(t, all, { SHELL: '/bin/sh', ...env }, { stdio: ['pipe', 'pipe', 'pipe'] });
}

function startProgram(t, [command, ...args], env = {}, options = {}) {
  const child = spawn(command, args, {
    env: { ...process.env, ...CLEAN, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT,
    killSignal: 'SIGKILL',
    ...options,
  });
  t.teardown(() => child.kill('SIGKILL'));
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr']) {
    child[stream].setEncoding('utf8').on('data', (chunk) => {
      output[stream] += chunk;
    });
  }
  const ended = new Promise((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, ...output }));
  });
  return { child, output, ended, says: (text) => until(() => output.stdout.includes(text)) };
}

function redsync(t, args, env) {
  return start(t, args, env).ended;
}

function environment(servers) {
  return { REDSYNC_NODES: servers.map(({ url }) => url).join(',') };
}

/** A program for `run`, in JavaScript. */
function program(code) {
  return ['--', process.execPath, '-e', code];
}

const NODE = ['--node', 'memory:'];

/** Programs: one tells of every signal that it gets, and ends when its input does; the other waits. */
const LISTENS = `
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH']) {
    process.on(signal, () => console.log(signal));
  }
  console.log("started");
  process.stdin.on("end", () => process.exit(7)).resume();
`;

const WAITS = 'console.log("started"); setInterval(() => {}, 1000);';

async function isFree(servers, key) {
  const counts = await Promise.all(servers.map((server) => server.command('EXISTS', key)));
  return counts.every((count) => count === 0);
}

/** Somebody else's lock, until the test ends. */
async function holdElsewhere(t, servers, name, options, ofRedsync) {
  const other = new Redsync(
    servers.map(({ url }) => url),
    { timeoutFactor: 0.5, ...ofRedsync },
  );
  t.teardown(() => other.close());
  return other.newMutex(name, options).lock();
}

module.exports = {
  BIN,
  LISTENS,
  NODE,
  TIMEOUT,
  WAITS,
  environment,
  hasTerminals,
  holdElsewhere,
  isFree,
  program,
  redsync,
  start,
  startApart,
  startAtTerminal,
};

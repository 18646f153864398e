'use strict';

// The command line, in a process of its own.

const { spawn } = require('node:child_process');
const path = require('node:path');

const { Redsync } = require('../../index.js');
const { until } = require('./async.js');

const BIN = path.join(__dirname, '..', '..', 'cli', 'redsync.js');
const TIMEOUT = 60_000;

/** Nothing of what the tests themselves are run by. */
const CLEAN = { REDSYNC_NODES: '', REDSYNC_LOCK: '', REDSYNC_PREFIX: '' };

/** Starts the command line in a process of its own. */
function start(t, args, env = {}, options = {}) {
  const child = spawn(process.execPath, [BIN, ...args], {
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
  NODE,
  TIMEOUT,
  WAITS,
  environment,
  holdElsewhere,
  isFree,
  program,
  redsync,
  start,
};

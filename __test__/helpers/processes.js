'use strict';

// Code in a process of its own. A body is sent as text: it sees nothing of the file that it is in.

const { spawn } = require('node:child_process');
const path = require('node:path');

const { until } = require('./async.js');

const ADDON = path.join(__dirname, '..', '..', 'index.js');
const TIMEOUT = 60_000;

/**
 * Starts `body(file, ...args)`, with the file to require. `says(line)` waits until it has printed a
 * line that begins like this, and gives the rest of it; `ended` tells how it ended. A module awaits the
 * body, and has no `require`.
 */
function startProcess({ nodeArgs = [], timeout = TIMEOUT, isModule = false } = {}, body, ...args) {
  const call = `(${body})(${[ADDON, ...args].map((arg) => JSON.stringify(arg)).join(', ')})`;
  const code = isModule ? ['--input-type=module', '-e', `await ${call}`] : ['-e', call];
  const child = spawn(process.execPath, [...nodeArgs, ...code], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout,
    killSignal: 'SIGKILL',
  });
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr']) {
    child[stream].setEncoding('utf8').on('data', (chunk) => {
      output[stream] += chunk;
    });
  }
  const running = { output, isOver: false, pid: child.pid };
  running.ended = new Promise((resolve) => {
    child.on('close', (status, signal) => {
      running.isOver = true;
      resolve({ status, signal, stdout: output.stdout.trim(), stderr: output.stderr });
    });
  });
  running.says = (beginning) =>
    until(() => {
      const lines = output.stdout.split('\n').slice(0, -1);
      const line = lines.find((each) => each.startsWith(beginning));
      if (line === undefined && running.isOver) {
        throw new Error(`ended without saying "${beginning}": ${output.stdout}${output.stderr}`);
      }
      return line !== undefined && { rest: line.slice(beginning.length).trim() };
    }).then(({ rest }) => rest);
  return running;
}

/** Runs a body until its process ends by itself. */
function runProcess(body, ...args) {
  return startProcess({}, body, ...args).ended;
}

/** The process must have ended by itself, without complaint, having printed `stdout`. */
function endedWell(t, result, stdout) {
  t.is(result.signal, null, `still running after ${TIMEOUT} ms`);
  t.is(result.stderr, '');
  t.is(result.status, 0);
  if (stdout !== undefined) t.is(result.stdout, stdout);
}

module.exports = { endedWell, runProcess, startProcess };

'use strict';

// What the benchmark needs beyond the set-up of the project: the other libraries, and the Rust
// program. Uses Node's built-ins only.

const fs = require('node:fs');
const path = require('node:path');

const setup = require('../scripts/setup.js');

function modified(file) {
  return fs.statSync(path.join(__dirname, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** Installs the locked libraries unless they already match the lock file. */
function installLibraries() {
  const record = path.join('node_modules', '.package-lock.json');
  if (modified(record) >= modified('package-lock.json')) return;
  // One of them wants a newer Node.js than the project does, but runs on this one too.
  setup.run('npm', ['ci', '--prefix', __dirname, '--loglevel', 'error']);
  const now = new Date();
  fs.utimesSync(path.join(__dirname, record), now, now);
}

function buildRust() {
  setup.requireCargo();
  const at = path.join(__dirname, 'rust');
  setup.run('cargo', [
    'build', '--release', '--locked', '--quiet',
    '--manifest-path', path.join(at, 'Cargo.toml'), '--target-dir', path.join(at, 'target'),
  ]);
}

function prepare({ withLibraries = true, withRust = false } = {}) {
  setup.install();
  setup.build();
  setup.requireRedisServer();
  if (withLibraries) installLibraries();
  if (withRust) buildRust();
}

module.exports = { prepare };

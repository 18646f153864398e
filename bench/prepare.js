'use strict';

// What the benchmark needs beyond the set-up of the project: the other libraries, the Rust
// program and the Go program. Uses Node's built-ins only.

const path = require('node:path');

const { buildGo, requireGo } = require('../tools/go.js');
const setup = require('../tools/setup.js');

/** A program on rueidislock, a library for Go. */
const RUEIDISLOCK = path.join(__dirname, 'target', 'rueidislock');

function buildRust() {
  setup.requireCargo();
  const at = path.join(__dirname, 'rust');
  setup.run('cargo', [
    'build',
    '--release',
    '--locked',
    '--quiet',
    '--manifest-path',
    path.join(at, 'Cargo.toml'),
    '--target-dir',
    path.join(at, 'target'),
  ]);
}

function prepare({ withLibraries = true, withRust = false, withGo = false } = {}) {
  setup.install();
  setup.build();
  setup.requireRedisServer();
  if (withLibraries) setup.install('bench');
  if (withRust) buildRust();
  if (withGo) {
    requireGo();
    buildGo(path.join(__dirname, 'go'), RUEIDISLOCK);
  }
}

module.exports = { RUEIDISLOCK, prepare };

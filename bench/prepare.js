'use strict';

// What the benchmark needs beyond the set-up of the project: the other libraries, and the Rust
// program. Uses Node's built-ins only.

const path = require('node:path');

const setup = require('../tools/setup.js');

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

function prepare({ withLibraries = true, withRust = false } = {}) {
  setup.install();
  setup.build();
  setup.requireRedisServer();
  if (withLibraries) setup.install('bench');
  if (withRust) buildRust();
}

module.exports = { prepare };

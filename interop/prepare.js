'use strict';

// What these tests need beyond the set-up of the project: the other libraries, and Go with a program
// on go-redsync. Uses Node's built-ins only.

const fs = require('node:fs');
const path = require('node:path');

const { buildGo, findGo, requireGo } = require('../tools/go.js');
const setup = require('../tools/setup.js');

/** Installs the other libraries, and this one beside them. */
function installLibraries() {
  setup.install('interop');
  const own = path.join(__dirname, 'node_modules', 'redsync');
  if (!fs.existsSync(own)) fs.symlinkSync(setup.root, own, 'junction');
}

/**
 * @param {{ installGo: boolean }} options
 * @returns {boolean} whether there is a Go
 */
function prepare({ installGo }) {
  setup.install();
  setup.build();
  setup.requireRedisServer();
  installLibraries();
  if (installGo) requireGo();
  const isThere = findGo();
  if (isThere) {
    buildGo(path.join(__dirname, 'go'), path.join(__dirname, 'target', 'go-redsync'));
  }
  return isThere;
}

module.exports = { prepare };

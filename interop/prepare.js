'use strict';

// What these tests need beyond the set-up of the project: the other libraries, and Go with a program
// on go-redsync. Uses Node's built-ins only.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const setup = require('../tools/setup.js');

const AT_LEAST = [1, 21]; // from which on Go fetches the version that go.mod asks for

/** Installs the other libraries, and this one beside them. */
function installLibraries() {
  setup.install('interop');
  const own = path.join(__dirname, 'node_modules', 'redsync');
  if (!fs.existsSync(own)) fs.symlinkSync(setup.root, own, 'junction');
}

function hasGo() {
  const { status, stdout } = spawnSync('go', ['env', 'GOVERSION'], { encoding: 'utf8' });
  const [, major, minor] = /^go(\d+)\.(\d+)/.exec(status === 0 ? stdout : '') ?? [];
  return Number(major) > AT_LEAST[0] || Number(minor) >= AT_LEAST[1];
}

/** Is there a Go? One that was installed by hand may not be on this shell's PATH yet. */
function findGo() {
  if (hasGo()) return true;
  const usual = ['/usr/local/go/bin', path.join(os.homedir(), 'go', 'bin')];
  process.env.PATH = [process.env.PATH, ...usual].join(path.delimiter);
  return hasGo();
}

/** Makes sure that there is a Go, with the system's package manager if need be. */
function requireGo() {
  if (findGo()) return;
  setup.installProgram({ apt: 'golang-go', brew: 'go' });
  if (hasGo()) return;
  throw new setup.SetupError(
    `Go ${AT_LEAST.join('.')} or newer was not found and could not be ` +
      'installed: get it from https://go.dev/dl, put go on the PATH and try again',
  );
}

function buildGo() {
  setup.run('go', [
    'build',
    '-C',
    path.join(__dirname, 'go'),
    '-mod=readonly',
    '-o',
    path.join(__dirname, 'target', 'go-redsync'),
    '.',
  ]);
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
  if (isThere) buildGo();
  return isThere;
}

module.exports = { prepare };

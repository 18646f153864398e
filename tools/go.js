'use strict';

// Go, and the programs in it. Uses Node's built-ins only.

const { spawnSync } = require('node:child_process');
const os = require('node:os');
const path = require('node:path');

const setup = require('./setup.js');

const AT_LEAST = [1, 21]; // from which on Go fetches the version that go.mod asks for

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

/** Builds the program of a folder. */
function buildGo(folder, program) {
  setup.run('go', ['build', '-C', folder, '-mod=readonly', '-o', program, '.']);
}

module.exports = { buildGo, findGo, requireGo };

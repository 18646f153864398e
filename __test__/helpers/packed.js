'use strict';

// The package as users get it: packed, and installed in a folder of its own.

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');

const ROOT = path.join(__dirname, '..', '..');
const run = promisify(execFile);

const shell = process.platform === 'win32';
const npm = (args, cwd) => run('npm', args, { cwd, shell });
const npx = (args, cwd, env) => run('npx', ['--yes', ...args], { cwd, shell, env });

/** A folder for what the tests of a file install; they remove it. */
function newFolder(name) {
  return fs.mkdtempSync(path.join(fs.realpathSync(os.tmpdir()), `redsync-${name}-`));
}

/** Packs this tree into a folder; gives the path of the file. */
async function pack(folder) {
  const { stdout } = await npm(['pack', '--json', '--pack-destination', folder], ROOT);
  const [{ filename }] = JSON.parse(stdout);
  return path.join(folder, filename);
}

/** Installs the packed file in a folder, with other packages, and with what its package.json asks for. */
function install(folder, file, ...others) {
  return npm(['install', '--no-audit', '--no-fund', file, ...others], folder);
}

module.exports = { ROOT, install, newFolder, npx, pack, run };

'use strict';

// promtool, with which Prometheus checks and tests rules that alert: the one on the PATH, or that of the system's package,
// which is unpacked and not installed, for it would start a server.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { asRoot, root } = require('./setup.js');

const PACKAGE = 'prometheus'; // of Debian and Ubuntu
const FOLDER = path.join(root, 'target', 'promtool');
const UNPACKED = path.join(FOLDER, 'usr', 'bin', 'promtool');

function succeeds([command, ...args]) {
  return spawnSync(command, args, { cwd: FOLDER, stdio: 'ignore' }).status === 0;
}

/** The program; `undefined` if it is neither installed nor fetched. */
function findPromtool() {
  return ['promtool', UNPACKED].find(
    (file) => spawnSync(file, ['--version'], { stdio: 'ignore' }).status === 0,
  );
}

/** Fetches it unless it is there. Without apt, or a network, it is not to be had: then `undefined`. */
function fetchPromtool() {
  const found = findPromtool();
  if (found) return found;
  fs.rmSync(FOLDER, { recursive: true, force: true });
  fs.mkdirSync(FOLDER, { recursive: true });
  const download = ['apt-get', 'download', PACKAGE];
  if (!succeeds(download) && !(succeeds(asRoot('apt-get', 'update')) && succeeds(download))) return;
  const [file] = fs.readdirSync(FOLDER).filter((name) => name.endsWith('.deb'));
  succeeds(['dpkg-deb', '--extract', file, FOLDER]);
  return findPromtool();
}

module.exports = { fetchPromtool, findPromtool };

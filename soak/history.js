'use strict';

// The program that checks the histories of locks: history/, in Go.

const { spawnSync } = require('node:child_process');
const path = require('node:path');

const { buildGo, requireGo } = require('../tools/go.js');
const { root, run } = require('../tools/setup.js');

const PROGRAM = path.join(root, 'target', 'history');

/** A checker that finds nothing would prove nothing: it is tested each time. */
function prepareHistory() {
  requireGo();
  const folder = path.join(__dirname, 'history');
  run('go', ['test', '-C', folder, '-mod=readonly', '.']);
  buildGo(folder, PROGRAM);
}

/**
 * @param {string} directory of the journals
 * @returns {{ isLinearizable: boolean, told: string }}
 */
function checkHistory(directory) {
  const { status, stdout, stderr } = spawnSync(PROGRAM, [directory], {
    encoding: 'utf8',
  });
  return { isLinearizable: status === 0, told: stdout + stderr };
}

module.exports = { checkHistory, prepareHistory };

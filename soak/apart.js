'use strict';

// A network and disks of a program's own: Linux gives them without touching those of the machine.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { lifeline } = require('../tools/lifeline.js');

const FOLDERS = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/**
 * The path of a program of the system. The PATH of `npm run` begins with those of packages, one of which is an `nft`; that of
 * a user may lack those of the administrator.
 */
function systemProgram(name) {
  const all = FOLDERS.map((folder) => path.join(folder, name));
  return all.find((file) => fs.existsSync(file)) ?? name;
}

/** As root, and as anybody who may be root in a place of his own. */
const WAYS = [[], ['--map-root-user']].map((more) => [
  systemProgram('unshare'),
  ...more,
  '--net',
  '--mount',
  'sh',
  '-c',
  `${systemProgram('ip')} link set lo up && exec "$@"`,
  'sh',
]);

/** What the soak does there; its mount is over with the shell. */
const TRIAL = [
  'sh',
  '-c',
  `${systemProgram('nft')} add table inet trial &&
   ${systemProgram('nft')} list table inet trial &&
   ${systemProgram('mount')} -t tmpfs -o size=1m tmpfs "$1"`,
  'sh',
  os.tmpdir(),
];

/** What a program's command begins with to have them; `undefined` where it cannot. */
function apart() {
  const way = WAYS.find(([command, ...args]) => {
    return spawnSync(command, [...args, ...TRIAL], { stdio: 'ignore' }).status === 0;
  });
  return way && [...way, ...lifeline()];
}

module.exports = { apart, systemProgram };

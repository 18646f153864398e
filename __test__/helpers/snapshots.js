'use strict';

// Snapshots that a server cannot save: it answers MISCONF to who writes from then on.

const fs = require('node:fs');
const path = require('node:path');

const { until } = require('./async.js');

/** In seconds: so long it goes without a snapshot that nobody asks for. */
const NEVER = 1_000_000;

/** Where the server puts its snapshot. */
async function fileOf(server) {
  const [, folder] = await server.command('CONFIG', 'GET', 'dir');
  return path.join(folder, 'dump.rdb');
}

/** Saves until that has ended in this way. */
async function save(server, status) {
  await until(async () => {
    const state = await server.command('INFO', 'persistence');
    if (state.includes('rdb_bgsave_in_progress:1')) return false;
    if (state.includes(`rdb_last_bgsave_status:${status}`)) return true;
    await server.command('BGSAVE');
    return false;
  });
}

/** Puts something where the snapshot belongs, and waits until one has failed. */
async function blockSnapshots(server) {
  await server.command('CONFIG', 'SET', 'save', `${NEVER} 1`);
  fs.mkdirSync(await fileOf(server));
  await save(server, 'err');
}

/** Waits until one was saved, and leaves none: the next process of the server begins with no data. */
async function letSnapshots(server) {
  const file = await fileOf(server);
  fs.rmSync(file, { recursive: true });
  await save(server, 'ok');
  await server.command('CONFIG', 'SET', 'save', '');
  fs.rmSync(file, { force: true });
}

module.exports = { blockSnapshots, letSnapshots };

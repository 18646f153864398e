'use strict';

// A disk so small that it can be filled. Only for a soak that has its own mounts.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { until } = require('../__test__/helpers/async.js');
const { systemProgram } = require('./apart.js');

const MEBIBYTES = 4;
const CHUNK = Buffer.alloc(4096);

class Disk {
  /** Where it is mounted. */
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'redsync-disk-'));

  constructor() {
    execFileSync(systemProgram('mount'), [
      '-t',
      'tmpfs',
      '-o',
      `size=${MEBIBYTES}m`,
      'tmpfs',
      this.folder,
    ]);
  }

  get #filling() {
    return path.join(this.folder, 'filling');
  }

  fill() {
    const file = fs.openSync(this.#filling, 'a');
    try {
      for (;;) fs.writeSync(file, CHUNK);
    } catch (error) {
      if (error.code !== 'ENOSPC') throw error;
    } finally {
      fs.closeSync(file);
    }
  }

  free() {
    fs.rmSync(this.#filling);
  }

  remove() {
    execFileSync(systemProgram('umount'), ['--lazy', this.folder]); // its server may not be quite gone
    fs.rmdirSync(this.folder);
  }
}

/** Waits until a server says these of its persistence. */
async function says(server, ...lines) {
  await until(async () => {
    const state = await server.command('INFO', 'persistence');
    return lines.every((line) => state.includes(`${line}\r\n`));
  });
}

/** Has the server write all to its disk, which is full from then on: it refuses to write (MISCONF). */
async function fillDisk(server, disk) {
  await server.command('CONFIG', 'SET', 'appendonly', 'yes');
  await says(server, 'aof_enabled:1', 'aof_rewrite_scheduled:0', 'aof_rewrite_in_progress:0');
  disk.fill();
  await until(async () => {
    const refused = await server.command('SET', 'probe', '', 'PX', '1').catch((error) => error);
    return refused.code === 'MISCONF';
  });
}

/** Waits until it can write again, and leaves nothing there: its next process begins with no data. */
async function freeDisk(server, disk) {
  disk.free();
  await says(server, 'aof_last_write_status:ok');
  await server.command('CONFIG', 'SET', 'appendonly', 'no');
  for (const name of fs.readdirSync(disk.folder)) {
    fs.rmSync(path.join(disk.folder, name), { recursive: true });
  }
}

module.exports = { Disk, fillDisk, freeDisk };

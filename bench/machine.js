'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { root } = require('../tools/setup.js');

function installed(name) {
  const file = path.join(__dirname, 'node_modules', name, 'package.json');
  return JSON.parse(fs.readFileSync(file, 'utf8')).version.replace(/^v/, '');
}

function crate(name) {
  const lock = fs.readFileSync(path.join(__dirname, 'rust', 'Cargo.lock'), 'utf8');
  return new RegExp(`name = "${name}"\\nversion = "(.*)"`).exec(lock)[1];
}

function redisVersion() {
  return /v=(\S+)/.exec(execFileSync('redis-server', ['--version'], { encoding: 'utf8' }))[1];
}

/** What a reader needs to know to make sense of the figures, as rows of a table. */
function describeMachine() {
  const cpus = os.cpus();
  const own = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
  return {
    Processor: `${cpus[0].model.trim()}, ${cpus.length} cores`,
    Memory: `${Math.round(os.totalmem() / 2 ** 30)} GiB`,
    System: `${os.type()} ${os.release()}, ${os.arch()}`,
    'Node.js': process.versions.node,
    Redis: redisVersion(),
    redsync: own.version,
    'node-redlock': installed('redlock'),
    'redis-semaphore': installed('redis-semaphore'),
    'redlock-universal': installed('redlock-universal'),
    ioredis: installed('ioredis'),
    'Rust alone': `redis ${crate('redis')}, tokio ${crate('tokio')}`,
  };
}

module.exports = { describeMachine };

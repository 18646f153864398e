'use strict';

// Who is compared: an adapter in libraries/ each, and the Rust program in rust/.

const path = require('node:path');

const LIMIT = path.join(__dirname, 'rust', 'target', 'release', 'limit');

function library(id, title, waitsFor) {
  return { id, title, waitsFor, command: [process.execPath, path.join(__dirname, 'worker.js'), id] };
}

const CONTENDERS = [
  library('redsync', 'redsync', 'all nodes'),
  library('redsync-fail-fast', 'redsync, failFast', 'a quorum'),
  library('redlock', 'node-redlock', 'a quorum'),
  library('redis-semaphore', 'redis-semaphore', 'all nodes'),
  library('redlock-universal', 'redlock-universal', 'all nodes'),
  library('ioredis', 'ioredis alone, auto-pipelined', 'all nodes'),
  { id: 'rust', title: 'Rust alone', waitsFor: 'all nodes', command: [LIMIT] },
  {
    id: 'rust-fail-fast',
    title: 'Rust alone, fail-fast',
    waitsFor: 'a quorum',
    command: [LIMIT, '--fail-fast'],
  },
];

module.exports = { CONTENDERS };

'use strict';

// Who is compared: an adapter in libraries/ each, and the Rust program in rust/.

const path = require('node:path');

const WORKER = path.join(__dirname, 'worker.js');
const LIMIT = path.join(__dirname, 'rust', 'target', 'release', 'limit');

function library(id, title, waitsFor) {
  return { id, title, waitsFor, command: [process.execPath, WORKER, id] };
}

function limit(id, title, waitsFor, ...args) {
  return { id, title, waitsFor, isRust: true, command: [LIMIT, ...args] };
}

const CONTENDERS = [
  library('redsync', 'redsync', 'all nodes'),
  library('redsync-fail-fast', 'redsync, failFast', 'a quorum'),
  library('redsync-using', 'redsync, using()', 'all nodes'),
  library('redsync-fenced', 'redsync, fencing', 'all nodes'),
  library('redsync-permits', 'redsync, 5 permits', 'all nodes'),
  library('redsync-over-ioredis', 'redsync over ioredis', 'all nodes'),
  library('redsync-over-ioredis-fail-fast', 'redsync over ioredis, failFast', 'a quorum'),
  library('redsync-over-auto-pipelined', 'redsync over ioredis, auto-pipelined', 'all nodes'),
  library('redlock', 'node-redlock', 'a quorum'),
  library('redlock-auto-pipelined', 'node-redlock, auto-pipelined', 'a quorum'),
  library('redis-semaphore', 'redis-semaphore', 'all nodes'),
  library('redlock-universal', 'redlock-universal', 'all nodes'),
  library('ioredis', 'ioredis alone, auto-pipelined', 'all nodes'),
  limit('rust', 'Rust alone', 'all nodes'),
  limit('rust-fail-fast', 'Rust alone, fail-fast', 'a quorum', '--fail-fast'),
];

module.exports = { CONTENDERS, library };

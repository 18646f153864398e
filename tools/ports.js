'use strict';

// Ports of the loopback interface that stay this process's own while nothing listens on them. One
// that the operating system chooses it gives to the next connection that asks, whoever makes it, and
// a server that was killed could not come back. These lie below those it chooses, and each process
// has a share of them, which is its own as long as it listens on the first.

const net = require('node:net');
const { once } = require('node:events');

const HOST = '127.0.0.1';
const FIRST = 10_000;
const SHARE = 200;
const SHARES = 50; // a server of a cluster has a second port, 10,000 above its own

const reserved = new Set();
let claim; // promise of the first port of the share
let last = 0; // within the share

/** Whoever listens on this port now; nothing where somebody else does. */
async function listen(port) {
  const listener = net.createServer();
  const listening = once(listener, 'listening');
  listener.listen({ host: HOST, port, exclusive: true });
  try {
    await listening;
    return listener;
  } catch (error) {
    if (error.code === 'EADDRINUSE' || error.code === 'EACCES') return undefined;
    throw error;
  }
}

async function claimShare() {
  const start = Math.floor(Math.random() * SHARES);
  for (let i = 0; i < SHARES; i++) {
    const first = FIRST + ((start + i) % SHARES) * SHARE;
    const listener = await listen(first);
    if (!listener) continue;
    listener.unref(); // it ends with the process, and does not keep it
    return first;
  }
  throw new Error(`all ports from ${FIRST} to ${FIRST + SHARES * SHARE} are claimed`);
}

/** A port on which nothing listens, and which nobody else gets until releasePort(). */
async function reservePort() {
  claim ??= claimShare();
  const first = await claim;
  for (let i = 1; i < SHARE; i++) {
    last = (last % (SHARE - 1)) + 1;
    const port = first + last;
    if (reserved.has(port)) continue;
    reserved.add(port);
    const listener = await listen(port);
    if (!listener) continue; // reserved all the same: somebody else has it
    listener.close();
    await once(listener, 'close');
    return port;
  }
  throw new Error(`no port from ${first} to ${first + SHARE} is free`);
}

function releasePort(port) {
  reserved.delete(port);
}

module.exports = { releasePort, reservePort };

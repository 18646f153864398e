'use strict';

// The main job in one run: Alice takes a lock, Bob waits for it, one of three nodes dies on the
// way, Alice extends and releases, Bob gets it.

const { setTimeout: delay } = require('node:timers/promises');

const { findNodes } = require('./nodes.js');

const NAME = `demo:${process.pid}`;

let start;
function tell(text) {
  const ms = (performance.now() - start).toFixed(1).padStart(8);
  console.log(`${ms} ms  ${text}`);
}

async function timed(call) {
  const begin = performance.now();
  const result = await call;
  return [result, `${(performance.now() - begin).toFixed(1)} ms`];
}

async function tellHealth(redsync) {
  for (const { node, endpoint, status, server, error } of await redsync.health()) {
    const detail = server ?? error?.cause?.message;
    tell(`    nodes[${node}] ${endpoint}: ${status}${detail ? `, ${detail}` : ''}`);
  }
}

/** Loses one node; gives the mutex to go on with, which holds Alice's lock. */
async function loseNode(nodes, lock, open) {
  const urls = await nodes.loseOne();
  if (urls === nodes.urls) {
    tell(`nodes[${urls.length - 1}] was killed`);
    await tellHealth(lock.redsync);
    return lock.held;
  }
  tell(`nodes[${urls.length - 1}] is replaced by an address where nothing listens, and Alice's`);
  tell('    lock is taken over by its value in a new Redsync');
  const redsync = open(urls);
  await tellHealth(redsync);
  return redsync.newMutex(NAME, { value: lock.held.value });
}

async function story(nodes, open) {
  const [alices, bobs] = [open(nodes.urls), open(nodes.urls)];
  tell(`${nodes.title}: ${alices.quorum} of ${alices.size} decide`);
  await alices.ready();
  await tellHealth(alices);

  const [held, took] = await timed(alices.newMutex(NAME).lock());
  tell(`Alice has the lock after ${took}, valid for ${Math.round(held.remaining)} ms`);

  const bob = bobs.newMutex(NAME, { tries: Infinity });
  const refused = await bob.tryLock();
  tell(`Bob tries once: ${refused === null ? 'taken' : 'he has it, which must not be'}`);
  const waiting = timed(bob.lock());
  tell('Bob waits for it');
  await delay(300);

  const canLose = nodes.urls.length > 2;
  const alice = canLose ? await loseNode(nodes, { redsync: alices, held }, open) : held;
  const [extended, extending] = await timed(alice.extend());
  const left = Math.round(alice.until - Date.now());
  tell(`Alice extends: ${extended} after ${extending}, valid for ${left} ms`);
  await delay(300);
  const [released, releasing] = await timed(alice.unlock());
  tell(`Alice releases: ${released} after ${releasing}`);

  const [his, waited] = await waiting;
  tell(`Bob has the lock after waiting ${waited}`);
  tell(`Bob releases: ${await his.unlock()}`);
}

async function main() {
  // Here and not above: `npm run demo` builds the addon before it calls this.
  const { Redsync } = require('../index.js');
  start = performance.now();
  const opened = [];
  const open = (urls) => {
    const redsync = new Redsync(urls);
    opened.push(redsync);
    return redsync;
  };
  const nodes = await findNodes();
  try {
    await story(nodes, open);
  } finally {
    await Promise.all(opened.map((redsync) => redsync.close()));
    await nodes.stop();
  }
}

module.exports = { main };

if (require.main === module) main();

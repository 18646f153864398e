'use strict';

// A job that every machine starts each second, and that only one of them may run: the first that
// gets the lock of this tick. Four child processes stand for the machines.

const { fork } = require('node:child_process');
const { once } = require('node:events');
const { setTimeout: delay } = require('node:timers/promises');

const { Redsync, TakenError } = require('../index.js');
const { findNodes } = require('./nodes.js');

const MACHINES = ['amber', 'birch', 'cedar', 'delta'];
const PERIOD = 1000;
const TICKS = 3;

async function runOnce(redsync, tick, job) {
  // Machines that come in the same moment can split the nodes between them, and none has a quorum: a
  // single attempt, as of tryLock(), might leave the tick without a machine.
  const mutex = redsync.newMutex(`report:${tick}`, { expiry: 30 * PERIOD, tries: 4 });
  try {
    await mutex.lock();
  } catch (error) {
    if (error instanceof TakenError) return; // another machine is at it
    throw error;
  }
  await job();
  // It is not released: a machine whose clock is late must find it taken. It expires.
}

async function machine(name, urls, keyPrefix) {
  const redsync = new Redsync(urls, { keyPrefix });
  await redsync.ready();
  process.send('ready');
  let [tick] = await once(process, 'message'); // the first one
  for (const last = tick + TICKS; tick < last; tick++) {
    await delay(tick * PERIOD - Date.now());
    await runOnce(redsync, tick, () => console.log(`${name} runs the job of tick ${tick}`));
  }
  await redsync.close();
  process.disconnect();
}

async function main() {
  const nodes = await findNodes({ betweenProcesses: true });
  const keyPrefix = `example:${process.pid}:`;
  const machines = MACHINES.map((name) => fork(__filename, [name, keyPrefix, ...nodes.urls]));
  try {
    const exits = machines.map((child) => once(child, 'exit'));
    await Promise.all(machines.map((child) => once(child, 'message')));
    const first = Math.ceil((Date.now() + 500) / PERIOD);
    for (const child of machines) child.send(first);
    await Promise.all(exits);
    console.log(`${MACHINES.length} machines, ${TICKS} ticks`);
  } finally {
    await nodes.stop();
  }
}

const [name, keyPrefix, ...urls] = process.argv.slice(2);
if (name) machine(name, urls, keyPrefix);
else main();

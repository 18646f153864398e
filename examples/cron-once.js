'use strict';

// A job that every machine starts each second, and that one of them is to run. It takes a moment only, so
// that a machine whose clock is late would find the lock free again: holdAtLeast keeps it taken.
//
//   node examples/cron-once.js                          four child processes stand for the machines
//   node examples/cron-once.js MACHINE PREFIX URL...    one of them, which goes on until it is stopped

const { fork } = require('node:child_process');
const { once } = require('node:events');
const { setTimeout: delay } = require('node:timers/promises');

const { Redsync, TakenError } = require('redsync');
const { findNodes } = require('./nodes.js');
const { stopping } = require('./stopping.js');

const MACHINES = ['amber', 'birch', 'cedar', 'delta'];
const PERIOD = 1000;
const TICKS = 3;
const WORK = Number(process.env.WORK ?? 5);

/** Milliseconds: longer than the clocks of the machines differ by. Each tick has a lock of its own. */
const HELD = 5 * PERIOD;

async function runOnce(redsync, tick, signal, job) {
  // Machines that come in the same moment can split the nodes between them, and none has a quorum: a
  // single try might leave the tick without a machine.
  const options = { tries: 4, expiry: HELD, holdAtLeast: HELD, signal };
  try {
    await redsync.using(`report:${tick}`, options, job);
  } catch (error) {
    if (!(error instanceof TakenError)) throw error; // another machine is at it, or was
  }
}

async function work(redsync, name, [first, end], signal) {
  for (let tick = first; tick < end; tick++) {
    await delay(tick * PERIOD - Date.now(), undefined, { signal });
    await runOnce(redsync, tick, signal, async (signal) => {
      console.log(`${name} runs the job of tick ${tick}`);
      if (process.env.FAIL) throw new Error('the job has failed');
      await delay(WORK, undefined, { signal });
    });
  }
}

/** Those that all machines are told to go through, or all that are to come. */
async function ticks(signal) {
  if (process.send === undefined) return [Math.floor(Date.now() / PERIOD) + 1, Infinity];
  process.send('ready');
  return (await once(process, 'message', { signal }))[0];
}

async function machine(name, urls, keyPrefix) {
  const signal = stopping();
  const redsync = new Redsync(urls, { keyPrefix });
  try {
    await redsync.ready();
    await work(redsync, name, await ticks(signal), signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await redsync.close();
    if (process.connected) process.disconnect();
  }
}

async function main() {
  const signal = stopping();
  const nodes = await findNodes({ betweenProcesses: true });
  const keyPrefix = `example:${process.pid}:`;
  const machines = MACHINES.map((name) => fork(__filename, [name, keyPrefix, ...nodes.urls]));
  const exits = machines.map((child) => once(child, 'exit'));
  signal.addEventListener('abort', () => machines.forEach((child) => child.kill()));
  try {
    await Promise.all(machines.map((child) => once(child, 'message', { signal })));
    const first = Math.ceil((Date.now() + 500) / PERIOD);
    for (const child of machines) child.send([first, first + TICKS]);
    await Promise.all(exits);
    if (!signal.aborted) console.log(`${MACHINES.length} machines, ${TICKS} ticks`);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await Promise.all(exits);
    await nodes.stop();
  }
}

const [name, keyPrefix, ...urls] = process.argv.slice(2);
if (name) machine(name, urls, keyPrefix);
else main();

'use strict';

// Five machines, one of which leads. One leader is killed, and the next one is frozen: when the lock is over, another
// machine leads. The one that wakes up again learns that it leads no more.
//
//   node examples/leader.js                          five child processes stand for the machines
//   node examples/leader.js MACHINE PREFIX URL...    one of them, which goes on until it is stopped

const { spawn } = require('node:child_process');
const { EventEmitter, once } = require('node:events');
const { createInterface } = require('node:readline');

const { Redsync } = require('redsync');
const { findNodes } = require('./nodes.js');
const { stopping } = require('./stopping.js');

const MACHINES = ['amber', 'birch', 'cedar', 'delta', 'ember'];
const EXPIRY = Number(process.env.EXPIRY ?? 1000);

async function machine(name, urls, keyPrefix) {
  const signal = stopping();
  const redsync = new Redsync(urls, { keyPrefix, expiry: EXPIRY });
  try {
    await redsync.lead('scheduler', { signal }, async (signal) => {
      console.log(`${name} leads`);
      if (process.env.FAIL) throw new Error('the leader has failed');
      await once(signal, 'abort'); // stands for what a leader does until then
      console.log(`${name} leads no more`);
    });
  } finally {
    await redsync.close();
  }
}

/** Starts one of them; who hears it is told its name and what it says. */
function start(name, args, heard) {
  const child = spawn(process.execPath, [__filename, name, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  createInterface({ input: child.stdout }).on('line', (line) => {
    heard.emit(line.slice(name.length + 1), name);
  });
  return child;
}

/** Who leads next after `act`, and how many milliseconds later. */
async function next(heard, signal, act) {
  const leads = once(heard, 'leads', { signal });
  const begin = performance.now();
  act();
  const [name] = await leads;
  return [name, Math.round(performance.now() - begin)];
}

async function tell(machines, heard, begin, signal) {
  const [one] = await next(heard, signal, begin);
  console.log(`${one} leads`);
  const kill = () => machines.get(one).kill('SIGKILL');
  const [two, afterDeath] = await next(heard, signal, kill);
  console.log(`${one} is killed: ${two} leads ${afterDeath} ms later, the expiry is ${EXPIRY} ms`);
  const stop = () => machines.get(two).kill('SIGSTOP');
  const [three, afterStop] = await next(heard, signal, stop);
  console.log(`${two} is frozen: ${three} leads ${afterStop} ms later`);
  const told = once(heard, 'leads no more', { signal });
  machines.get(two).kill('SIGCONT');
  const [late] = await told;
  console.log(`${late} wakes up, and leads no more`);
}

async function main() {
  const signal = stopping();
  const nodes = await findNodes({ betweenProcesses: true });
  const heard = new EventEmitter();
  const machines = new Map();
  try {
    const args = [`example:${process.pid}:`, ...nodes.urls];
    const begin = () => MACHINES.forEach((name) => machines.set(name, start(name, args, heard)));
    await tell(machines, heard, begin, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    const left = [...machines.values()].filter(({ signalCode }) => signalCode === null);
    const exits = left.map((child) => once(child, 'exit'));
    for (const child of left) {
      child.kill();
      child.kill('SIGCONT'); // it may be frozen
    }
    await Promise.all(exits);
    await nodes.stop();
    console.log('all have stopped');
  }
}

const [name, keyPrefix, ...urls] = process.argv.slice(2);
if (name) machine(name, urls, keyPrefix);
else main();

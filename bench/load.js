'use strict';

const { setTimeout: delay } = require('node:timers/promises');

const { processCpu, spent, threadCpu } = require('./cpu.js');
const { percentile } = require('./statistics.js');

let made = 0;

/**
 * Runs lock+unlock cycles, each on a key of its own, `inFlight` at once for `duration` ms.
 *
 * `latencies` takes the duration of each cycle, which costs something: only for one at a time.
 */
async function runCycles({ cycle, inFlight, duration, latencies }) {
  let running = true;
  let cycles = 0;
  const one = async () => {
    while (running) {
      const before = latencies && performance.now();
      await cycle(`bench:${made++}`);
      if (latencies) latencies.push(performance.now() - before);
      cycles++;
    }
  };
  // A timer ends it: to ask the clock in each cycle would be part of what is measured.
  const timer = delay(duration).then(() => {
    running = false;
  });
  await Promise.all([timer, ...Array.from({ length: inFlight }, one)]);
  return cycles;
}

/** One round: what it took, in microseconds of the clock and of processors. */
async function measure({ cycle, inFlight, duration }) {
  const latencies = inFlight === 1 ? [] : undefined;
  const before = { time: performance.now(), thread: threadCpu(), process: processCpu() };
  const cycles = await runCycles({ cycle, inFlight, duration, latencies });
  const result = {
    cycles,
    elapsed: (performance.now() - before.time) * 1000,
    threadCpu: spent(before.thread, threadCpu()),
    processCpu: spent(before.process, processCpu()),
  };
  if (!latencies) return result;
  latencies.sort((a, b) => a - b);
  return {
    ...result,
    p50: percentile(latencies, 0.5) * 1000,
    p99: percentile(latencies, 0.99) * 1000,
  };
}

module.exports = { measure };

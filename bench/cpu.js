'use strict';

// Processor time in microseconds, or null where the system does not tell.

const fs = require('node:fs');

// The first number of a schedstat is the time on a processor in nanoseconds. The times in a stat
// are in ticks of 10 ms, which is too coarse for a round of a fraction of a second.
function schedstat(file) {
  return Number(fs.readFileSync(file, 'latin1').split(' ', 1)[0]) / 1000;
}

/** Time of the calling thread: in a worker process, the one that runs JavaScript. */
function threadCpu() {
  if (process.threadCpuUsage) {
    const { user, system } = process.threadCpuUsage();
    return user + system;
  }
  try {
    return schedstat('/proc/thread-self/schedstat');
  } catch {
    return null;
  }
}

/** Time of all threads of this process. */
function processCpu() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** Time of all threads of other processes, together. */
function cpuOf(pids) {
  try {
    return sum(
      pids.flatMap((pid) =>
        fs
          .readdirSync(`/proc/${pid}/task`)
          .map((thread) => schedstat(`/proc/${pid}/task/${thread}/schedstat`)),
      ),
    );
  } catch {
    return null;
  }
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

/** What lies between two readings of a clock. */
function spent(before, after) {
  return before === null || after === null ? null : after - before;
}

module.exports = { cpuOf, processCpu, spent, threadCpu };

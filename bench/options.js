'use strict';

// `node bench/options.js`: what the options of a call cost the JavaScript thread, in microseconds of its
// processor time. The nodes are in memory, so that no socket is in the figures.

const { setImmediate: turn } = require('node:timers/promises');

const { Redsync } = require('../index.js');
const { render } = require('../tools/tables.js');
const { threadCpu } = require('./cpu.js');
const { summary } = require('./statistics.js');

const ROUNDS = 15;
const MUTEXES = 200_000; // for some systems tell the time of a thread in steps of 4 ms
const CYCLES = 3200;
const AT_ONCE = 64;

const redsync = new Redsync(['memory:', 'memory:', 'memory:']);
const { signal } = new AbortController();
const routine = async () => {};
let made = 0;

/** Each is written as programs write it: a literal for each call, a name that is new. */
const ROWS = [
  {
    title: 'none',
    mutex: () => redsync.newMutex(`a:${made++}`),
    lock: () => redsync.newMutex(`a:${made++}`).lock(),
    acquire: () => redsync.acquire(`a:${made++}`),
    using: () => redsync.using(`a:${made++}`, routine),
  },
  {
    title: '`expiry`',
    mutex: () => redsync.newMutex(`a:${made++}`, { expiry: 9000 }),
    lock: () => redsync.newMutex(`a:${made++}`, { expiry: 9000 }).lock(),
    acquire: () => redsync.acquire(`a:${made++}`, { expiry: 9000 }),
    using: () => redsync.using(`a:${made++}`, { expiry: 9000 }, routine),
  },
  {
    title: '`expiry`, `tries`, `failFast`',
    mutex: () => redsync.newMutex(`a:${made++}`, { expiry: 9000, tries: 3, failFast: true }),
    lock: () => redsync.newMutex(`a:${made++}`, { expiry: 9000, tries: 3, failFast: true }).lock(),
    acquire: () => redsync.acquire(`a:${made++}`, { expiry: 9000, tries: 3, failFast: true }),
    using: () => redsync.using(`a:${made++}`, { expiry: 9000, tries: 3, failFast: true }, routine),
  },
  {
    title: '`expiry`, `signal`',
    lock: () => redsync.newMutex(`a:${made++}`, { expiry: 9000 }).lock({ signal }),
    acquire: () => redsync.acquire(`a:${made++}`, { expiry: 9000, signal }),
    using: () => redsync.using(`a:${made++}`, { expiry: 9000, signal }, routine),
  },
];

async function unlock(lock) {
  await (await lock).unlock();
}

async function cycles(cycle) {
  let left = CYCLES;
  const one = async () => {
    while (left-- > 0) await cycle();
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

function mutexes(mutex) {
  for (let i = 0; i < MUTEXES; i++) mutex();
}

const COLUMNS = [
  ['newMutex()', MUTEXES, ({ mutex }) => mutex && (() => mutexes(mutex))],
  [
    'newMutex().lock(), unlock()',
    CYCLES,
    ({ lock }) =>
      () =>
        cycles(() => unlock(lock())),
  ],
  [
    'acquire(), unlock()',
    CYCLES,
    ({ acquire }) =>
      () =>
        cycles(() => unlock(acquire())),
  ],
  [
    'using()',
    CYCLES,
    ({ using }) =>
      () =>
        cycles(using),
  ],
];

const CELLS = ROWS.flatMap((row) =>
  COLUMNS.map(([, times, of]) => ({ run: of(row), times, figures: [] })),
);

function show({ run, figures }) {
  if (run === undefined) return '–';
  const { median, min, max } = summary(figures);
  return `${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`;
}

async function main() {
  for (let round = 0; round <= ROUNDS; round++) {
    for (const { run, times, figures } of CELLS) {
      if (run === undefined) continue;
      const before = threadCpu();
      await run();
      if (round > 0) figures.push((threadCpu() - before) / times); // the first is for warming up
      await turn();
    }
  }
  const rows = ROWS.map(({ title }, i) => [
    title,
    ...CELLS.slice(i * COLUMNS.length, (i + 1) * COLUMNS.length).map(show),
  ]);
  console.log(render(['options', ...COLUMNS.map(([title]) => `\`${title}\``)], rows));
  await redsync.close();
}

main();

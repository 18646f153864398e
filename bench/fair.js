'use strict';

// `node bench/fair.js`: is a contended lock handed over soon, and to everybody? Beside others in the same run, with
// what is to be reached.

const { readNumbers } = require('../tools/command-line.js');
const { main } = require('../tools/setup.js');
const { render } = require('../tools/tables.js');
const { contend } = require('./contention.js');
const { prepare } = require('./prepare.js');
const { shown, summary } = require('./statistics.js');

const DEFAULTS = { rounds: 5, duration: 5000, processes: 2, waiters: 8 };

const HELP = `Usage: node bench/fair.js [options]

Processes with several waiters each want one key, which each holds for 1 ms. Fails if a bar is missed.

${Object.entries(DEFAULTS)
  .map(([name, value]) => `  --${name} N  (default ${value})`)
  .join('\n')}
`;

const HAND_OVERS = 'hand-overs/s';
const BETWEEN = 'release to next, p50 ms';
const OF_PROCESS = 'least of a process / fair';
const OF_WAITER = 'least of a waiter / fair';

const OF_POOLS = {
  library: 'redsync-over-ioredis',
  beside: 'redis-semaphore',
  bars: [
    { figure: HAND_OVERS, least: 1.3 },
    { figure: OF_PROCESS, own: 0.5 },
  ],
};

/** On so many nodes, beside that one: what is compared, in its way, or what is to be reached by itself. */
const CASES = [
  { ...OF_POOLS, nodes: 3 },
  { ...OF_POOLS, nodes: 1 },
  {
    library: 'redsync',
    nodes: 1,
    beside: 'rueidislock',
    bars: [
      { figure: HAND_OVERS, least: 1 },
      { figure: BETWEEN, most: 1 },
      { figure: OF_WAITER, own: 0.8 },
    ],
  },
  {
    library: 'redsync',
    nodes: 1,
    beside: 'rueidislock-one-key',
    bars: [
      { figure: HAND_OVERS, least: 1 },
      { figure: BETWEEN, most: 1 },
    ],
  },
  {
    library: 'redsync',
    nodes: 3,
    beside: 'redis-semaphore',
    bars: [{ figure: OF_WAITER, own: 0.8 }],
  },
];

/** Is the median where it is to be? */
function judge({ least, most, own }, ours, theirs) {
  const ratio = ours.median / theirs.median;
  if (own) return [ours.median >= own, `at least ${own}`];
  if (least) return [ratio >= least, `at least ${least} times, is ${ratio.toFixed(2)}`];
  return [ratio <= most, `at most ${most} times, is ${ratio.toFixed(2)}`];
}

main(async () => {
  const { help, rounds, ...options } = readNumbers(process.argv.slice(2), DEFAULTS);
  if (help) return console.log(HELP);
  prepare({ withGo: true });
  const rows = [];
  for (const { library, nodes, beside, bars } of CASES) {
    const runs = { [library]: [], [beside]: [] };
    for (let round = 0; round < rounds; round++) {
      for (const name of [library, beside]) {
        runs[name].push(await contend(name, { ...options, nodes, hold: 1, think: 5 }));
      }
    }
    for (const bar of bars) {
      const of = (name) => runs[name].map((run) => run[bar.figure]);
      const [ours, theirs] = [of(library), of(beside)];
      const [isReached, text] = judge(bar, summary(ours), summary(theirs));
      if (!isReached) process.exitCode = 1;
      const where = `${library}, ${nodes} ${nodes === 1 ? 'node' : 'nodes'}`;
      const outcome = isReached ? 'reached' : 'MISSED';
      rows.push([where, bar.figure, shown(ours), beside, shown(theirs), text, outcome]);
    }
  }
  console.log(render(['', 'figure', 'ours', 'beside', 'its', 'bar', ''], rows, { align: '---' }));
});

'use strict';

// docs/benchmarks.md: written by every complete run, but for the section between the markers.

const { render } = require('../tools/tables.js');
const { usualNodes } = require('./charts.js');
const { CONTENDERS } = require('./contenders.js');
const { pointTable, pointTitle, summaryTable } = require('./tables.js');

const KEPT = /<!-- by hand: begin -->\n([\s\S]*?)<!-- by hand: end -->/;
const EMPTY = `## What was tried and did not help

Nothing is written here yet.
`;

function intro({ date, rounds, duration }) {
  return `# Benchmarks

\`npm run bench\` wrote this page on ${date.slice(0, 10)}; only the last section is by hand.

A cycle is one lock and its unlock, on a key that nobody else wants, with an expiry of 8 s. Every
contender runs in a process of its own, over its own connections to the same throw-away
redis-servers on the loopback interface. They take turns: in each round one after the other runs
cycles for ${duration} ms, while the others are idle. A figure is the median of ${rounds} rounds,
with the lowest and the highest in parentheses. At the start, the benchmark asks the servers whether
they have the lock of each contender while it holds one, and whether the lock is gone afterwards.
After each round it asks whether any key is left.

Servers and contender share the processors of one machine, so a server that has less to do leaves
more to everybody. A network adds its own latency to each figure of one at a time, and nothing to
processor time.`;
}

function contenders(points) {
  const present = CONTENDERS.filter(({ id }) => points[0].results[id]);
  const rows = present.map(({ title, waitsFor }) => [title, waitsFor]);
  return `## The contenders

${render(['', 'a call waits for'], rows, { align: '---' })}

*ioredis alone* is SET NX PX and EVALSHA by hand, on all nodes in parallel, with
\`enableAutoPipelining\`: with many calls at once, the best that a library over ioredis could reach.
The libraries get ioredis as it comes and keep their own defaults, with two exceptions: all have the
same expiry, and redis-semaphore does not extend its locks by itself. On one node, redis-semaphore
runs its \`Mutex\` and redlock-universal its \`createLock\`; on more, \`RedlockMutex\` and \`createRedlock\`.
For redsync, each cycle makes a mutex of its own, as programs do: \`newMutex(name, { expiry })\`.
*Rust alone* does the same work as a program without Node.js, on the same Redis client as redsync,
with one pipeline per node and tick: the limit for redsync.`;
}

function machine(facts) {
  return `## The machine

${render(['', ''], Object.entries(facts), { align: '---' })}`;
}

function overview(points) {
  const nodes = usualNodes(points);
  const usual = points.filter((point) => point.nodes === nodes);
  return `## ${nodes} nodes at a glance

The parentheses compare with node-redlock: 2× is twice its figure.

${summaryTable(usual)}`;
}

function details(points) {
  const sections = points.map((point) => `### ${pointTitle(point)}\n\n${pointTable(point)}`);
  return `## All figures

Processor time is per cycle: of the thread that runs JavaScript, of the whole process, and of all
servers together. The column "/ node-redlock" divides the figure by that of node-redlock, and so on.

${sections.join('\n\n')}`;
}

/** The page for this run; what is between the markers of the old page is taken over. */
function renderPage({ run, charts, old }) {
  const kept = KEPT.exec(old)?.[1] ?? EMPTY;
  return `${[
    intro(run),
    overview(run.points),
    ...charts.map(({ file, title }) => `![${title}](${file})`),
    contenders(run.points),
    machine(run.machine),
    details(run.points),
    `<!-- by hand: begin -->\n${kept}<!-- by hand: end -->`,
  ].join('\n\n')}\n`;
}

module.exports = { renderPage };

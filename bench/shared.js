'use strict';

// `npm run bench:shared`: locks that several hold at once.

const { spawn } = require('node:child_process');
const path = require('node:path');
const readline = require('node:readline');
const { setTimeout: delay } = require('node:timers/promises');

const { announce, main } = require('../tools/setup.js');
const { readNames, count } = require('../tools/command-line.js');
const { startServers } = require('../tools/redis-servers.js');
const { render } = require('../tools/tables.js');
const { prepare } = require('./prepare.js');
const { percentile, summary } = require('./statistics.js');

const NAME = 'bench:shared';
const QUIET = 300;

const JOBS = { jobs: 400, hold: 50, permits: 5, processes: 4 };
const READERS = { readers: 16, hold: 10, think: 100, processes: 2, duration: 4000 };
const BENCHES = { jobs, readers };

const HELP = `Usage: npm run bench:shared -- [options] [jobs] [readers]

jobs     ${JOBS.processes} processes have ${JOBS.jobs} jobs of ${JOBS.hold} ms, of which ${JOBS.permits} may run at once: redsync and
         redis-semaphore, of which none gives up
readers  ${READERS.processes} processes with ${READERS.readers} readers who read for ${READERS.hold} ms again and again, and a writer who writes for
         ${READERS.hold} ms and thinks for ${READERS.think} ms: with modes, and with a plain mutex for all

  --rounds N  (default 5)
  --nodes N   numbers of nodes, separated by commas (default 1,3)
`;

function startWorker(plan) {
  const file = path.join(__dirname, 'shared-worker.js');
  const args = [file, JSON.stringify(plan)];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return { child, line: async () => (await lines.next()).value };
}

/** Counts what clients send, without what scripts call on the server. */
async function watchCommands(server) {
  const client = await server.connect();
  let sent = 0;
  client.onMessage = (line) => {
    if (!/^\S+ \[\d+ lua\]/.test(line)) sent++;
  };
  await client.command('MONITOR');
  return {
    async count() {
      for (let before = -1; before !== sent; await delay(QUIET)) before = sent;
      client.close();
      return sent;
    },
  };
}

/** What processes with this plan do on servers of their own, and how many commands they send if that is asked. */
async function run(size, processes, plan, { counts = false } = {}) {
  const servers = await startServers(size);
  const urls = servers.map(({ url }) => url);
  const workers = Array.from({ length: processes }, () =>
    startWorker({ ...plan, urls, name: NAME }),
  );
  try {
    for (const worker of workers) await worker.line();
    const monitors = counts ? await Promise.all(servers.map(watchCommands)) : [];
    for (const { child } of workers) child.stdin.write('go\n');
    const results = await Promise.all(
      workers.map(async (worker) => JSON.parse(await worker.line())),
    );
    const sent = await Promise.all(monitors.map((monitor) => monitor.count()));
    return {
      turns: results.flatMap(({ turns }) => turns),
      failures: results.flatMap(({ failures }) => failures),
      commands: sent.reduce((sum, each) => sum + each, 0),
    };
  } finally {
    for (const { child } of workers) child.kill('SIGKILL');
    await Promise.all(servers.map((server) => server.stop()));
  }
}

/** How many held it at once, at most. */
function mostAtOnce(turns) {
  const events = turns.flatMap(([, , from, to]) => [
    [from, 1],
    [to, -1],
  ]);
  events.sort(([a, up], [b, down]) => a - b || up - down);
  let [most, inside] = [0, 0];
  for (const [, step] of events) most = Math.max(most, (inside += step));
  return most;
}

/** Writers who were inside while somebody else was. */
function overlapsOfWriters(turns, isWriter) {
  return turns.filter(
    (turn) =>
      isWriter(turn) &&
      turns.some((other) => other !== turn && other[2] < turn[3] && turn[2] < other[3]),
  ).length;
}

function figure(values, digits = 0) {
  const { median, min, max } = summary(values);
  return `${median.toFixed(digits)} (${min.toFixed(digits)}–${max.toFixed(digits)})`;
}

async function jobs(size, rounds) {
  const { jobs: all, hold, permits, processes } = JOBS;
  const groups = [{ permits, callers: all / processes, hold, think: 0, turns: 1 }];
  const ideal = (all / permits) * hold;
  const libraries = ['redsync', 'redis-semaphore'];
  const found = Object.fromEntries(libraries.map((library) => [library, []]));
  for (let round = 0; round < rounds; round++) {
    for (const library of libraries) {
      const { turns, failures } = await run(size, processes, { library, groups });
      const from = Math.min(...turns.map(([, asked]) => asked));
      const to = Math.max(...turns.map(([, , , released]) => released));
      found[library].push({
        total: (to - from) / 1000,
        most: mostAtOnce(turns),
        failed: failures.length + all - turns.length,
      });
    }
  }
  const commands = {};
  for (const library of libraries) {
    commands[library] = (
      await run(size, processes, { library, groups }, { counts: true })
    ).commands;
  }
  const row = (title, cell) => [
    title,
    ...libraries.map((library) => cell(library, found[library])),
  ];
  const node = size === 1 ? '1 node' : `${size} nodes`;
  console.log(`\n${all} jobs of ${hold} ms, ${permits} at once, ${processes} processes, ${node}\n`);
  console.log(
    render(
      ['', ...libraries],
      [
        row(`total, ms (ideal ${ideal})`, (_, list) => figure(list.map(({ total }) => total))),
        row('of the ideal', (_, list) =>
          figure(
            list.map(({ total }) => total / ideal),
            3,
          ),
        ),
        row('at once, at most', (_, list) => `${Math.max(...list.map(({ most }) => most))}`),
        row('failed', (_, list) => `${list.reduce((sum, { failed }) => sum + failed, 0)}`),
        row('commands per job', (library) => (commands[library] / all).toFixed(1)),
      ],
    ),
  );
}

const WRITER = 1;

async function readers(size, rounds) {
  const { readers: callers, hold, think, processes, duration } = READERS;
  const group = { hold, duration };
  const plans = {
    'readers and a writer': [
      { ...group, mode: 'read', callers, think: 0 },
      { ...group, mode: 'write', callers: 1, think },
    ],
    'a mutex for all': [
      { ...group, callers, think: 0 },
      { ...group, callers: 1, think },
    ],
  };
  const titles = Object.keys(plans);
  const found = Object.fromEntries(titles.map((title) => [title, []]));
  const isWriter = ([kind]) => kind === WRITER;
  for (let round = 0; round < rounds; round++) {
    for (const title of titles) {
      const plan = { library: 'redsync', groups: plans[title] };
      const { turns, failures } = await run(size, processes, plan);
      const from = Math.min(...turns.map(([, asked]) => asked));
      const to = Math.max(...turns.map(([, , , released]) => released));
      const waits = (who) =>
        turns
          .filter(who)
          .map(([, asked, acquired]) => (acquired - asked) / 1000)
          .sort((a, b) => a - b);
      const writing = waits(isWriter);
      found[title].push({
        rate: turns.filter((turn) => !isWriter(turn)).length / ((to - from) / 1e6),
        all: turns.length / ((to - from) / 1e6),
        writes: writing.length,
        median: percentile(writing, 0.5) / hold,
        p95: percentile(writing, 0.95) / hold,
        longest: writing.at(-1) / hold,
        reading: waits((turn) => !isWriter(turn)).at(-1),
        most: mostAtOnce(turns),
        overlaps: title === titles[0] ? overlapsOfWriters(turns, isWriter) : mostAtOnce(turns) - 1,
        failed: failures.length,
      });
    }
  }
  const commands = {};
  for (const title of titles) {
    const plan = { library: 'redsync', groups: plans[title] };
    const { turns, commands: sent } = await run(size, processes, plan, { counts: true });
    commands[title] = sent / turns.length;
  }
  const row = (title, cell) => [title, ...titles.map((each) => cell(each, found[each]))];
  const of = (key, digits) => (_, list) =>
    figure(
      list.map((each) => each[key]),
      digits,
    );
  const sum = (key) => (_, list) => `${list.reduce((total, each) => total + each[key], 0)}`;
  const node = size === 1 ? '1 node' : `${size} nodes`;
  console.log(
    `\n${processes} processes x (${callers} readers + 1 writer), held ${hold} ms, ` +
      `a writer thinks ${think} ms, for ${duration} ms, ${node}\n`,
  );
  console.log(
    render(
      ['', ...titles],
      [
        row('hand-overs to readers per second', of('rate')),
        row('all hand-overs per second', of('all')),
        row('a writer waits, in times of a read: p50', of('median', 2)),
        row('p95', of('p95', 2)),
        row('longest', of('longest', 2)),
        row('writes', of('writes')),
        row('a reader waits, longest, ms', of('reading')),
        row('at once, at most', (_, list) => `${Math.max(...list.map(({ most }) => most))}`),
        row('overlaps that must not be', sum('overlaps')),
        row('failed', sum('failed')),
        row('commands per hand-over', (title) => commands[title].toFixed(1)),
      ],
    ),
  );
}

main(async () => {
  const { values, names } = readNames(Object.keys(BENCHES), {
    rounds: { type: 'string', default: '5' },
    nodes: { type: 'string', default: '1,3' },
    help: { type: 'boolean', default: false },
  });
  if (values.help) return console.log(HELP);
  const rounds = count(values.rounds, '--rounds', 1000);
  const sizes = values.nodes.split(',').map((text) => count(text, '--nodes', 64));
  prepare();
  for (const name of names) {
    for (const size of sizes) {
      announce(`${name}, ${size} nodes`);
      await BENCHES[name](size, rounds);
    }
  }
});

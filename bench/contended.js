'use strict';

// `npm run bench:contended`: several processes want one key.

const { spawn } = require('node:child_process');
const path = require('node:path');
const readline = require('node:readline');

const { readNumbers } = require('../tools/command-line.js');
const { startServers } = require('../tools/redis-servers.js');
const { main } = require('../tools/setup.js');
const { render } = require('../tools/tables.js');
const { prepare } = require('./prepare.js');
const { countCommands } = require('./sent.js');
const { percentile } = require('./statistics.js');

const DEFAULTS = {
  nodes: 3,
  processes: 2,
  waiters: 8,
  hold: 1,
  think: 5,
  duration: 5000,
};

const HELP = `Usage: npm run bench:contended -- [options] [LIBRARY…]

Several processes with several waiters each want one key. The libraries are redsync, redlock and
redis-semaphore; without any, all of them.

${Object.entries(DEFAULTS)
  .map(([name, value]) => `  --${name} N  (default ${value})`)
  .join('\n')}
`;

const LIBRARIES = ['redsync', 'redlock', 'redis-semaphore'];

function startWorker(name, key, { waiters, hold, think, duration }, urls) {
  const file = path.join(__dirname, 'contended-worker.js');
  const args = [file, name, key, waiters, hold, think, duration, ...urls];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return { child, line: async () => (await lines.next()).value };
}

/** Median, and so on, of times in microseconds, in milliseconds. */
function milliseconds(times, share) {
  return (percentile(times, share) / 1000).toFixed(2);
}

function evaluate(results, { processes, waiters }) {
  const turns = results.flatMap(({ turns: own }, worker) => own.map((turn) => [worker, ...turn]));
  turns.sort((a, b) => a[3] - b[3]);
  const handOvers = [];
  let [overlaps, longestGap] = [0, 0];
  for (let i = 1; i < turns.length; i++) {
    const [released, acquired] = [turns[i - 1][4], turns[i][3]];
    if (acquired < released) overlaps++;
    handOvers.push(acquired - released);
    longestGap = Math.max(longestGap, acquired - turns[i - 1][3]);
  }
  handOvers.sort((a, b) => a - b);
  const waits = turns.map(([, , asked, acquired]) => acquired - asked).sort((a, b) => a - b);
  const own = results.map(({ turns: all }) => all.length);
  const byWaiter = results.flatMap(({ turns: all }) => {
    const counts = Array(waiters).fill(0);
    for (const [waiter] of all) counts[waiter]++;
    return counts.map((count) => (count * waiters) / all.length);
  });
  const seconds = (turns.at(-1)[3] - turns[0][3]) / 1e6;
  return {
    'hand-overs/s': ((turns.length - 1) / seconds).toFixed(0),
    'release to next, p50 ms': milliseconds(handOvers, 0.5),
    'p95 ms': milliseconds(handOvers, 0.95),
    'longest without, ms': (longestGap / 1000).toFixed(0),
    'longest wait, ms': (waits.at(-1) / 1000).toFixed(0),
    'least of a process / fair': ((Math.min(...own) * processes) / turns.length).toFixed(2),
    'least of a waiter / its process': Math.min(...byWaiter).toFixed(2),
    failed: results.reduce((sum, { failures }) => sum + failures.length, 0),
    overlaps,
    count: turns.length,
  };
}

async function measure(name, options) {
  const servers = await startServers(options.nodes);
  const workers = [];
  try {
    const urls = servers.map(({ url }) => url);
    for (let i = 0; i < options.processes; i++) {
      workers.push(startWorker(name, 'bench:contended', options, urls));
    }
    for (const worker of workers) await worker.line();
    const before = await countCommands(servers, name);
    for (const { child } of workers) child.stdin.write('go\n');
    const lines = await Promise.all(workers.map((worker) => worker.line()));
    const sent = (await countCommands(servers, name)) - before;
    const { count, ...figures } = evaluate(
      lines.map((line) => JSON.parse(line)),
      options,
    );
    return { ...figures, 'commands per hand-over': (sent / count).toFixed(1) };
  } finally {
    for (const { child } of workers) child.kill('SIGKILL');
    await Promise.all(servers.map((server) => server.stop()));
  }
}

main(async () => {
  const args = process.argv.slice(2);
  const names = args.filter((arg) => LIBRARIES.includes(arg));
  const options = readNumbers(
    args.filter((arg) => !LIBRARIES.includes(arg)),
    DEFAULTS,
  );
  if (options.help) return console.log(HELP);
  prepare();
  const all = {};
  for (const name of names.length > 0 ? names : LIBRARIES) {
    all[name] = await measure(name, options);
  }
  const [first] = Object.values(all);
  const rows = Object.keys(first).map((key) => [
    key,
    ...Object.values(all).map((of) => `${of[key]}`),
  ]);
  console.log(
    `${options.processes} processes x ${options.waiters} waiters, ${options.nodes} nodes, ` +
      `held ${options.hold} ms, ${options.think} ms of thinking, for ${options.duration} ms\n`,
  );
  console.log(render(['', ...Object.keys(all)], rows));
});

'use strict';

// Several processes with several waiters each want one key: one run of one library, and its figures.

const { spawn } = require('node:child_process');
const path = require('node:path');
const readline = require('node:readline');

const { startServers } = require('../tools/redis-servers.js');
const { RUEIDISLOCK } = require('./prepare.js');
const { countCommands } = require('./sent.js');
const { percentile } = require('./statistics.js');

const KEY = 'bench:contended';

/** Rueidislock as it comes, and with what its documentation says is faster: one key, and NOLOOP. Both for one node. */
const GO = { rueidislock: 3, 'rueidislock-one-key': 1 };

/** Those that can be compared. */
const CONTENDERS = [
  'redsync',
  'redsync-over-ioredis',
  'redlock',
  'redis-semaphore',
  ...Object.keys(GO),
];

const isOfGo = (name) => name in GO;

/** The command that starts a process of a contender. */
function commandOf(name) {
  if (isOfGo(name)) return [RUEIDISLOCK, GO[name]];
  return [process.execPath, path.join(__dirname, 'contended-worker.js'), name];
}

function start(command, { waiters, hold, think, duration }, urls) {
  const [program, ...args] = [...command, KEY, waiters, hold, think, duration, ...urls];
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return { child, line: async () => (await lines.next()).value };
}

/** Of times in microseconds, one of them in milliseconds. */
function milliseconds(times, share) {
  return percentile(times, share) / 1000;
}

function ascending(numbers) {
  return numbers.sort((a, b) => a - b);
}

/** The smallest of some counts, of what each would have if all had the same. */
function leastShare(counts) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  return (Math.min(...counts) * counts.length) / total;
}

function evaluate(results, { waiters }) {
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
  ascending(handOvers);
  const waits = ascending(turns.map(([, , asked, acquired]) => acquired - asked));
  const holds = ascending(turns.map(([, , , acquired, released]) => released - acquired));
  const byProcess = results.map(({ turns: own }) => {
    const counts = Array(waiters).fill(0);
    for (const [waiter] of own) counts[waiter]++;
    return counts;
  });
  const seconds = (turns.at(-1)[3] - turns[0][3]) / 1e6;
  return {
    'hand-overs/s': (turns.length - 1) / seconds,
    'release to next, p50 ms': milliseconds(handOvers, 0.5),
    'p95 ms': milliseconds(handOvers, 0.95),
    'held, p50 ms': milliseconds(holds, 0.5),
    'longest without, ms': longestGap / 1000,
    'longest wait, ms': waits.at(-1) / 1000,
    'least of a process / fair': leastShare(results.map(({ turns: own }) => own.length)),
    'least of a waiter / fair': leastShare(byProcess.flat()),
    failed: results.reduce((sum, { failures }) => sum + failures.length, 0),
    overlaps,
    count: turns.length,
  };
}

/**
 * Lets processes of a contender contend on servers of their own.
 *
 * @param {string} name one of `CONTENDERS`
 * @param {{ nodes: number, processes: number, waiters: number, hold: number, think: number, duration: number }} options
 *   times in milliseconds
 * @param {string[]} [command] what starts a process, if it is not the contender of this folder
 * @returns {Promise<Record<string, number>>} the figures, by their names
 */
async function contend(name, options, command = commandOf(name)) {
  const servers = await startServers(options.nodes);
  const workers = [];
  try {
    const urls = servers.map(({ url }) => url);
    for (let i = 0; i < options.processes; i++) workers.push(start(command, options, urls));
    for (const worker of workers) await worker.line();
    const before = await countCommands(servers, name);
    for (const { child } of workers) child.stdin.write('go\n');
    const lines = await Promise.all(workers.map((worker) => worker.line()));
    const sent = (await countCommands(servers, name)) - before;
    const { count, ...figures } = evaluate(
      lines.map((line) => JSON.parse(line)),
      options,
    );
    return { ...figures, 'commands per hand-over': sent / count };
  } finally {
    for (const { child } of workers) child.kill('SIGKILL');
    await Promise.all(servers.map((server) => server.stop()));
  }
}

module.exports = { CONTENDERS, contend, isOfGo };

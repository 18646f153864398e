'use strict';

// `node bench/peers.js`: see HELP.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const readline = require('node:readline');
const { setTimeout: delay } = require('node:timers/promises');

const { readNumbers } = require('../tools/command-line.js');
const { startServers } = require('../tools/redis-servers.js');
const { main } = require('../tools/setup.js');
const { render } = require('../tools/tables.js');
const { BLOCKED, KEY, LIBRARIES, WAITERS } = require('./peers-worker.js');
const { prepare } = require('./prepare.js');
const { countCommands } = require('./sent.js');
const { summary } = require('./statistics.js');

const DEFAULTS = { nodes: 3, rounds: 5 };
const HELP = `Usage: node bench/peers.js [options]

Three things that the other benchmarks do not tell, for each library with its own defaults:

  blocked  how long a lock that is kept alive stays on a quorum of the servers while the event loop of
           its holder is blocked, for ${BLOCKED} ms, three times as long as the lock lives
  waiting  how many commands the servers get in a second from a process with ${WAITERS} callers that want a
           lock which somebody else has
  begin    how long a new process takes for its first lock, from before it loads the library and its
           client: on the clock, and in processor time

  --nodes N    servers (default ${DEFAULTS.nodes})
  --rounds N   of blocked and begin, in turn; the median counts (default ${DEFAULTS.rounds})
`;

/** The key, and what redis-semaphore makes of it. */
const KEYS = [KEY, `mutex:${KEY}`];
const SETTLING = 1500;
const COUNTING = 2000;
const LOOK_AGAIN = 20;

function start(task, library, servers) {
  const file = path.join(__dirname, 'peers-worker.js');
  const args = [file, task, library, ...servers.map(({ url }) => url)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = readline.createInterface({ input: child.stdout });
  const ended = once(child, 'exit').then(() => {
    throw new Error(`${library}: ended too early`);
  });
  ended.catch(() => {}); // also when it ends at its time
  const told = once(lines, 'line').then(([line]) => line);
  return { child, line: Promise.race([told, ended]) };
}

function all(servers, ...command) {
  return Promise.all(servers.map((server) => server.command(...command)));
}

/** Runs `body` on servers of its own, over which `task` runs in another process. */
async function beside(task, library, nodes, body) {
  const servers = await startServers(nodes);
  if (task === 'wait') {
    for (const key of KEYS) await all(servers, 'SET', key, 'somebody', 'PX', 600_000);
  }
  const { child, line } = start(task, library, servers);
  try {
    return await body(servers, line);
  } finally {
    child.kill('SIGKILL');
    await Promise.all(servers.map((server) => server.stop()));
  }
}

/** Milliseconds until fewer servers than a quorum have the lock; those of the whole block if they keep it. */
function blocked(library, nodes) {
  return beside('block', library, nodes, async (servers, line) => {
    await line;
    const begin = performance.now();
    const since = () => performance.now() - begin;
    while (since() < BLOCKED) {
      const stored = await all(servers, 'EXISTS', ...KEYS);
      if (stored.filter((count) => Number(count) > 0).length <= nodes / 2) return since();
      await delay(LOOK_AGAIN);
    }
    return BLOCKED;
  });
}

function waiting(library, nodes) {
  return beside('wait', library, nodes, async (servers, line) => {
    await line;
    await delay(SETTLING);
    const begin = performance.now();
    const before = await countCommands(servers, library);
    await delay(COUNTING);
    const sent = (await countCommands(servers, library)) - before;
    return (sent * 1000) / (performance.now() - begin);
  });
}

async function firstLock(library, nodes) {
  return JSON.parse(await beside('begin', library, nodes, (_, line) => line));
}

function shown(values, isCapped = false) {
  const { median, min, max } = summary(values);
  if (isCapped && min >= BLOCKED) return 'all the time';
  return `${median.toFixed(0)} (${min.toFixed(0)}–${max.toFixed(0)})`;
}

main(async () => {
  const { help, nodes, rounds } = readNumbers(process.argv.slice(2), DEFAULTS);
  if (help) return console.log(HELP);
  prepare();
  const results = LIBRARIES.map((library) => ({ library, kept: [], begins: [] }));
  for (let round = 0; round < rounds; round++) {
    // Nobody does anything while it is blocked, so all are at once.
    const kept = await Promise.all(LIBRARIES.map((library) => blocked(library, nodes)));
    kept.forEach((ms, i) => results[i].kept.push(ms));
    for (const { library, begins } of results) begins.push(await firstLock(library, nodes));
  }
  const rows = [];
  for (const { library, kept, begins } of results) {
    const isPool = library === 'redsync-over-ioredis'; // nothing that others send says what it has sent
    rows.push([
      library,
      shown(kept, true),
      isPool ? '–' : (await waiting(library, nodes)).toFixed(0),
      shown(begins.map(({ ms }) => ms)),
      shown(begins.map(({ cpu }) => cpu)),
    ]);
  }
  const header = [
    '',
    'kept while blocked, ms',
    'commands/s',
    'first lock, ms',
    'its processor, ms',
  ];
  console.log(render(header, rows));
});

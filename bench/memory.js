'use strict';

// `node bench/memory.js`: see HELP. Every figure comes from a fresh process, memory-worker.js.

const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');

const { readNumbers } = require('../tools/command-line.js');
const { startServers } = require('../tools/redis-servers.js');
const { announce, main } = require('../tools/setup.js');
const { render } = require('../tools/tables.js');
const { prepare } = require('./prepare.js');
const { number } = require('./tables.js');

const DEFAULTS = { nodes: 3, count: 20_000, burst: 100_000 };
const HELP = `Usage: node bench/memory.js [options]

What objects and calls of redsync and node-redlock cost in memory.

  --nodes N   Redis nodes (default ${DEFAULTS.nodes})
  --count N   objects or calls to divide by (default ${DEFAULTS.count})
  --burst N   lock() calls at once (default ${DEFAULTS.burst})
  --help      prints this
`;

const CASES = [
  { id: 'mutex', title: 'a Mutex', libraries: ['redsync'] },
  { id: 'held', title: 'a lock that is held', libraries: ['redsync', 'redlock'] },
  { id: 'waiting', title: 'a call that waits for a taken lock', libraries: ['redsync', 'redlock'] },
];
const NAMES = { redsync: 'redsync', redlock: 'node-redlock' };
const MIB = 2 ** 20;

const TAKE = `for i = 0, ARGV[1] - 1 do
  redis.call('SET', 'taken:' .. i, 'somebody else')
end`;

/** What the worker found, on servers of its own. */
async function examine({ library, id, count, nodes }) {
  announce(`${NAMES[library]}: ${id}`);
  const servers = await startServers(nodes);
  try {
    for (const server of servers) await server.command('EVAL', TAKE, 0, count);
    const worker = path.join(__dirname, 'memory-worker.js');
    const args = ['--expose-gc', worker, library, id, count, ...servers.map(({ url }) => url)];
    const { stdout } = await promisify(execFile)(process.execPath, args.map(String));
    return JSON.parse(stdout);
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

async function objects({ nodes, count }) {
  const rows = [];
  for (const { id, title, libraries } of CASES) {
    for (const library of libraries) {
      const { heap, rss } = await examine({ library, id, count, nodes });
      rows.push([title, NAMES[library], number(heap / count), number(rss / count)]);
    }
  }
  return render(['bytes for each', 'library', 'heap', 'resident'], rows);
}

async function bursts({ nodes, burst }) {
  const rows = [];
  for (const library of Object.keys(NAMES)) {
    const result = await examine({ library, id: 'burst', count: burst, nodes });
    rows.push([
      NAMES[library],
      result.succeeded,
      number(result.seconds),
      number(result.peak / MIB),
      number(result.left / MIB),
    ]);
  }
  return render(
    [`${burst} lock() at once`, 'succeeded', 'seconds', 'added at most, MiB', 'left, MiB'],
    rows,
  );
}

main(async () => {
  const options = readNumbers(process.argv.slice(2), DEFAULTS);
  if (options.help) return console.log(HELP);
  prepare();
  const tables = [await objects(options), await bursts(options)];
  console.log(`\n${tables.join('\n\n')}`);
});

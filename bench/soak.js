'use strict';

// `node bench/soak.js`: see HELP.

const v8 = require('node:v8');
const vm = require('node:vm');

const { main } = require('../scripts/setup.js');
const { startServers } = require('../scripts/redis-servers.js');
const { readNumbers } = require('./options.js');
const { prepare } = require('./prepare.js');

const AT_ONCE = 512;
const STEPS = 20;
const MIB = 2 ** 20;

const DEFAULTS = { cycles: 10_000_000, nodes: 3 };
const HELP = `Usage: node bench/soak.js [options]

Runs lock+unlock cycles of redsync, ${AT_ONCE} at once, and prints the memory in use
${STEPS} times on the way: it must not grow.

  --cycles N   (default ${DEFAULTS.cycles})
  --nodes N    Redis nodes (default ${DEFAULTS.nodes})
  --ioredis    over auto-pipelined clients of ioredis instead of URLs
  --help       prints this
`;

// The flag after the start, so that nobody has to remember it.
v8.setFlagsFromString('--expose-gc');
const collect = vm.runInNewContext('gc');

let made = 0;

async function runCycles(redsync, last) {
  const worker = async () => {
    while (made < last) {
      const lock = await redsync.newMutex(`soak:${made++}`).lock();
      await lock.unlock();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

function memory() {
  collect();
  const { heapUsed, rss } = process.memoryUsage();
  return { heap: heapUsed, rss };
}

function show(cells) {
  console.log(cells.map((cell) => String(cell).padStart(14)).join(''));
}

/** Bytes for each cycle between the first quarter, in which pools fill, and the end. */
function growth(samples, key) {
  const first = samples[Math.floor(samples.length / 4)];
  const last = samples.at(-1);
  return ((last[key] - first[key]) / (last.cycles - first.cycles)).toFixed(3);
}

async function soak(redsync, cycles) {
  const samples = [];
  show(['cycles', 'heap, MiB', 'resident, MiB', 'cycles/s']);
  for (let step = 1; step <= STEPS; step++) {
    const [start, before] = [performance.now(), made];
    await runCycles(redsync, Math.round(cycles * step / STEPS));
    const rate = (made - before) / (performance.now() - start) * 1000;
    const { heap, rss } = memory();
    samples.push({ cycles: made, heap, rss });
    show([made, (heap / MIB).toFixed(2), (rss / MIB).toFixed(1), Math.round(rate)]);
  }
  console.log('\nGrowth since the first quarter, bytes per cycle: ' +
    `heap ${growth(samples, 'heap')}, resident ${growth(samples, 'rss')}`);
}

async function expectNoKeys(servers) {
  for (const server of servers) {
    const keys = await server.command('DBSIZE');
    if (keys !== 0) throw new Error(`${keys} keys are left on ${server.url}`);
  }
}

function connect(urls) {
  const { connectClients } = require('./clients.js');
  return connectClients(urls, { enableAutoPipelining: true });
}

main(async () => {
  const args = process.argv.slice(2);
  const isOverIoredis = args.includes('--ioredis');
  const { help, cycles, nodes } = readNumbers(args.filter((arg) => arg !== '--ioredis'), DEFAULTS);
  if (help) return console.log(HELP);
  prepare({ withLibraries: isOverIoredis });
  const { Redsync } = require('../index.js');
  const { newPool } = require('../lib/adapters/ioredis.js');
  const servers = await startServers(nodes);
  const urls = servers.map(({ url }) => url);
  const clients = isOverIoredis ? await connect(urls) : [];
  const redsync = new Redsync(isOverIoredis ? clients.map(newPool) : urls);
  try {
    await soak(redsync, cycles);
    await expectNoKeys(servers);
  } finally {
    await redsync.close();
    for (const client of clients) client.disconnect();
    await Promise.all(servers.map((server) => server.stop()));
  }
});

'use strict';

// `node bench/growth.js`: see HELP.

const { spawnSync } = require('node:child_process');
const { setImmediate: turn, setTimeout: delay } = require('node:timers/promises');

const { readNumbers } = require('../tools/command-line.js');
const { startServers } = require('../tools/redis-servers.js');
const { main } = require('../tools/setup.js');
const { prepare } = require('./prepare.js');
const { summary } = require('./statistics.js');

const AT_ONCE = 512;
const STEPS = 20;
const MIB = 2 ** 20;

/** How much more memory the last quarter may take than the second, in percent. */
const MOST_GROWTH = 5;

/**
 * V8 lets its young generation grow and shrink by what is allocated, by more than what a leak would
 * show in: here it has its full size from the start.
 */
const FLAGS = ['--expose-gc', '--min-semi-space-size=16', '--max-semi-space-size=16'];

/** A machine that does something else for a moment does not end it. */
const PATIENT = { timeoutFactor: 0.5 };

/** The resident memory differs from moment to moment: the least of so many counts. */
const LOOKS = 5;

/** They are extended so often that millions of extensions take minutes; a busy machine is late, and loses none. */
const KEPT = { expiry: 30_000, autoExtend: { interval: 200 } };

const DEFAULTS = { cycles: 10_000_000, held: 0, nodes: 3 };
const HELP = `Usage: node bench/growth.js [options]

Runs lock+unlock cycles of redsync, ${AT_ONCE} at once, and prints the memory in use
${STEPS} times on the way. It must not grow: fails if the last quarter takes more than
${MOST_GROWTH}% more than the second; in the first one all pools fill.

  --cycles N   (default ${DEFAULTS.cycles})
  --held N     holds N locks that are kept alive; a cycle is an extension of one of them,
               as the servers count it
  --nodes N    Redis nodes (default ${DEFAULTS.nodes})
  --ioredis    over auto-pipelined clients of ioredis instead of URLs
  --help       prints this
`;

/** Locks and unlocks. */
class Cycles {
  made = 0;
  #redsync;

  constructor(redsync) {
    this.#redsync = redsync;
  }

  async run(last) {
    const worker = async () => {
      while (this.made < last) {
        const lock = await this.#redsync.newMutex(`soak:${this.made++}`).lock();
        await lock.unlock();
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }

  async end() {}
}

/** Extensions of locks that are held. */
class Extensions {
  made = 0;
  #locks = [];
  #servers;

  constructor(servers) {
    this.#servers = servers;
  }

  async begin(redsync, count) {
    const worker = async () => {
      while (made < count) this.#locks.push(await redsync.newMutex(`held:${made++}`, KEPT).lock());
    };
    let made = 0;
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }

  async run(last) {
    while (this.made < last) {
      await delay(100);
      this.made = Math.min(...(await Promise.all(this.#servers.map(extensions))));
    }
  }

  async end() {
    const lost = this.#locks.filter((lock) => !(lock.remaining > 0)).length;
    if (lost > 0) throw new Error(`${lost} locks are lost`);
    for (const lock of this.#locks) await lock.unlock();
  }
}

/** How many keys a server has prolonged. */
async function extensions(server) {
  return Number(
    /^cmdstat_pexpire:calls=(\d+)/m.exec(await server.command('INFO', 'commandstats'))?.[1] ?? 0,
  );
}

async function memory() {
  let least = { heap: Infinity, rss: Infinity };
  for (let look = 0; look < LOOKS; look++) {
    globalThis.gc();
    await turn();
    globalThis.gc();
    const { heapUsed, rss } = process.memoryUsage();
    least = { heap: Math.min(least.heap, heapUsed), rss: Math.min(least.rss, rss) };
  }
  return least;
}

function show(cells) {
  console.log(cells.map((cell) => String(cell).padStart(14)).join(''));
}

/** What a quarter of the way took, 1 to 4. */
function quarter(samples, number, key) {
  const length = samples.length / 4;
  const part = samples.slice((number - 1) * length, number * length);
  return summary(part.map((sample) => sample[key])).median;
}

/** From the second quarter to the last, in percent. */
function growth(samples, key) {
  const [second, last] = [2, 4].map((number) => quarter(samples, number, key));
  const percent = (last / second - 1) * 100;
  const shown = [second, last].map((bytes) => `${(bytes / MIB).toFixed(2)} MiB`);
  console.log(
    `${key}: ${shown.join(' in the second quarter, ')} in the last: ${percent.toFixed(1)}%`,
  );
  return percent;
}

async function soak(work, cycles) {
  const samples = [];
  show(['cycles', 'heap, MiB', 'resident, MiB', 'cycles/s']);
  for (let step = 1; step <= STEPS; step++) {
    const [start, before] = [performance.now(), work.made];
    await work.run(Math.round((cycles * step) / STEPS));
    const rate = ((work.made - before) / (performance.now() - start)) * 1000;
    const { heap, rss } = await memory();
    samples.push({ cycles: work.made, heap, rss });
    show([work.made, (heap / MIB).toFixed(2), (rss / MIB).toFixed(1), Math.round(rate)]);
  }
  console.log();
  const grown = ['heap', 'rss'].filter((key) => growth(samples, key) > MOST_GROWTH);
  if (grown.length > 0) throw new Error(`memory has grown: ${grown.join(', ')}`);
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

/** With the flags, so that nobody has to remember them. */
function again(args) {
  const { status } = spawnSync(process.execPath, [...FLAGS, __filename, ...args], {
    stdio: 'inherit',
  });
  process.exitCode = status ?? 1;
}

main(async () => {
  const args = process.argv.slice(2);
  const isOverIoredis = args.includes('--ioredis');
  const { help, cycles, held, nodes } = readNumbers(
    args.filter((arg) => arg !== '--ioredis'),
    DEFAULTS,
  );
  if (help) return console.log(HELP);
  prepare({ withLibraries: isOverIoredis });
  const { Redsync } = require('../index.js');
  const { newPool } = require('../lib/adapters/ioredis.js');
  if (globalThis.gc === undefined) return again(args);
  const servers = await startServers(nodes);
  const urls = servers.map(({ url }) => url);
  const clients = isOverIoredis ? await connect(urls) : [];
  const redsync = new Redsync(isOverIoredis ? clients.map(newPool) : urls, PATIENT);
  try {
    const work = held > 0 ? new Extensions(servers) : new Cycles(redsync);
    await work.begin?.(redsync, held);
    await soak(work, cycles);
    await work.end();
    await expectNoKeys(servers);
  } finally {
    await redsync.close();
    for (const client of clients) client.disconnect();
    await Promise.all(servers.map((server) => server.stop()));
  }
});

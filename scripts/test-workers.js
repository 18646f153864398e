'use strict';

// `npm run test:workers`: see HELP.

const { once } = require('node:events');
const { setTimeout: delay } = require('node:timers/promises');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');

const Redis = require('ioredis');

const { Redsync } = require('..');
const { until } = require('../__test__/helpers/async.js');
const { HandWrittenPool } = require('../__test__/helpers/hand-written-pool.js');
const { newPool } = require('../lib/adapters/ioredis.js');
const { readNumbers } = require('../tools/command-line.js');
const { main } = require('../tools/setup.js');

const DEFAULTS = { rounds: 100, workers: 8, calls: 1000 };
const HELP = `Usage: npm run test:workers -- [options]

Terminates worker threads in the middle of their work, on nodes of every kind, at random moments, again and
again. Nothing may crash, hang or be called back in an environment that is gone. The process goes on locking,
and what the workers held is free when it has expired: nobody keeps it alive, nobody keeps a connection.

  --rounds N   (default ${DEFAULTS.rounds})
  --workers N  in each round (default ${DEFAULTS.workers})
  --calls N    in flight in each worker (default ${DEFAULTS.calls})
  --help       prints this
`;

const LONGEST_LIFE = 40; // ms after the calls are on their way
const EXPIRY = 2000;
const OPTIONS = { expiry: EXPIRY, autoExtend: true };
/** What is left of the workers is gone after one expiry, on a busy machine a little later. */
const PATIENTLY = { timeout: 5 * EXPIRY };

/** The nodes that a worker is given: with pools, questions to JavaScript are under way when it ends. */
const NODES = [
  (urls) => urls,
  (urls) => urls.map(pool),
  (urls) => [urls[0], ...urls.slice(1).map(pool)],
  (urls) => urls.map((url) => newPool(new Redis(url))),
  () => ['memory:a', 'memory:b', 'memory:c'],
];

function pool(url) {
  const { hostname: host, port } = new URL(url);
  return new HandWrittenPool({ host, port: Number(port) });
}

async function keepInFlight({ urls, calls, name, kind, options }) {
  const redsync = new Redsync(NODES[kind](urls));
  const cycle = async (i) => {
    for (;;) {
      const lock = await redsync.newMutex(`${name}:${i}`, options).lock();
      await lock.unlock();
    }
  };
  const cycles = Array.from({ length: calls }, (_, i) => cycle(i));
  setImmediate(() => parentPort.postMessage('in flight'));
  await Promise.all(cycles);
}

async function oneWorker(workerData) {
  const worker = new Worker(__filename, { workerData });
  const failed = once(worker, 'error').then(([error]) => {
    throw error;
  });
  failed.catch(() => {});
  await Promise.race([once(worker, 'message'), failed]);
  await Promise.race([delay(Math.random() * LONGEST_LIFE), failed]);
  await worker.terminate();
}

/** Resolves when every round is over and the process can still lock. */
async function terminateWorkers(redsync, urls, { rounds, workers, calls, options = OPTIONS }) {
  for (let round = 0; round < rounds; round++) {
    const each = (_, i) =>
      oneWorker({ urls, calls, name: `${round}:${i}`, kind: i % NODES.length, options });
    await Promise.all(Array.from({ length: workers }, each));
    const lock = await redsync.newMutex(`after:${round}`).lock();
    if (!(await lock.unlock())) throw new Error(`round ${round}: the lock was not released`);
  }
}

async function connections(server) {
  return Number(/^connected_clients:(\d+)/m.exec(await server.command('INFO', 'clients'))[1]);
}

async function testWorkers() {
  const { help, ...counts } = readNumbers(process.argv.slice(2), DEFAULTS);
  if (help) return console.log(HELP);
  const { startServers } = require('../tools/redis-servers.js'); // not in the workers
  const servers = await startServers(3);
  const urls = servers.map(({ url }) => url);
  const redsync = new Redsync(urls);
  await (await redsync.acquire('before')).unlock();
  const before = await Promise.all(servers.map(connections));
  await terminateWorkers(redsync, urls, counts);
  for (const [i, server] of servers.entries()) {
    await until(async () => (await server.command('DBSIZE')) === 0, PATIENTLY);
    await until(async () => (await connections(server)) <= before[i], PATIENTLY);
  }
  await redsync.close();
  await Promise.all(servers.map((server) => server.stop()));
  const { rounds, workers, calls } = counts;
  console.log(
    `${rounds} rounds of ${workers} workers with ${calls} calls each, rss ${process.memoryUsage().rss >> 20} MiB: clean`,
  );
}

if (!isMainThread) keepInFlight(workerData);
else if (require.main === module) main(testWorkers);

module.exports = { NODES, terminateWorkers };

'use strict';

// The measurement: every contender in a process of its own, connected to the same servers, and one
// after the other in every round, so that whatever else the machine does hits them alike.

const { setTimeout: delay } = require('node:timers/promises');

const { lockKeys, startServers } = require('../tools/redis-servers.js');
const { Contender } = require('./contender.js');
const { cpuOf, spent } = require('./cpu.js');

const AT_ONCE = [1, 64, 512];
const SETTLE = 1000;
const KEY = 'bench:check';

/** Compares under all conditions; `onPoint` is told the results of each when they are complete. */
async function compare({ nodes, contenders, onPoint, ...plan }) {
  for (const count of nodes) {
    const servers = await startServers(count);
    const running = contenders.map((contender) => new Contender(contender));
    try {
      for (const contender of running) await connect(contender, servers);
      for (const inFlight of AT_ONCE) {
        const results = await comparePoint({ running, servers, inFlight, ...plan });
        onPoint({ nodes: count, inFlight, results });
      }
      for (const contender of running) await contender.close();
    } finally {
      for (const contender of running) contender.kill();
      await Promise.all(servers.map((server) => server.stop()));
    }
  }
}

async function connect(contender, servers) {
  await contender.connect(servers.map(({ url }) => url));
  await contender.hold(KEY);
  await expectLocks(contender, servers, 1, Math.floor(servers.length / 2) + 1);
  await contender.release(KEY);
  await expectNothingLeft(contender, servers);
}

/** Nobody else uses the servers: this many of them must store this many locks. */
async function expectLocks(contender, servers, locks, atLeast) {
  const deadline = Date.now() + SETTLE;
  for (;;) {
    const keys = await Promise.all(servers.map(lockKeys));
    const counts = keys.map(({ length }) => length);
    if (counts.filter((count) => count === locks).length >= atLeast) return;
    if (Date.now() > deadline) {
      throw new Error(`${contender.title}: the nodes store ${counts} locks instead of ${locks}`);
    }
    await delay(1); // what a quorum has settled may still be on its way to the others
  }
}

/** No lock is left; and whoever comes next does not share the servers with a hundred thousand tokens. */
async function expectNothingLeft(contender, servers) {
  await expectLocks(contender, servers, 0, servers.length);
  await Promise.all(servers.map((server) => server.command('FLUSHALL')));
}

async function comparePoint({ running, servers, inFlight, rounds, duration, ...warmUps }) {
  const results = Object.fromEntries(running.map(({ id }) => [id, []]));
  for (const contender of running) await contender.run(inFlight, warmUps.firstWarmUp);
  for (let round = 0; round < rounds; round++) {
    for (const contender of running) {
      await contender.run(inFlight, warmUps.warmUp);
      results[contender.id].push(await measure({ contender, servers, inFlight, duration }));
      await expectNothingLeft(contender, servers);
    }
  }
  return results;
}

/** One round of one contender, per cycle and in microseconds. */
async function measure({ contender, servers, inFlight, duration }) {
  const pids = servers.map(({ pid }) => pid);
  const before = cpuOf(pids);
  const round = await contender.run(inFlight, duration);
  const serverCpu = spent(before, cpuOf(pids));
  const each = (total) => (typeof total === 'number' ? total / round.cycles : null);
  return {
    rate: (round.cycles / round.elapsed) * 1e6,
    p50: round.p50 ?? null,
    p99: round.p99 ?? null,
    threadCpu: each(round.threadCpu),
    processCpu: each(round.processCpu),
    serverCpu: each(serverCpu),
  };
}

module.exports = { AT_ONCE, compare };

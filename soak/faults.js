'use strict';

// What goes wrong while the soak runs. Each fault takes its time and then mends itself.

const { setTimeout: delay } = require('node:timers/promises');

const { until } = require('../__test__/helpers/async.js');
const { blockSnapshots, letSnapshots } = require('../__test__/helpers/snapshots.js');
const { fillDisk, freeDisk } = require('./disk.js');

/** Between two faults, in milliseconds. */
const PAUSE = 400;

const pick = (list) => list[Math.floor(Math.random() * list.length)];
const upTo = (ms) => delay(Math.random() * ms);

/**
 * @param {object} parts `nodes`, and `contenders` with `replace`, `pause`, `resume`
 * @param {number} expiry the longest there is
 */
function faultsOf({ nodes, contenders }, expiry) {
  const busy = new Set();
  /** A minority of the nodes at a time, so that there is something to hold on to. */
  const onNode = (act) => async () => {
    const free = nodes.filter((node) => !busy.has(node));
    if (busy.size >= Math.floor((nodes.length - 1) / 2)) return false;
    const node = pick(free);
    busy.add(node);
    try {
      await act(node);
    } finally {
      busy.delete(node);
    }
    return true;
  };
  /** What a network does for a while. */
  const onNetwork = (begin) =>
    onNode(async ({ proxy }) => {
      begin(proxy);
      await upTo(expiry * 3);
      await proxy.heal();
    });
  /** What it does to packets, where the soak has one of its own. */
  const onWire = (begin) =>
    onNode(async ({ wire }) => {
      await begin(wire);
      await upTo(expiry * 3);
      await wire.heal();
    });
  /** What a server's settings do for a while. */
  const onSetting = (name, bad, good) =>
    onNode(async ({ server }) => {
      await server.command('CONFIG', 'SET', name, bad);
      await upTo(expiry * 2);
      await server.command('CONFIG', 'SET', name, good);
    });
  const isApart = nodes.every(({ wire, disk }) => wire && disk);
  return {
    'contenders killed': async () => {
      await pick(contenders).replace();
      return true;
    },
    'contenders stopped (SIGSTOP)': async () => {
      const contender = pick(contenders);
      contender.pause();
      await upTo(expiry * 2);
      contender.resume();
      return true;
    },
    'servers stopped (SIGSTOP)': onNode(async ({ server }) => {
      server.pause();
      await upTo(expiry * 2);
      server.resume();
    }),
    // The contenders keep them in quarantine.
    'servers killed, and back without data': onNode(async ({ server }) => {
      await server.kill();
      await upTo(expiry * 1.2);
      await server.restart();
    }),
    'servers out of memory (OOM)': onSetting('maxmemory', 1, 0),
    'servers that cannot save (MISCONF)': onNode(async ({ server }) => {
      await blockSnapshots(server);
      await upTo(expiry * 2);
      await letSnapshots(server);
    }),
    'servers that keep who writes waiting (CLIENT PAUSE)': onNode(async ({ server }) => {
      const ms = Math.ceil(Math.random() * expiry * 2);
      await server.command('CLIENT', 'PAUSE', ms, 'WRITE');
      await delay(ms);
    }),
    'servers busy with a script (BUSY)': onNode(async ({ server }) => {
      const client = await server.connect();
      await client.command('CONFIG', 'SET', 'lua-time-limit', 50);
      const killed = client.command('EVAL', 'while true do end', 0).catch(() => {});
      await upTo(expiry);
      const kill = () => server.command('SCRIPT', 'KILL');
      await until(() => kill().catch(() => false)); // it may not have begun yet
      await killed;
      client.close();
    }),
    'black holes': onNetwork((proxy) => proxy.swallow()),
    'commands that do not arrive': onNetwork((proxy) => proxy.swallow('commands')),
    'answers that do not arrive': onNetwork((proxy) => proxy.swallow('replies')),
    'nodes that accept, and say nothing': onNode(async ({ proxy }) => {
      proxy.reset();
      proxy.swallow();
      await upTo(expiry * 3);
      proxy.lose();
      await proxy.heal();
    }),
    'connections refused': onNetwork((proxy) => {
      proxy.refuse();
      proxy.reset();
    }),
    'connections lost without a word': onNode(async ({ proxy }) => {
      proxy.lose();
      await upTo(expiry);
    }),
    'connections reset': onNode(async ({ proxy }) => proxy.reset()),
    'slow networks': onNetwork((proxy) => proxy.delay((Math.random() * expiry) / 4)),
    'connections slower than others to the same node': onNetwork((proxy) =>
      proxy.delay((Math.random() * expiry) / 2, 0.5),
    ),
    'bytes that trickle in': onNetwork((proxy) => proxy.trickle(Math.random() * 2)),
    ...(isApart && {
      'packets lost, a share': onWire((wire) => wire.lose(0.05 + Math.random() * 0.6)),
      'packets lost, all': onWire((wire) => wire.loseAll()),
      'packets lost, to a node': onWire((wire) => wire.loseThere()),
      'packets lost, from a node': onWire((wire) => wire.loseBack()),
      'packets rejected by a firewall': onWire((wire) => wire.reject()),
      'servers with a full disk (MISCONF)': onNode(async ({ server, disk }) => {
        await fillDisk(server, disk);
        await upTo(expiry * 2);
        await freeDisk(server, disk);
      }),
    }),
  };
}

/** Injects faults until `isOver()`, and resolves when all are mended: how often each came. */
async function injectFaults(parts, expiry, isOver) {
  const faults = faultsOf(parts, expiry);
  const counts = Object.fromEntries(Object.keys(faults).map((name) => [name, 0]));
  const running = new Set();
  while (!isOver()) {
    const name = pick(Object.keys(faults));
    const fault = faults[name]().then((done) => {
      if (done) counts[name]++;
      running.delete(fault);
    });
    running.add(fault);
    await upTo(2 * PAUSE);
  }
  await Promise.all(running);
  return counts;
}

module.exports = { injectFaults };

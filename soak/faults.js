'use strict';

// What goes wrong while the soak runs. Each fault takes its time and then mends itself.

const { setTimeout: delay } = require('node:timers/promises');

/** Between two faults, in milliseconds. */
const PAUSE = 400;

const pick = (list) => list[Math.floor(Math.random() * list.length)];
const upTo = (ms) => delay(Math.random() * ms);

/**
 * @param {object} parts `servers` with their `proxies`, `contenders` with `kill`, `pause`, `resume`
 * @param {number} expiry the longest there is
 */
function faultsOf({ servers, proxies, contenders }, expiry) {
  const busy = new Set();
  /** A minority of the nodes at a time, so that there is something to hold on to. */
  const onNode = (act) => async () => {
    const free = servers.map((_, i) => i).filter((i) => !busy.has(i));
    if (busy.size >= Math.floor((servers.length - 1) / 2)) return false;
    const node = pick(free);
    busy.add(node);
    try {
      await act(servers[node], proxies[node]);
    } finally {
      busy.delete(node);
    }
    return true;
  };
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
    'servers stopped (SIGSTOP)': onNode(async (server) => {
      server.pause();
      await upTo(expiry * 2);
      server.resume();
    }),
    // The contenders keep them in quarantine.
    'servers killed, and back without data': onNode(async (server) => {
      await server.kill();
      await upTo(expiry * 1.2);
      await server.restart();
    }),
    'black holes': onNode(async (server, proxy) => {
      proxy.swallow();
      await upTo(expiry * 3);
      await proxy.heal();
    }),
    'connections lost without a word': onNode(async (server, proxy) => {
      proxy.lose();
      await upTo(expiry);
    }),
    'connections reset': onNode(async (server, proxy) => proxy.reset()),
    'slow networks': onNode(async (server, proxy) => {
      proxy.delay((Math.random() * expiry) / 4);
      await upTo(expiry * 2);
      await proxy.heal();
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

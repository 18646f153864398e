'use strict';

// A page that everybody wants has dropped out of the cache. Each of a thousand requests on two machines would
// render it. On each machine one of them goes for it, and all others wait for what that one brings; over the machines
// a lock lets one render it, and the other finds it in the cache.
//
//   node examples/cache-stampede.js        REQUESTS=1000, and WORK=200 milliseconds to render a page
//
// In five runs on two busy processors half of the requests had their page within 1.08 to 1.23 times the work.

const { setTimeout: delay } = require('node:timers/promises');

const { Redsync } = require('redsync');
const { findNodes } = require('./nodes.js');
const { stopping } = require('./stopping.js');

const REQUESTS = Number(process.env.REQUESTS ?? 1000);
const WORK = Number(process.env.WORK ?? 200);

const cache = new Map(); // stands for the cache that the machines share
let rendered = 0;

async function render(page, signal) {
  rendered++;
  console.log(`renders the ${page}`);
  if (process.env.FAIL) throw new Error('it cannot be rendered');
  await delay(WORK, undefined, { signal }); // expensive
  return `<h1>${page}</h1>`;
}

class Machine {
  #redsync;
  #flights = new Map(); // the page, and who is on the way to it

  constructor(redsync) {
    this.#redsync = redsync;
  }

  async get(page, signal) {
    return cache.get(page) ?? this.#join(page, signal);
  }

  /** A thousand requests of one machine are one for the lock. */
  #join(page, signal) {
    let flight = this.#flights.get(page);
    if (flight === undefined) {
      flight = this.#fetch(page, signal).finally(() => this.#flights.delete(page));
      this.#flights.set(page, flight);
    }
    return flight;
  }

  #fetch(page, signal) {
    return this.#redsync.using(`render:${page}`, { signal }, async (signal) => {
      // Another machine may have been at it while this one waited.
      if (!cache.has(page)) cache.set(page, await render(page, signal));
      return cache.get(page);
    });
  }
}

async function serve(machines, signal) {
  const times = [];
  const request = async (_, i) => {
    const start = performance.now();
    const page = await machines[i % machines.length].get('front page', signal);
    times.push(performance.now() - start);
    return page;
  };
  const pages = await Promise.all(Array.from({ length: REQUESTS }, request));
  const same = new Set(pages).size === 1;
  console.log(`${pages.length} requests got ${same ? 'the same page' : 'different pages'}`);
  console.log(`it was rendered ${rendered} time${rendered === 1 ? '' : 's'}`);
  times.sort((a, b) => a - b);
  const p50 = times[Math.floor(times.length / 2)];
  console.log(
    `half of them within ${Math.round(p50)} ms, ${(p50 / WORK).toFixed(2)} times the work`,
  );
}

async function main() {
  const signal = stopping();
  const nodes = await findNodes();
  const options = { keyPrefix: `example:${process.pid}:`, expiry: 2000, wait: 60_000 };
  const all = [1, 2].map(() => new Redsync(nodes.urls, options));
  try {
    await Promise.all(all.map((redsync) => redsync.ready()));
    await serve(
      all.map((redsync) => new Machine(redsync)),
      signal,
    );
  } catch (error) {
    if (!signal.aborted) throw error;
    console.log('has stopped');
  } finally {
    await Promise.all(all.map((redsync) => redsync.close()));
    await nodes.stop();
  }
}

main();

'use strict';

// A page that everybody wants has dropped out of the cache. Each of twenty requests on two machines
// would render it; with a lock one does, and the others wait for what it puts into the cache.

const { setTimeout: delay } = require('node:timers/promises');

const { Redsync } = require('../index.js');
const { findNodes } = require('./nodes.js');

const REQUESTS = 20;

const cache = new Map(); // stands for the cache that the machines share
let rendered = 0;

async function render(page) {
  rendered++;
  await delay(300); // expensive
  return `<h1>${page}</h1>`;
}

async function get(redsync, page) {
  return (
    cache.get(page) ??
    redsync.using(`render:${page}`, async () => {
      // Somebody else may have been at it while this one waited.
      if (!cache.has(page)) cache.set(page, await render(page));
      return cache.get(page);
    })
  );
}

async function main() {
  const nodes = await findNodes();
  const options = { keyPrefix: `example:${process.pid}:`, tries: Infinity, retryDelay: 50 };
  const machines = [1, 2].map(() => new Redsync(nodes.urls, options));
  try {
    const requests = Array.from({ length: REQUESTS }, (_, i) => get(machines[i % 2], 'front page'));
    const pages = await Promise.all(requests);
    const same = new Set(pages).size === 1;
    console.log(`${pages.length} requests got ${same ? 'the same page' : 'different pages'}`);
    console.log(`it was rendered ${rendered} time${rendered === 1 ? '' : 's'}`);
  } finally {
    await Promise.all(machines.map((redsync) => redsync.close()));
    await nodes.stop();
  }
}

main();

'use strict';

// The snippets of docs/migrating-from-redis-semaphore.md do what the page says: those of the other library and ours, side
// by side on the same servers.

const fs = require('node:fs');
const path = require('node:path');
const { setTimeout: delay } = require('node:timers/promises');

const test = require('ava');
const { Redis } = require('ioredis');
const semaphores = require('redis-semaphore');
const { Redsync } = require('redsync');

const { until } = require('../__test__/helpers/async.js');
const { useServers } = require('../__test__/helpers/servers.js');

const PAGE = path.join(__dirname, '..', 'docs', 'migrating-from-redis-semaphore.md');
const AT_ONCE = 8;

/**
 * For each section with a pair: on how many servers, how many may be inside at once, how often the work is done by so
 * many callers, and whether the other library keeps to the limit.
 */
const SECTIONS = {
  Mutex: { size: 1, most: 1, runs: AT_ONCE },
  RedlockMutex: { size: 3, most: 1, runs: 1 },
  Semaphore: { size: 1, most: 5, runs: AT_ONCE },
  RedlockSemaphore: { size: 3, most: 5, runs: AT_ONCE, overshoots: 7 },
  MultiSemaphore: { size: 1, most: 2, runs: AT_ONCE },
  'Handing over': { size: 1, most: 1, runs: AT_ONCE },
};

/** The pairs of the page, by the heading that they stand under. */
function pairs() {
  const sections = fs.readFileSync(PAGE, 'utf8').split(/^## /m).slice(1);
  return Object.fromEntries(
    sections.flatMap((section) => {
      const code = (language) =>
        new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\``, 'm').exec(section)?.[1];
      const [before, after] = [code('javascript'), code('js')];
      return before ? [[section.split('\n', 1)[0], { before, after }]] : [];
    }),
  );
}

const AsyncFunction = (async () => {}).constructor;

/** What becomes of callers who all run a snippet at once. */
async function outcome(code, names) {
  let [inside, most, runs] = [0, 0, 0];
  const work = async () => {
    most = Math.max(most, ++inside);
    runs++;
    await delay(20);
    inside--;
  };
  const scope = { ...names, work };
  const run = new AsyncFunction(...Object.keys(scope), code);
  await Promise.all(Array.from({ length: AT_ONCE }, () => run(...Object.values(scope))));
  return { most, runs };
}

const PAIRS = pairs();

test('every pair is run', (t) => {
  t.deepEqual(Object.keys(PAIRS), Object.keys(SECTIONS));
});

for (const [title, { size, most, runs, overshoots = most }] of Object.entries(SECTIONS)) {
  test.serial(`${title}: both snippets do the same`, async (t) => {
    const servers = await useServers(t, size);
    const urls = servers.map(({ url }) => url);
    const clients = urls.map((url) => new Redis(url));
    const redsync = new Redsync(urls, { timeoutFactor: 0.25 });
    t.teardown(async () => {
      await redsync.close();
      for (const client of clients) client.disconnect();
    });
    await redsync.ready();
    const names = { ...semaphores, client: clients[0], clients, redsync };
    const isEmpty = async () =>
      (await Promise.all(servers.map((server) => server.command('DBSIZE')))).every((n) => n === 0);

    const before = await outcome(PAIRS[title].before, names);
    t.true(before.most <= overshoots, `${before.most}`);
    t.is(before.runs, runs);
    await until(isEmpty);

    t.deepEqual(await outcome(PAIRS[title].after, names), { most, runs });
    await until(isEmpty);
  });
}

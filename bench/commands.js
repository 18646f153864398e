'use strict';

// `node bench/commands.js ["Valkey 9"…]`: what a lock's commands cost a server, in microseconds of its
// processor time, by script and by the commands that newer servers have. With names of
// tools/fetch-servers.js on these, otherwise on the redis-server that is installed.

const path = require('node:path');

const { SCRIPTS } = require('../lib/scripts.js');
const { fetchServer, SERVERS } = require('../tools/fetch-servers.js');
const { startServer } = require('../tools/redis-servers.js');
const { main } = require('../tools/setup.js');
const { render } = require('../tools/tables.js');
const { cpuOf } = require('./cpu.js');
const { prepare } = require('./prepare.js');
const { summary } = require('./statistics.js');

const ROUNDS = 7;
const PIPELINES = 300;
const LOCKS = 64; // in a pipeline
const EXPIRY = 8000;
const VALUE = 'p2Wm8k0QbB1rYl9sZx4cVA==';

/** What is added to the pipeline, for all of its keys. */
const WAYS = [
  [
    'release: a script each',
    { script: 'release' },
    (sha) => (key) => ['EVALSHA', sha, 1, key, VALUE],
  ],
  [
    'release: one script for all',
    { script: 'releaseMany' },
    (sha) => (key, i, keys) =>
      i === 0 && ['EVALSHA', sha, LOCKS, ...keys, 0, ...keys.map(() => VALUE)],
  ],
  ['release: DELIFEQ', { command: 'DELIFEQ' }, () => (key) => ['DELIFEQ', key, VALUE]],
  ['release: DELEX IFEQ', { command: 'DELEX' }, () => (key) => ['DELEX', key, 'IFEQ', VALUE]],
  [
    'extend: a script each',
    { script: 'extend' },
    (sha) => (key) => ['EVALSHA', sha, 1, key, VALUE, EXPIRY, 0],
  ],
  [
    'extend: one script for all',
    { script: 'extendMany' },
    (sha) => (key, i, keys) =>
      i === 0 && ['EVALSHA', sha, LOCKS, ...keys, EXPIRY, ...keys.map(() => VALUE)],
  ],
  [
    'extend: SET IFEQ',
    { ifeq: true },
    () => (key) => ['SET', key, VALUE, 'IFEQ', VALUE, 'PX', EXPIRY],
  ],
];

async function pipeline(client, commands) {
  const replies = await client.pipeline(commands.map((command) => ['call', ...command])).exec();
  for (const [error, reply] of replies) {
    if (error) throw error;
    if (!(reply === 1 || reply === 'OK' || /^1+$/.test(reply)))
      throw new Error(`answered ${reply}`);
  }
}

async function knows(client, { command, ifeq }) {
  if (command) return (await client.call('COMMAND', 'INFO', command))[0] !== null;
  if (!ifeq) return true;
  return client.call('SET', 'key', VALUE, 'IFEQ', VALUE).then(
    () => true,
    () => false,
  );
}

/** What the commands of one way cost for each lock, which is acquired before and over afterwards. */
async function measure(server, client, command, prefix) {
  let spent = 0;
  for (let i = 0; i < PIPELINES; i++) {
    const keys = Array.from({ length: LOCKS }, (_, j) => `${prefix}:${i}:${j}`);
    await pipeline(
      client,
      keys.map((key) => ['SET', key, VALUE, 'NX', 'PX', EXPIRY]),
    );
    const before = cpuOf([server.pid]);
    await pipeline(client, keys.map(command).filter(Boolean));
    spent += cpuOf([server.pid]) - before;
  }
  await client.flushall();
  return spent / (PIPELINES * LOCKS);
}

async function measureServer() {
  const { Redis } = require('ioredis');
  const server = await startServer();
  const client = new Redis(server.url);
  const ways = [];
  for (const [title, needs, make] of WAYS) {
    if (!(await knows(client, needs))) continue;
    const sha = needs.script && (await client.script('LOAD', SCRIPTS[needs.script].source));
    ways.push({ title, command: make(sha), figures: [] });
  }
  for (let round = 0; round <= ROUNDS; round++) {
    for (const { title, command, figures } of ways) {
      const figure = await measure(server, client, command, `${title} ${round}`);
      if (round > 0) figures.push(figure); // the first is for warming up
    }
  }
  client.disconnect();
  await server.stop();
  return ways.map(({ title, figures }) => {
    const { median, min, max } = summary(figures);
    return [title, `${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`];
  });
}

main(async () => {
  prepare();
  const { PATH } = process.env;
  const names = process.argv.slice(2);
  for (const name of names.length > 0 ? names : ['installed']) {
    const known = SERVERS.find((each) => each.name === name);
    if (known) process.env.PATH = `${fetchServer(known).bin}${path.delimiter}${PATH}`;
    const title = known ? `${name} (${fetchServer(known).version})` : name;
    console.log(`\n${render([title, 'µs for a lock'], await measureServer())}`);
  }
});

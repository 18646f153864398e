'use strict';

// However the examples of locks end, in the middle of their work: no node stores anything of theirs then, or only
// until the expiry.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');

const test = require('ava');

const { until } = require('./helpers/async.js');
const { storedOn, useServers } = require('./helpers/servers.js');

// On Windows a signal ends a process at once.
const withSignals = process.platform === 'win32' ? test.serial.skip : test.serial;

const EXAMPLES = path.join(__dirname, '..', 'examples');
const TIMEOUT = 60_000;
const NOTHING = [[], [], []];

/** Work that does not end by itself. */
const ENDLESS = { WORK: '600000', EXPIRY: '3000' };

/**
 * What each says when it is at work, and how many keys it has then on each node. Those that are made of several
 * processes are run as one of them.
 */
const PROGRAMS = [
  { name: 'cache-stampede.js', busy: 'renders the front page\n', keys: 1 },
  { name: 'limit-of-n.js', busy: '3 at once\n', keys: 3 },
  { name: 'leader.js', args: ['amber', 'example:'], busy: 'amber leads\n', keys: 1 },
  // It holds its locks for some seconds, done or not.
  { name: 'cron-once.js', args: ['amber', 'example:'], busy: 'amber runs', keys: 1, rests: true },
];

async function start(t, { name, args }, env) {
  const servers = await useServers(t, 3);
  const urls = servers.map(({ url }) => url);
  const all = args === undefined ? [] : [...args, ...urls];
  const child = spawn(process.execPath, [path.join(EXAMPLES, name), ...all], {
    env: { ...process.env, REDIS_URLS: urls.join(','), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT,
    killSignal: 'SIGKILL',
  });
  t.teardown(() => child.kill('SIGKILL'));
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr']) {
    child[stream].setEncoding('utf8').on('data', (chunk) => (output[stream] += chunk));
  }
  return { servers, child, output, exit: once(child, 'close') };
}

async function nothingIsLeft(t, servers, rests) {
  if (!rests) t.deepEqual(await storedOn(servers), NOTHING);
  await until(async () => (await storedOn(servers)).flat().length === 0);
}

for (const program of PROGRAMS) {
  const { name, busy, keys, rests } = program;

  for (const signal of ['SIGTERM', 'SIGINT']) {
    withSignals(`${name} leaves nothing when it gets ${signal}`, async (t) => {
      const { servers, child, output, exit } = await start(t, program, ENDLESS);
      await until(() => output.stdout.includes(busy));
      child.kill(signal);
      t.deepEqual(await exit, [0, null], output.stderr);
      t.is(output.stderr, '');
      await nothingIsLeft(t, servers, rests);
    });
  }

  withSignals(`${name} leaves what expires when it is killed`, async (t) => {
    const { servers, child, output, exit } = await start(t, program, ENDLESS);
    await until(() => output.stdout.includes(busy));
    child.kill('SIGKILL');
    t.deepEqual(await exit, [null, 'SIGKILL']);
    for (const stored of await storedOn(servers)) t.is(stored.length, keys, `${stored}`);
    await until(async () => (await storedOn(servers)).flat().length === 0);
  });

  test.serial(`${name} leaves nothing when its work throws`, async (t) => {
    const { servers, output, exit } = await start(t, program, { FAIL: '1' });
    t.deepEqual(await exit, [1, null], output.stderr);
    t.regex(output.stderr, /Error: (the (job|leader|service) has failed|it cannot be rendered)\n/);
    await nothingIsLeft(t, servers, rests);
  });
}

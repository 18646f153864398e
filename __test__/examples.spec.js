'use strict';

const { execFile, spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { text } = require('node:stream/consumers');

const { Client } = require('pg');
const test = require('ava');

const { startObjectStore } = require('../examples/object-store.js');
const { startPostgres } = require('../tools/postgres.js');
const { until } = require('./helpers/async.js');
const { storedOn, useServers } = require('./helpers/servers.js');

// On Windows a SIGTERM ends a process at once.
const withSignals = process.platform === 'win32' ? test.serial.skip : test.serial;
const onLinux = process.platform === 'linux' ? test.serial : test.serial.skip;

const EXAMPLES = path.join(__dirname, '..', 'examples');
const TIMEOUT = 60_000;

/** Runs an example until it ends by itself, and gives the lines that it printed. */
async function run(t, name, env = {}) {
  const options = { timeout: TIMEOUT, env: { ...process.env, REDIS_URLS: '', ...env } };
  const { error, stdout, stderr } = await new Promise((resolve) => {
    const args = [path.join(EXAMPLES, name)];
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      resolve({ error, stdout, stderr });
    });
  });
  t.is(error, null, stdout);
  t.is(stderr, '');
  return stdout.trim().split('\n');
}

/** The second writer has the lock while the first one writes: the store refuses, and no deposit is lost. */
function checkLateWriter(t, lines) {
  t.deepEqual(lines, [
    'amber reads 100',
    'amber is stopped for longer than its lock lives',
    'birch reads 100',
    'amber is refused and starts over',
    'birch has written 110',
    'amber reads 110',
    'amber has written 120',
  ]);
}

const CHECKS = {
  'cache-stampede.js': (t, lines) => {
    const [, , , times] = lines;
    t.deepEqual(lines, [
      'renders the front page',
      '1000 requests got the same page',
      'it was rendered 1 time',
      times,
    ]);
    t.regex(times, /^half of them within \d+ ms, [\d.]+ times the work$/);
  },
  'cron-once.js': (t, lines) => {
    t.is(lines.pop(), '4 machines, 3 ticks');
    const ticks = lines.map((line) =>
      Number(/^(?:amber|birch|cedar|delta) runs the job of tick (\d+)$/.exec(line)?.[1]),
    );
    t.is(ticks.length, 3, lines.join('\n'));
    t.deepEqual(ticks, [ticks[0], ticks[0] + 1, ticks[0] + 2], 'once each');
  },
  'fencing-object-store.js': checkLateWriter,
  'fencing-postgres.js': checkLateWriter,
  'leader.js': (t, lines) => {
    const story = lines.join('\n');
    const [, one, two, three] =
      /^(\w+) leads\n\1 is killed: (\w+) leads \d+ ms later, the expiry is 1000 ms\n\2 is frozen: (\w+) leads \d+ ms later\n\2 wakes up, and leads no more\nall have stopped$/.exec(
        story,
      ) ?? [];
    t.is(new Set([one, two, three]).size, 3, story);
  },
  'limit-of-n.js': (t, lines) => {
    t.deepEqual(lines, [
      '1 at once',
      '2 at once',
      '3 at once',
      '24 calls answered, at most 3 at once',
    ]);
  },
  'matchmaking.js': (t, lines) => {
    t.is(lines.pop(), '6 games, 12 players matched, nobody waits');
    t.is(lines.length, 6);
    for (const line of lines) t.regex(line, /^player \d+ plays player \d+$/);
  },
  'opentelemetry.js': (t, lines) => {
    const [told, scraped] = [lines.slice(0, 8), lines.slice(8).join('\n')];
    t.deepEqual(told, [
      'told: ERR_LOCK_TAKEN',
      'told: ERR_LOCK_LOST',
      'told: ERR_EXTEND_FAILED',
      'span lock: acquired, in a span',
      'span lock: taken, in a span',
      'span lock: taken, in a span',
      'span order: -, root',
      'span lock: acquired, root',
    ]);
    t.regex(scraped, /^lock_wait_duration_count\{lock_outcome="acquired",.*\} 2$/m);
    t.regex(scraped, /^lock_losses_total\{.*\} 1$/m);
    t.regex(scraped, /^lock_held\{.*\} 0$/m);
    t.is(scraped.match(/^lock_node_up\{.*\} 1$/gm).length, 3);
  },
  'demo.js': (t, lines) => {
    const story = lines.map((line) => line.replace(/^ *[\d.]+ ms {2}/, '')).join('\n');
    t.regex(story, /^(throw-away redis-servers|nodes of REDIS_URLS): 2 of 3 decide\n/);
    t.regex(story, /\nAlice has the lock .*\nBob tries once: taken\nBob waits for it\n/);
    t.regex(story, /\nnodes\[2\] (was killed|is replaced by)/);
    t.regex(story, /\nAlice extends: true .*\nAlice releases: true .*\nBob has the lock /);
    t.regex(story, /\nBob releases: true$/);
  },
};

test('every example is run', (t) => {
  // Those of testing/ are run in testing.spec.js, those of frameworks in examples-frameworks.spec.js, and the service
  // does not end by itself: see below. The other files are what the examples need, or go with them.
  const others = [
    'bullmq',
    'fastify',
    'grafana-dashboard.json',
    'http-service.js',
    'late-writer.js',
    'nestjs',
    'nextjs',
    'nodes.js',
    'object-store.js',
    'prometheus-alerts.test.yml',
    'prometheus-alerts.yml',
    'stopping.js',
    'testing',
  ];
  const examples = fs.readdirSync(EXAMPLES).filter((file) => !others.includes(file));
  t.deepEqual(examples.sort(), Object.keys(CHECKS).sort());
});

/** Those that release all that they have locked. */
const LEAVING_NOTHING = ['cache-stampede.js', 'leader.js', 'limit-of-n.js', 'matchmaking.js'];

for (const [name, check] of Object.entries(CHECKS)) {
  test.serial(`${name} on servers of its own`, async (t) => check(t, await run(t, name)));

  test.serial(`${name} on REDIS_URLS`, async (t) => {
    const servers = await useServers(t, 3);
    const urls = servers.map(({ url }) => url).join(',');
    check(t, await run(t, name, { REDIS_URLS: urls }));
    if (LEAVING_NOTHING.includes(name)) t.deepEqual(await storedOn(servers), [[], [], []]);
    // What is left there expires.
    for (const server of servers) {
      const keys = await server.command('KEYS', '*');
      const ttls = await Promise.all(keys.map((key) => server.command('PTTL', key)));
      t.true(
        ttls.every((ttl) => ttl > 0),
        keys.join(),
      );
    }
  });
}

test.serial('a stampede costs half of the requests hardly more than the work', async (t) => {
  const lines = await run(t, 'cache-stampede.js', { WORK: '1000' });
  const [, times] = /([\d.]+) times the work$/.exec(lines.at(-1));
  t.true(Number(times) >= 1 && Number(times) < 1.3, times);
});

test.serial('fencing-postgres.js on POSTGRES_URL leaves nothing there', async (t) => {
  const server = await startPostgres();
  t.teardown(() => server.stop());
  checkLateWriter(t, await run(t, 'fencing-postgres.js', { POSTGRES_URL: server.url }));
  const client = new Client(server.url);
  await client.connect();
  const { rows } = await client.query("SELECT nspname FROM pg_namespace WHERE nspname ~ 'redsync'");
  await client.end();
  t.deepEqual(rows, []);
});

test.serial('fencing-object-store.js on OBJECT_STORE_URL leaves nothing there', async (t) => {
  const store = await startObjectStore();
  t.teardown(() => store.stop());
  checkLateWriter(t, await run(t, 'fencing-object-store.js', { OBJECT_STORE_URL: store.url }));
  t.is(store.size, 0);
});

withSignals('http-service.js lets its work come to its end on SIGTERM', async (t) => {
  const servers = await useServers(t, 3);
  const REDIS_URLS = servers.map(({ url }) => url).join(',');
  const child = spawn(process.execPath, [path.join(EXAMPLES, 'http-service.js')], {
    env: { ...process.env, REDIS_URLS, PORT: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT,
    killSignal: 'SIGKILL',
  });
  t.teardown(() => child.kill('SIGKILL'));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk) => (output += chunk));
  }
  const exit = once(child, 'exit');
  const stored = () =>
    Promise.all(servers.map((server) => server.command('EXISTS', 'example:prices')));

  const url = await until(() => /listens on (\S+)\n/.exec(output)?.[1]);
  const request = http.request(url, { method: 'POST' });
  const answered = once(request, 'response');
  request.write('nut;1\n');
  await until(() => output.includes('begins a list\n'));
  t.is((await fetch(url, { method: 'POST' })).status, 409);

  child.kill('SIGTERM');
  await until(() => output.includes('accepts no more\n'));
  await until(() =>
    fetch(url).then(
      () => false,
      ({ cause }) => cause.code === 'ECONNREFUSED',
    ),
  );
  t.deepEqual(await stored(), [1, 1, 1], 'it still has the lock');
  t.is(child.exitCode, null);

  request.end('bolt;2\n');
  const [response] = await answered;
  t.is(response.statusCode, 200);
  t.is(await text(response), '13 bytes\n');
  t.deepEqual(await exit, [0, null], output);
  t.deepEqual(output.split('\n').slice(1), [
    'begins a list',
    'accepts no more',
    'has taken in a list',
    'has stopped',
    '',
  ]);
  t.deepEqual(await stored(), [0, 0, 0]);
});

test('the stand-in for S3 makes the conditions of S3', async (t) => {
  const store = await startObjectStore();
  t.teardown(() => store.stop());
  const object = `${store.url}/object`;
  const put = (body, headers) => fetch(object, { method: 'PUT', body, headers });

  t.is((await fetch(object)).status, 404);
  t.is((await put('one', { 'if-match': '"?"' })).status, 404);
  const first = (await put('one', { 'if-none-match': '*' })).headers.get('etag');
  t.is((await put('two', { 'if-none-match': '*' })).status, 412);
  t.is((await fetch(object)).headers.get('etag'), first);

  const second = (await put('two', { 'if-match': first })).headers.get('etag');
  t.not(second, first);
  t.is((await put('three', { 'if-match': first })).status, 412);
  t.is(await (await fetch(object)).text(), 'two');

  // What only metadata tell does not count.
  const metadata = { 'x-amz-meta-token': '7', 'if-match': second };
  t.is((await put('two', metadata)).headers.get('etag'), second);
});

/** The processes that look for their temporary files in `folder`, or work in it. */
function processesOf(folder) {
  const mentions = (read) => {
    try {
      return read().includes(folder);
    } catch {
      return false; // it has ended
    }
  };
  return fs.readdirSync('/proc').filter((pid) => {
    const entry = path.join('/proc', pid);
    return (
      /^\d+$/.test(pid) &&
      (mentions(() => fs.readFileSync(path.join(entry, 'environ'))) ||
        mentions(() => fs.readlinkSync(path.join(entry, 'cwd'))))
    );
  });
}

for (const name of ['fencing-postgres.js', 'fencing-object-store.js']) {
  onLinux(`${name} leaves no process, not even when it is killed`, async (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'redsync-examples-'));
    t.teardown(() => fs.rmSync(folder, { recursive: true }));
    fs.chmodSync(folder, 0o755); // PostgreSQL may run as another user
    const env = { REDIS_URLS: '', TMPDIR: folder };
    checkLateWriter(t, await run(t, name, env));
    t.deepEqual(fs.readdirSync(folder), []);
    t.deepEqual(processesOf(folder), []);

    const child = spawn(process.execPath, [path.join(EXAMPLES, name)], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    await until(() => output.includes('amber is stopped'));
    t.true(processesOf(folder).length >= 5, 'itself, a stopped writer and three nodes');
    child.kill('SIGKILL');
    await until(() => processesOf(folder).length === 0);
  });
}

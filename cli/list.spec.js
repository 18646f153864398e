'use strict';

const { execFile } = require('node:child_process');
const path = require('node:path');

const test = require('ava');

const { Redsync } = require('../index.js');
const { until } = require('../__test__/helpers/async.js');
const { deadUrl, useServers } = require('../__test__/helpers/servers.js');
const { top } = require('./top.js');

const BIN = path.join(__dirname, 'redsync.js');

/** Runs the command line in a process of its own, without a terminal. */
function redsync(args, env) {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, REDSYNC_NODES: '', ...env }, timeout: 60_000 };
    execFile(process.execPath, [BIN, ...args], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : error.code, stdout, stderr });
    });
  });
}

/** Three servers with locks on them. */
async function useLocks(t) {
  const servers = await useServers(t, 3);
  const urls = servers.map(({ url }) => url);
  const holder = new Redsync(urls, { owner: 'web-1:7', expiry: 60_000, keyPrefix: 'lock:' });
  t.teardown(() => holder.close());
  await holder.acquire('invoice:42');
  for (let i = 0; i < 2; i++) await holder.newSemaphore('thumbnails', 2).tryLock();
  await holder.newReadWriteLock('catalogue').read.lock();
  await Promise.all(
    servers.map((server) => server.command('SET', 'lock:\u001b[31m', 'foreign', 'PX', 60_000)),
  );
  // Of what the last node has not answered yet nothing is told.
  await until(async () =>
    (await holder.list()).every(({ owners }) => owners.every(({ nodes }) => nodes.length === 3)),
  );
  return { servers, env: { REDSYNC_NODES: urls.join(',') } };
}

const PREFIX = ['--prefix', 'lock:'];

for (const command of ['list', 'top']) {
  test.serial(`${command}: a table of who holds what`, async (t) => {
    const { servers, env } = await useLocks(t);
    const { code, stdout, stderr } = await redsync([command, ...PREFIX], env);
    t.deepEqual([code, stderr], [0, '']);
    const lines = stdout.split('\n');
    t.regex(lines[0], /^NAME +KIND +OWNER +HELD +REMAINING +NODES$/);
    t.regex(lines[1], /^"\\u001b\[31m" +mutex +\d+\.\d s +0,1,2$/);
    t.regex(lines[2], /^catalogue +read +\d+\.\d s +0,1,2$/);
    t.regex(lines[3], /^invoice:42 +mutex +web-1:7 +\d+\.\d s +5\d\.\d s +0,1,2$/);
    t.regex(lines[4], /^thumbnails +semaphore +web-1:7 +\d+\.\d s +5\d\.\d s +0,1,2$/);
    t.regex(lines[5], /^thumbnails +semaphore +web-1:7 +\d+\.\d s +5\d\.\d s +0,1,2$/);
    t.deepEqual(lines.slice(6), ['', '4 names are locked', '']);

    const some = await redsync([command, 'invoice:*', ...PREFIX], env);
    t.regex(some.stdout, /^NAME[^\n]*\ninvoice:42 [^\n]*\n\n1 name is locked\n$/);
    const none = await redsync([command, 'x*', ...PREFIX], env);
    t.like(none, { code: 0, stdout: 'no names are locked\n' });

    await servers[0].kill();
    t.regex((await redsync([command, 'invoice:*', ...PREFIX], env)).stdout, / 1,2\n\n1 name /);
    await servers[1].kill();
    const failed = await redsync([command, ...PREFIX], env);
    t.deepEqual([failed.code, failed.stdout], [1, '']);
    t.regex(failed.stderr, /^redsync: no quorum of 2 of 3 nodes \(.*\n$/);
  });
}

test.serial('list --limit and --json', async (t) => {
  const { env } = await useLocks(t);
  const cut = await redsync(['list', '--limit', '3', ...PREFIX], env);
  t.is(cut.code, 0);
  t.regex(cut.stdout, /\n3 names are locked; more are: give a PATTERN or a greater --limit\n$/);
  t.notRegex(cut.stdout, /thumbnails/);

  const { code, stdout } = await redsync(['list', '--json', '--limit', '3', ...PREFIX], env);
  t.is(code, 0);
  const { names, incomplete } = JSON.parse(stdout);
  t.is(incomplete, 'limit');
  t.deepEqual(
    names.map(({ name, kind }) => [name, kind]),
    [
      ['\u001b[31m', 'mutex'],
      ['catalogue', 'read'],
      ['invoice:42', 'mutex'],
    ],
  );
  const [{ owner, since, remaining, nodes }] = names[2].owners;
  t.deepEqual([owner, nodes], ['web-1:7', [0, 1, 2]]);
  t.true(Date.now() - Date.parse(since) < 60_000);
  t.true(remaining > 0 && remaining <= 60_000);
});

/** A terminal that keeps what is written to it. */
class Terminal {
  isTTY = true;
  columns = 40;
  rows = 6;
  screens = [];

  write(text) {
    this.screens.push(text);
  }

  get last() {
    return this.screens.at(-1) ?? '';
  }
}

test.serial('top: a terminal shows it anew, as much as there is room for', async (t) => {
  const { servers, env } = await useLocks(t);
  const terminal = new Terminal();
  const usage = { prefix: 'lock:', nodes: env.REDSYNC_NODES.split(','), interval: '100' };
  const signals = process.listenerCount('SIGINT');
  const ended = top(usage, terminal);
  t.teardown(() => process.emit('SIGINT')); // what fails must not go on

  await until(() => terminal.screens.length >= 2);
  const [home, ...lines] = terminal.last.split(/(?<=^\x1b\[H)|\x1b\[K\n/);
  t.is(home, '\x1b[H');
  t.regex(lines[0], /^\d{4}-\d\d-\d\dT[\d:.]+Z {2}3 nodes$/);
  t.is(lines[1], '');
  t.regex(lines[2], /^NAME +KIND/);
  t.regex(lines[3], /^"\\u001b/);
  t.is(lines[4], '4 names are locked');
  t.deepEqual(lines.slice(5), ['\x1b[J']);
  t.true(lines.every((line) => line.length < terminal.columns));

  terminal.rows = 0;
  terminal.columns = 0; // it does not know
  await until(() => /\nthumbnails /.test(terminal.last));
  await Promise.all(servers.map((server) => server.command('DEL', 'lock:invoice:42')));
  await until(() => !terminal.last.includes('invoice:42'));
  await Promise.all(servers.slice(1).map((server) => server.kill()));
  await until(() => terminal.last.includes('no quorum of 2 of 3 nodes'));

  process.emit('SIGINT');
  t.is(await ended, 0);
  t.is(process.listenerCount('SIGINT'), signals);
  const { length } = terminal.screens;
  await new Promise((resolve) => {
    setTimeout(resolve, 300);
  });
  t.is(terminal.screens.length, length);
});

const NODE = ['--node', 'memory:'];

const WRONG = [
  [['list', 'a', 'b', ...NODE], /one PATTERN is expected, and "b" is one more/],
  [['list', '', ...NODE], /PATTERN must be a well-formed string of 1 to 1024 bytes/],
  [['list', ...NODE, '--limit', '0'], /--limit must be a whole number from 1 to 10000, not "0"/],
  [['list', ...NODE, '--timeout', '0'], /--timeout must be whole milliseconds/],
  [['list', ...NODE, '--interval', '500'], /unknown option --interval; "list" knows/],
  [['list', ...NODE, '--', 'true'], /"list" runs no program/],
  [['list'], /no nodes: give --node URL/],
  [['top', ...NODE, '--interval', '99'], /--interval must be whole milliseconds, .* from 100 to /],
  [['top', ...NODE, '--json'], /unknown option --json; "top" knows/],
];

for (const [args, message] of WRONG) {
  test.serial(`wrong usage: redsync ${args.map((arg) => arg || '""').join(' ')}`, async (t) => {
    const { code, stdout, stderr } = await redsync(args);
    t.deepEqual([code, stdout], [2, '']);
    t.regex(stderr, message);
    t.regex(stderr, /\nTry "redsync .*--help"\.\n$/);
  });
}

test.serial('list of nodes that are down fails in time', async (t) => {
  const { code, stderr } = await redsync(['list', '--node', await deadUrl()]);
  t.is(code, 1);
  t.regex(stderr, /^redsync: no quorum of 1 of 1 node \(/);
});

test.serial('help', async (t) => {
  for (const command of ['list', 'top']) {
    const { code, stdout } = await redsync([command, '--help']);
    t.is(code, 0);
    t.true(stdout.startsWith(`Usage: redsync ${command} [PATTERN]`));
    t.true(stdout.includes('Exit codes'));
  }
});

'use strict';

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const test = require('ava');

const { useServers } = require('./helpers/servers.js');

const EXAMPLES = path.join(__dirname, '..', 'examples');
const TIMEOUT = 60_000;

/** Runs an example until it ends by itself, and gives the lines that it printed. */
function run(t, name, env = {}) {
  return new Promise((resolve) => {
    const options = { timeout: TIMEOUT, env: { ...process.env, REDIS_URLS: '', ...env } };
    execFile(process.execPath, [path.join(EXAMPLES, name)], options, (error, stdout, stderr) => {
      t.is(error, null);
      t.is(stderr, '');
      resolve(stdout.trim().split('\n'));
    });
  });
}

const CHECKS = {
  'cache-stampede.js': (t, lines) => {
    t.deepEqual(lines, ['20 requests got the same page', 'it was rendered 1 time']);
  },
  'cron-once.js': (t, lines) => {
    t.is(lines.pop(), '4 machines, 3 ticks');
    const ticks = lines.map((line) =>
      Number(/^(?:amber|birch|cedar|delta) runs the job of tick (\d+)$/.exec(line)?.[1]),
    );
    t.is(ticks.length, 3, lines.join('\n'));
    t.deepEqual(ticks, [ticks[0], ticks[0] + 1, ticks[0] + 2], 'once each');
  },
  'matchmaking.js': (t, lines) => {
    t.is(lines.pop(), '6 games, 12 players matched, nobody waits');
    t.is(lines.length, 6);
    for (const line of lines) t.regex(line, /^player \d+ plays player \d+$/);
  },
  'opentelemetry.js': (t, lines) => {
    t.deepEqual(lines, [
      'metric redsync.locks.held : 1',
      'metric redsync.node.up node=0: 1',
      'metric redsync.node.up node=1: 1',
      'metric redsync.node.up node=2: 1',
      'span redsync.lock: ok, in a span',
      'span redsync.lock: taken, in a span',
      'span redsync.lock: ERR_LOCK_TAKEN, in a span',
      'span redsync.unlock: ok, in a span',
      'span order: -, root',
      'metric redsync.call.duration call=lock outcome=ok: 1',
      'metric redsync.call.duration call=lock outcome=taken: 1',
      'metric redsync.call.duration call=lock outcome=ERR_LOCK_TAKEN: 1',
      'metric redsync.call.duration call=unlock outcome=ok: 1',
      'metric redsync.locks.held : 0',
    ]);
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
  // Those of testing/ are run in testing.spec.js.
  const others = ['nodes.js', 'testing'];
  const examples = fs.readdirSync(EXAMPLES).filter((file) => !others.includes(file));
  t.deepEqual(examples.sort(), Object.keys(CHECKS).sort());
});

for (const [name, check] of Object.entries(CHECKS)) {
  test.serial(`${name} on servers of its own`, async (t) => check(t, await run(t, name)));

  test.serial(`${name} on REDIS_URLS`, async (t) => {
    const servers = await useServers(t, 3);
    const urls = servers.map(({ url }) => url).join(',');
    check(t, await run(t, name, { REDIS_URLS: urls }));
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

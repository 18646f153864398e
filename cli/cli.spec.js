'use strict';

const net = require('node:net');

const test = require('ava');

const { version } = require('../package.json');
const { ownerOf } = require('../lib/owner.js');
const { delay, until } = require('../__test__/helpers/async.js');
const {
  BIN,
  LISTENS,
  NODE,
  TIMEOUT,
  WAITS,
  environment,
  holdElsewhere,
  isFree,
  program,
  redsync,
  start,
} = require('../__test__/helpers/cli.js');
const { deadUrl, startServer, useServers } = require('../__test__/helpers/servers.js');

test.serial('run: the program has the lock and its value, and the lock is released', async (t) => {
  const servers = await useServers(t, 3);
  const running = start(
    t,
    [
      'run',
      'job',
      ...program(`
    process.on("SIGTERM", () => process.exit(42));
    process.stdin.resume(); setInterval(() => {}, 1000);
    console.log("value " + process.env.REDSYNC_LOCK + " " + process.argv.slice(1).join("|"));
  `),
      'one',
      '--two',
      'three four',
    ],
    environment(servers),
  );
  await running.says('\n');
  const [, value, args] = /^value (\S+) (.*)\n/.exec(running.output.stdout);
  t.is(args, 'one|--two|three four');
  for (const server of servers) t.is(await server.command('GET', 'job'), value);
  running.child.kill('SIGTERM');
  t.like(await running.ended, { code: 42, stderr: '' });
  t.true(await isFree(servers, 'job'));
});

/** Tells its token, and whether it has one at all. */
const TELLS_TOKEN = program(
  'console.log(JSON.stringify([process.env.REDSYNC_LOCK, process.env.REDSYNC_TOKEN ?? null]))',
);

test.serial('run --fencing: the program has a token, greater each time', async (t) => {
  const servers = await useServers(t, 3);
  const tokens = [];
  for (let i = 0; i < 3; i++) {
    const args = ['run', 'job', '--fencing', ...TELLS_TOKEN];
    const { code, stdout, stderr } = await redsync(t, args, environment(servers));
    t.deepEqual([code, stderr], [0, '']);
    const [value, token] = JSON.parse(stdout);
    t.regex(token, /^\d{16}$/);
    t.true(value.includes(`==#t=${token}#`), value);
    for (const server of servers) t.is(await server.command('GET', 'job:fence'), token);
    tokens.push(Number(token));
  }
  t.true(tokens[0] < tokens[1] && tokens[1] < tokens[2], `${tokens}`);
});

test.serial('run without --fencing: no token, not that of another lock either', async (t) => {
  for (const stale of ['1790000000000000', '']) {
    const args = ['run', 'job', ...NODE, ...TELLS_TOKEN];
    const { code, stdout, stderr } = await redsync(t, args, { REDSYNC_TOKEN: stale });
    t.deepEqual([code, stderr], [0, '']);
    t.is(JSON.parse(stdout)[1], null);
  }
});

test.serial('run --fencing within run: each program has the token of its own lock', async (t) => {
  const servers = await useServers(t, 1);
  const inner = [process.execPath, BIN, 'run', 'inner', '--fencing', ...TELLS_TOKEN];
  const args = ['run', 'outer', '--fencing', '--pass-nodes', '--', ...inner];
  const { code, stdout } = await redsync(t, args, environment(servers));
  t.is(code, 0);
  t.is(JSON.parse(stdout)[1], await servers[0].command('GET', 'inner:fence'));
});

for (const code of [0, 1, 2, 77]) {
  test.serial(`run: the program's exit code ${code} is passed on`, async (t) => {
    const result = await redsync(t, [
      'run',
      'job',
      '--node',
      'memory:',
      ...program(`process.exit(${code})`),
    ]);
    t.like(result, { code, stderr: '' });
  });
}

test.serial('run: a program that a signal has ended is 128 + n', async (t) => {
  const servers = await useServers(t, 1);
  const killed = program('process.kill(process.pid, "SIGKILL")');
  t.like(await redsync(t, ['run', 'job', ...killed], environment(servers)), {
    code: 137,
    stderr: '',
  });
  t.true(await isFree(servers, 'job'));
});

const ENDING = [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
  ['SIGQUIT', 131],
];

for (const [signal, code] of ENDING) {
  test.serial(
    `run: ${signal} is passed on to the program, and the lock released behind it`,
    async (t) => {
      const servers = await useServers(t, 1);
      const running = start(t, ['run', 'job', ...program(WAITS)], environment(servers));
      await running.says('started');
      running.child.kill(signal);
      t.like(await running.ended, { code, signal: null, stderr: '' });
      t.true(await isFree(servers, 'job'));
    },
  );

  test.serial(`run: ${signal} ends the wait, and nothing is run`, async (t) => {
    const servers = await useServers(t, 1);
    const lock = await holdElsewhere(t, servers, 'job', { expiry: TIMEOUT });
    const running = start(t, ['run', 'job', ...program(WAITS)], environment(servers));
    await until(
      async () => (await servers[0].command('CLIENT', 'LIST')).split('name=redsync').length > 2,
    );
    running.child.kill(signal);
    t.like(await running.ended, { code, signal: null, stdout: '', stderr: '' });
    t.true(await lock.unlock());
    t.true(await isFree(servers, 'job'));
  });
}

test.serial('run: what says nothing to redsync does not end the wait', async (t) => {
  const servers = await useServers(t, 1);
  const lock = await holdElsewhere(t, servers, 'job', { expiry: TIMEOUT });
  const running = start(t, ['run', 'job', ...program('console.log("done")')], environment(servers));
  await until(
    async () => (await servers[0].command('CLIENT', 'LIST')).split('name=redsync').length > 2,
  );
  for (const signal of ['SIGUSR1', 'SIGUSR2']) running.child.kill(signal);
  await delay(200);
  t.true(await lock.unlock());
  t.like(await running.ended, { code: 0, stdout: 'done\n', stderr: '' });
});

test.serial(
  'run: a program that cannot be run is 126 or 127, and the lock is released',
  async (t) => {
    const servers = await useServers(t, 1);
    const missing = await redsync(t, ['run', 'job', '--', 'no-such-program'], environment(servers));
    t.like(missing, { code: 127, stderr: 'redsync: no-such-program: not found\n' });
    const directory = await redsync(t, ['run', 'job', '--', __dirname], environment(servers));
    t.is(directory.code, 126);
    t.regex(directory.stderr, /cannot be run \(EACCES\)/);
    t.true(await isFree(servers, 'job'));
  },
);

test.serial('run --no-wait: a lock that is taken is told at once', async (t) => {
  const servers = await useServers(t, 3);
  await holdElsewhere(t, servers, 'job');
  for (const option of [['--no-wait'], ['--wait', '0']]) {
    const result = await redsync(
      t,
      ['run', 'job', ...option, ...program(WAITS)],
      environment(servers),
    );
    t.like(result, { code: 1, stdout: '', stderr: 'redsync: lock "job": taken\n' });
  }
});

test.serial('run --wait: gives up after so long', async (t) => {
  const servers = await useServers(t, 1);
  await holdElsewhere(t, servers, 'job', { expiry: TIMEOUT });
  const result = await redsync(
    t,
    ['run', 'job', '--wait', '300', ...program(WAITS)],
    environment(servers),
  );
  t.like(result, {
    code: 1,
    stdout: '',
    stderr: 'redsync: lock "job": still taken after 300 ms\n',
  });
});

test.serial('run: its durations have units', async (t) => {
  const servers = await useServers(t, 1);
  await holdElsewhere(t, servers, 'taken', { expiry: TIMEOUT });
  for (const [wait, ms] of [
    ['50', 50],
    ['60ms', 60],
    ['1s', 1000],
  ]) {
    const args = ['run', 'taken', '--wait', wait, ...program(WAITS)];
    const { stderr } = await redsync(t, args, environment(servers));
    t.is(stderr, `redsync: lock "taken": still taken after ${ms} ms\n`);
  }
  for (const [expiry, ms] of [
    ['9000ms', 9000],
    ['2m', 120_000],
    ['1h', 3_600_000],
  ]) {
    const args = ['run', 'job', '--expiry', expiry, '--kill-after', '1h', ...program(LISTENS)];
    const running = start(t, args, environment(servers), { stdio: ['pipe', 'pipe', 'pipe'] });
    await running.says('started');
    const left = await servers[0].command('PTTL', 'job');
    t.true(left > ms * 0.5 && left <= ms, `${expiry}: ${left}`);
    running.child.stdin.end();
    t.like(await running.ended, { code: 7, stderr: '' });
  }
});

test.serial(
  'run --conflict-exit-code: of a lock that others have, and of nothing else',
  async (t) => {
    const servers = await useServers(t, 1);
    const lock = await holdElsewhere(t, servers, 'job', { expiry: TIMEOUT });
    const tried = (...args) =>
      redsync(t, ['run', 'job', ...args, ...program('')], environment(servers));
    for (const code of [0, 75, 255]) {
      for (const option of [['--no-wait'], ['--wait', '50ms']]) {
        const { code: own, stderr } = await tried(...option, '--conflict-exit-code', `${code}`);
        t.is(own, code);
        t.regex(stderr, /taken/);
      }
    }
    t.true(await lock.unlock());
    t.is((await tried('--no-wait', '--conflict-exit-code', '75')).code, 0);
    const dead = ['--node', await deadUrl(), '--conflict-exit-code', '75'];
    for (const option of [[], ['--no-wait'], ['--wait', '100ms']]) {
      const { code, stderr } = await tried(...option, ...dead);
      t.is(code, 1);
      t.regex(stderr, /no quorum of 1 of 1 node.*connection refused/);
    }
  },
);

test.serial(
  'run --no-wait: others who have too few nodes for the lock are a conflict, too',
  async (t) => {
    const servers = await useServers(t, 2);
    await servers[0].command('SET', 'job', 'somebody else', 'PX', TIMEOUT);
    const args = ['run', 'job', '--no-wait', '--conflict-exit-code', '75', ...program(WAITS)];
    const { code, stderr } = await redsync(t, args, environment(servers));
    t.deepEqual([code, stderr], [75, 'redsync: lock "job": taken\n']);
  },
);

test.serial('REDSYNC_PREFIX is --prefix, if that is not given', async (t) => {
  const servers = await useServers(t, 1);
  const env = { ...environment(servers), REDSYNC_PREFIX: 'pre:' };
  const keys = program(`console.log('started'); process.stdin.resume();`);
  for (const [option, key] of [
    [[], 'pre:job'],
    [['--prefix', 'other:'], 'other:job'],
    [['--prefix='], 'job'],
  ]) {
    const options = { stdio: ['pipe', 'pipe', 'pipe'] };
    const running = start(t, ['run', 'job', ...option, ...keys], env, options);
    await running.says('started');
    t.deepEqual(await servers[0].command('KEYS', '*'), [key]);
    const { stdout } = await redsync(t, ['inspect', 'job', ...option], env);
    t.regex(stdout, new RegExp(`\nkey "${key}": held by `));
    const json = await redsync(t, ['inspect', 'job', '--json', ...option], env);
    t.like(JSON.parse(json.stdout), { name: 'job', key, status: 'held' });
    const value = await servers[0].command('GET', key);
    const unlock = ['unlock', 'job', '--value', value, ...option];
    t.is((await redsync(t, unlock, env)).code, 0);
    running.child.stdin.end();
    await running.ended;
  }
});

/** Tells what nodes it finds in its environment. */
const TELLS_NODES = program('console.log(JSON.stringify(process.env.REDSYNC_NODES ?? null))');

test.serial(
  'run: the program has the nodes, and their passwords, with --pass-nodes only',
  async (t) => {
    const server = await startServer({ password: 'sesame' });
    t.teardown(() => server.stop());
    const url = server.url.replace('redis://', 'redis://:sesame@');
    const env = { REDSYNC_NODES: url };
    const without = await redsync(t, ['run', 'job', ...TELLS_NODES], env);
    t.deepEqual([without.code, without.stdout], [0, 'null\n']);
    const passed = await redsync(t, ['run', 'job', '--pass-nodes', ...TELLS_NODES], env);
    t.deepEqual([passed.code, JSON.parse(passed.stdout)], [0, url]);

    // A program that needs them is told what to do.
    const inner = [process.execPath, BIN, 'unlock', 'job'];
    const asked = await redsync(t, ['run', 'job', '--', ...inner], env);
    t.is(asked.code, 2);
    t.regex(asked.stderr, /no nodes: .*"redsync run" passes it on with --pass-nodes/);
  },
);

test.serial('run: waits until the lock is free', async (t) => {
  const servers = await useServers(t, 3);
  const lock = await holdElsewhere(t, servers, 'job', { expiry: TIMEOUT });
  const running = start(t, ['run', 'job', ...program('console.log("done")')], environment(servers));
  await until(
    async () => (await servers[0].command('CLIENT', 'LIST')).split('name=redsync').length > 2,
  );
  t.is(running.output.stdout, '');
  t.true(await lock.unlock());
  t.like(await running.ended, { code: 0, stdout: 'done\n', stderr: '' });
});

test.serial('run: the lock is kept alive for longer than its expiry', async (t) => {
  const servers = await useServers(t, 1);
  const args = ['run', 'job', '--expiry', '600', ...program('setTimeout(() => {}, 2000)')];
  t.like(await redsync(t, args, environment(servers)), { code: 0, stderr: '' });
});

test.serial(
  'run --expiry: one that may be meant in seconds is told, by the name of the option',
  async (t) => {
    const { stderr } = await redsync(t, ['run', 'job', ...NODE, '--expiry', '90', '--', 'true']);
    // A busy machine may lose such a lock, which is told behind it.
    t.regex(
      stderr,
      /^redsync: --expiry is 90 milliseconds\. Did you mean 90 seconds\? Write 90000\n/,
    );
    t.notRegex(stderr, /trace-warnings/);
  },
);

test.serial('run: nodes that cannot be reached are told', async (t) => {
  const [one, two] = [await deadUrl(), await deadUrl()];
  for (const option of [[], ['--no-wait'], ['--wait', '60000']]) {
    const args = ['run', 'job', '--node', one, '--node', two, '--node', 'memory:', ...option];
    const { code, stdout, stderr } = await redsync(t, [...args, ...program(WAITS)]);
    t.is(code, 1);
    t.is(stdout, '');
    t.regex(stderr, /^redsync: lock "job": no quorum of 2 of 3 nodes.*connection refused.*\n$/);
  }
});

test.serial('run: a wrong password is told, and not shown', async (t) => {
  const server = await startServer({ password: 'right' });
  t.teardown(() => server.stop());
  const url = server.url.replace('redis://', 'redis://:nearly-right@');
  const { code, stderr } = await redsync(t, ['run', 'job', '--node', url, ...program(WAITS)]);
  t.is(code, 1);
  t.regex(stderr, /AUTH was refused: WRONGPASS/);
  t.notRegex(stderr, /nearly-right/);
});

test.serial('a minority of the nodes may be down', async (t) => {
  const servers = await useServers(t, 2);
  const env = { REDSYNC_NODES: `${servers[0].url}, ${await deadUrl()},${servers[1].url}` };
  const args = ['run', 'job', ...program('console.log("done")')];
  t.like(await redsync(t, args, env), { code: 0, stdout: 'done\n', stderr: '' });
});

test.serial('inspect: node by node', async (t) => {
  const servers = await useServers(t, 2);
  const dead = await deadUrl();
  const lock = await holdElsewhere(t, servers, 'pre:job', { expiry: TIMEOUT });
  const args = ['inspect', 'job', '--prefix', 'pre:', '--node', dead];
  for (const { url } of servers) args.push('--node', url);
  const { code, stdout, stderr } = await redsync(t, args);
  t.is(code, 0);
  t.is(stderr, '');
  const lines = stdout.split('\n');
  const { owner, since } = ownerOf(lock.value);
  t.regex(lines[0], /^NODE +ENDPOINT +STATUS +REMAINING +OWNER +SINCE +VALUE$/);
  t.regex(lines[1], /^0 +127\.0\.0\.1:\d+ +unknown +connection refused \(ECONNREFUSED\)$/);
  for (const line of [lines[2], lines[3]]) {
    const [, , status, left, ...rest] = line.split(/ +/);
    t.is(status, 'held');
    t.deepEqual(rest, ['s', owner, since.toISOString(), lock.value]);
    t.true(Number(left) > 1 && Number(left) <= 60);
  }
  t.is(lines[5], `key "pre:job": held by ${owner} on 2 of 3 nodes`);
});

test.serial('inspect: who names nobody, and who names more than that', async (t) => {
  const servers = await useServers(t, 3);
  const { value } = await holdElsewhere(t, servers, 'job', {}, { owner: false });
  const plain = await redsync(t, ['inspect', 'job'], environment(servers));
  t.regex(plain.stdout, /^NODE +ENDPOINT +STATUS +REMAINING +VALUE\n/);
  t.true(plain.stdout.endsWith(`\nkey "job": held by ${value} on 3 of 3 nodes\n`), plain.stdout);

  // Nobody keeps others from writing what looks like a mark.
  await servers[0].command('SET', 'job', 'v#o=\u001b[31mred@mg1x0k2a');
  await servers[1].command('SET', 'job', 'v#o=me@zzzzzzzzz');
  await servers[2].command('SET', 'job', 'v#o=me@zzzzzzzzzz');
  const { stdout } = await redsync(t, ['inspect', 'job'], environment(servers));
  const [head, ...rows] = stdout.split('\n').map((line) => line.split(/ {2,}/));
  t.deepEqual(head.slice(4), ['OWNER', 'SINCE', 'VALUE']);
  t.deepEqual(rows[0].slice(4), ['"v#o=\\u001b[31mred@mg1x0k2a"']);
  t.deepEqual(rows[1].slice(4), ['me', '5188-04-22T11:04:28.415Z', 'v#o=me@zzzzzzzzz']);
  t.deepEqual(rows[2].slice(4), ['v#o=me@zzzzzzzzzz']);
});

test.serial('inspect: the fencing token, if the value has one', async (t) => {
  const servers = await useServers(t, 3);
  const { value, token } = await holdElsewhere(t, servers.slice(0, 2), 'job', { fencing: true });
  await servers[2].command('SET', 'job', 'plain');

  const { code, stdout } = await redsync(t, ['inspect', 'job'], environment(servers));
  t.is(code, 0);
  const [head, ...rows] = stdout.split('\n').map((line) => line.split(/ {2,}/));
  const { owner } = ownerOf(value);
  const since = ownerOf(value).since.toISOString();
  t.deepEqual(head.slice(4), ['TOKEN', 'OWNER', 'SINCE', 'VALUE']);
  for (const row of rows.slice(0, 2)) t.deepEqual(row.slice(4), [`${token}`, owner, since, value]);
  t.deepEqual(rows[2].slice(3), ['no expiry', 'plain']);
  t.regex(
    stdout,
    /^key "job": held by \S+ on 2 of 3 nodes; without an expiry on node 2: not a lock\?$/m,
  );

  const json = await redsync(t, ['inspect', 'job', '--json'], environment(servers));
  const { nodes, ...verdict } = JSON.parse(json.stdout);
  t.deepEqual(verdict, {
    name: 'job',
    key: 'job',
    status: 'held',
    value,
    owner,
    since,
    token,
    votes: 2,
  });
  t.deepEqual(
    nodes.map((node) => [node.token, node.owner, node.since]),
    [[token, owner, since], [token, owner, since], Array(3).fill(undefined)],
  );
});

test.serial(
  'run --hold-at-least: others find it taken when the program is long over',
  async (t) => {
    const servers = await useServers(t, 3);
    const args = ['run', 'job', '--expiry', '60000', '--hold-at-least', '50000', ...program('')];
    t.like(await redsync(t, args, environment(servers)), { code: 0, stderr: '' });
    const left = await Promise.all(servers.map((server) => server.command('PTTL', 'job')));
    for (const ttl of left) t.true(ttl > 20_000 && ttl < 51_000, `${ttl}`);
    const again = ['run', 'job', '--no-wait', ...program('')];
    t.regex((await redsync(t, again, environment(servers))).stderr, /taken/);
  },
);

test.serial('inspect --permits: each permit that is held, and how many are', async (t) => {
  const servers = await useServers(t, 3);
  const plant = (key, value, some = servers) =>
    Promise.all(some.map((server) => server.command('SET', key, value, 'PX', 60_000)));
  await plant('job', 'one');
  await plant('job:permit:3', 'three#p=3');
  await plant('job:permit:4', 'four#p=4', servers.slice(0, 1));
  const args = ['inspect', 'job', '--permits', '3'];
  const { code, stdout, stderr } = await redsync(t, args, environment(servers));
  t.deepEqual([code, stderr], [0, '']);
  t.regex(stdout, /^NODE[^]*\npermit 1, key "job": held by one on 3 of 3 nodes\n\nNODE/);
  t.regex(stdout, /\npermit 3, key "job:permit:3": held by three#p=3 on 3 of 3 nodes\n\n2 of 3 /);
  t.regex(stdout, /\n2 of 3 permits of key "job" are held\n$/);
  t.notRegex(stdout, /permit 2/);

  const json = await redsync(
    t,
    ['inspect', 'job', '--permits', '4', '--json'],
    environment(servers),
  );
  const { name, permits } = JSON.parse(json.stdout);
  t.is(name, 'job');
  t.deepEqual(
    permits.map(({ permit, key, status, value, votes }) => [permit, key, status, value, votes]),
    [
      [1, 'job', 'held', 'one', 3],
      [2, 'job:permit:2', 'free', undefined, 3],
      [3, 'job:permit:3', 'held', 'three#p=3', 3],
      [4, 'job:permit:4', 'free', undefined, 2],
    ],
  );
  t.deepEqual(
    permits[3].nodes.map(({ node, status, value }) => [node, status, value]),
    [
      [0, 'held', 'four#p=4'],
      [1, 'free', undefined],
      [2, 'free', undefined],
    ],
  );
  t.true(permits.every(({ nodes }) => nodes.every(({ permit }) => permit === undefined)));
});

test.serial('inspect: readers', async (t) => {
  const servers = await useServers(t, 1);
  await servers[0].command('SET', 'job', '#readers', 'PX', 60_000);
  const { stdout } = await redsync(t, ['inspect', 'job'], environment(servers));
  t.regex(stdout, /\nkey "job": held by readers on 1 of 1 nodes\n$/);
});

test.serial('unlock: the value says which permit it is of', async (t) => {
  const servers = await useServers(t, 3);
  await Promise.all(
    servers.map((server) => server.command('SET', 'job:permit:3', 'three#p=3', 'PX', 60_000)),
  );
  const unlock = (...rest) => redsync(t, ['unlock', 'job', ...rest], environment(servers));
  const many = await unlock('--value', 'three#p=3000');
  t.is(many.code, 2);
  t.regex(many.stderr, /--permits must be an integer from 1 to 1000/);
  const few = await unlock('--value', 'three#p=3', '--permits', '2');
  t.is(few.code, 2);
  t.regex(few.stderr, /--value must be of one of the 2 permits/);
  t.like(await unlock('--value', 'three#p=3', '--permits', '1'), { code: 1 });
  t.false(await isFree(servers, 'job:permit:3'));
  t.like(await unlock('--value', 'three#p=3'), { code: 0, stderr: '' });
  t.true(await isFree(servers, 'job:permit:3'));
});

test.serial('unlock: what stands for all who read is no value', async (t) => {
  const servers = await useServers(t, 1);
  await servers[0].command('SET', 'job', '#readers', 'PX', 60_000);
  const args = ['unlock', 'job', '--value', '#readers'];
  const { code, stderr } = await redsync(t, args, environment(servers));
  t.is(code, 2);
  t.regex(stderr, /--value must be the value of one holder, and not "#readers" of all who read/);
  t.is(await servers[0].command('GET', 'job'), '#readers');
});

test.serial('inspect --json, and what is no lock of ours', async (t) => {
  const servers = await useServers(t, 3);
  const ask = async () => {
    const { code, stdout } = await redsync(t, ['inspect', 'job', '--json'], environment(servers));
    return { code, ...JSON.parse(stdout) };
  };
  t.like(await ask(), { code: 0, name: 'job', status: 'free', votes: 3 });

  await servers[0].command('SET', 'job', 'for\u001b[31m ever\n\u00e9');
  await servers[1].command('SET', 'job', 'other', 'PX', TIMEOUT);
  const { nodes, ...undecided } = await ask();
  t.like(undecided, { code: 0, status: 'undecided', votes: 1 });
  t.like(nodes[0], { status: 'held', value: 'for\u001b[31m ever\n\u00e9', remaining: null });
  t.is(nodes[1].value, 'other');
  t.true(nodes[1].remaining > 0 && nodes[1].remaining <= TIMEOUT);
  t.is(nodes[2].status, 'free');

  await servers[1].command('DEL', 'job');
  await servers[1].command('LPUSH', 'job', 'no string');
  await servers[2].kill();
  const unknown = await ask();
  t.like(unknown, { code: 1, status: 'unknown', votes: 1 });
  t.regex(unknown.nodes[1].error, /WRONGTYPE/);

  const { stdout } = await redsync(t, ['inspect', 'job'], environment(servers));
  t.true(stdout.includes('no expiry  "for\\u001b[31m ever\\n\\u00e9"'), stdout);
});

test.serial('unlock: by the value, from the option or from the environment', async (t) => {
  const servers = await useServers(t, 3);
  const first = await holdElsewhere(t, servers, 'job');
  const wrong = await redsync(t, ['unlock', 'job', '--value', 'wrong'], environment(servers));
  t.is(wrong.code, 1);
  t.regex(wrong.stderr, /^redsync: lock "job": taken/);
  t.notRegex(wrong.stderr, /wrong/);
  const right = await redsync(t, ['unlock', 'job', '--value', first.value], environment(servers));
  t.like(right, { code: 0, stdout: 'released "job"\n', stderr: '' });
  t.true(await isFree(servers, 'job'));

  const { value } = await holdElsewhere(t, servers, 'job');
  const env = { ...environment(servers), REDSYNC_LOCK: value };
  t.is((await redsync(t, ['unlock', 'job'], env)).code, 0);
  const again = await redsync(t, ['unlock', 'job'], env);
  t.is(again.code, 1);
  t.regex(again.stderr, /already expired/);
});

test.serial('the URLs of REDSYNC_NODES may have commas of their own', async (t) => {
  const nodes = 'memory:,redis+sentinel://127.0.0.1:1,localhost:2/main , redis://127.0.0.1:1';
  const { stdout } = await redsync(t, ['inspect', 'job', '--json'], { REDSYNC_NODES: nodes });
  const endpoints = JSON.parse(stdout).nodes.map(({ endpoint }) => endpoint);
  t.deepEqual(endpoints, ['memory', '127.0.0.1:1,localhost:2/main', '127.0.0.1:1']);
});

test.serial('help and version', async (t) => {
  for (const args of [['--help'], ['-h'], ['help']]) {
    const { code, stdout, stderr } = await redsync(t, args);
    t.deepEqual([code, stderr], [0, '']);
    t.regex(stdout, /^Usage: redsync COMMAND[^]*run[^]*inspect[^]*unlock/);
  }
  for (const command of ['run', 'inspect', 'unlock']) {
    for (const args of [
      [command, '--help'],
      [command, 'job', '-h'],
      ['help', command],
    ]) {
      const { code, stdout } = await redsync(t, args);
      t.is(code, 0);
      t.true(stdout.startsWith(`Usage: redsync ${command} NAME`));
      t.true(stdout.includes('Exit codes'));
    }
  }
  for (const flag of ['--version', '-v']) t.is((await redsync(t, [flag])).stdout, `${version}\n`);
});

const WRONG = [
  [[], /a command is missing: run, inspect, list, top or unlock/],
  [['rnu', 'job'], /unknown command "rnu": run, inspect, list, top or unlock/],
  [['run', ...NODE, '--', 'true'], /the NAME of the lock is missing/],
  [['run', '', ...NODE, '--', 'true'], /NAME must be/],
  [['run', 'job', ...NODE], /the program to run is missing/],
  [['run', 'job', 'true', ...NODE], /"true" is one more; the program goes behind "--"/],
  [
    ['run', 'job', '--expirey', '5', ...NODE, '--', 'true'],
    /unknown option --expirey; "run" knows .*--expiry/,
  ],
  [['run', 'job', '-x', ...NODE, '--', 'true'], /unknown option -x/],
  [
    ['run', 'job', '--expiry', 'soon', ...NODE, '--', 'true'],
    /--expiry must be whole milliseconds, or have a unit as in 500ms, .* from 1 to 86400000 milliseconds, not "soon"/,
  ],
  ...['-1', '1.5s', '5S', '5 s', '1d', '25h', 's', '', '1e3', '5sm'].map((time) => [
    ['run', 'job', `--wait=${time}`, ...NODE, '--', 'true'],
    new RegExp(`--wait must be whole milliseconds, .* from 0 .* not "${time}"`),
  ]),
  [
    ['run', 'job', '--kill-after', 'never', ...NODE, '--', 'true'],
    /--kill-after must be .* not "never"/,
  ],
  ...['256', '-1', 'x', ''].map((code) => [
    ['run', 'job', `--conflict-exit-code=${code}`, ...NODE, '--', 'true'],
    new RegExp(`--conflict-exit-code must be a whole number from 0 to 255, not "${code}"`),
  ]),
  [['run', 'job', '--pass-nodes=1', ...NODE, '--', 'true'], /--pass-nodes takes no value/],
  [
    ['inspect', 'job', '--prefix', 'p'.repeat(1025), ...NODE],
    /--prefix or REDSYNC_PREFIX must be a well-formed string of 0 to 1024 bytes/,
  ],
  [['run', 'job', '--expiry', '1', ...NODE, '--', 'true'], /--expiry must be long enough/],
  [['run', 'job', '--wait', ...NODE, '--', 'true'], /--wait needs a value/],
  [['run', 'job', '--wait', '5', '--no-wait', ...NODE, '--', 'true'], /exclude each other/],
  [['run', 'job', '--no-wait=5', ...NODE, '--', 'true'], /--no-wait takes no value/],
  [['run', 'job', '--fencing=yes', ...NODE, '--', 'true'], /--fencing takes no value/],
  [
    ['run', 'a}b', '--fencing', '--node', 'redis+cluster://:secret@127.0.0.1:1', '--', 'true'],
    /NAME must have no "}", or a tag, with fencing or a mode on a Redis Cluster: "a}b"/,
  ],
  [
    ['run', 'job', '--permits', '0', ...NODE, '--', 'true'],
    /--permits must be a whole number from 1/,
  ],
  [['run', 'job', '--permits', '1e3', ...NODE, '--', 'true'], /from 1 to 1000, not "1e3"/],
  [
    ['run', 'job', '--hold-at-least', '8001', ...NODE, '--', 'true'],
    /--hold-at-least must be at most the expiry, 8000: /,
  ],
  [
    ['run', 'job', '--hold-at-least', '9', '--mode', 'write', ...NODE, '--', 'true'],
    /--hold-at-least must not be given with a mode/,
  ],
  [['run', 'job', '--permits', ...NODE, '--', 'true'], /--permits needs a value/],
  [
    ['run', 'job', '--permits', '2', '--fencing', ...NODE, '--', 'true'],
    /--fencing must not be true with permits: several hold it at once/,
  ],
  [['run', 'job', '--mode', 'wirte', ...NODE, '--', 'true'], /--mode must be "read" or "write"/],
  [
    ['run', 'job', '--mode', 'read', '--permits', '2', ...NODE, '--', 'true'],
    /--permits must not be greater than 1 with a mode/,
  ],
  [['inspect', 'job', ...NODE, '--permits', '1001'], /--permits must be a whole number/],
  [['unlock', 'job', ...NODE, '--value', 'v', '--mode', 'r'], /--mode must be "read" or "write"/],
  [['run', 'job', '--', 'true'], /no nodes: give --node URL once for each, or set REDSYNC_NODES/],
  [['run', 'job', '--node', 'http://:secret@host', '--', 'true'], /node 0 must be a redis:/],
  [['inspect', 'job', ...NODE, '--timeout', '0'], /--timeout must be whole milliseconds/],
  [['inspect', 'job', ...NODE, '--', 'true'], /"inspect" runs no program/],
  [['unlock', 'job', ...NODE], /--value is missing/],
];

test.serial('wrong usage is told before any node is asked', async (t) => {
  let count = 0;
  const server = net.createServer((socket) => {
    count++;
    socket.destroy();
  });
  await new Promise((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.teardown(() => server.close());
  const node = ['--node', `redis://127.0.0.1:${server.address().port}`];
  for (const args of [
    ['run', 'job', ...node, '--mode', 'wirte', '--', 'true'],
    ['run', 'job', ...node, '--kill-after', '1d', '--', 'true'],
    ['run', 'job', ...node, '--conflict-exit-code', '256', '--', 'true'],
    ['run', 'job', ...node, '--permits', '2', '--fencing', '--', 'true'],
    ['run', 'job', ...node, '--node', 'nonsense', '--', 'true'],
    ['inspect', 'job', ...node, '--permits', '0'],
    ['unlock', 'job', ...node, '--value', 'v', '--mode', 'r'],
  ]) {
    t.is((await redsync(t, args)).code, 2);
    t.is(count, 0, args.join(' '));
  }
  t.is((await redsync(t, ['inspect', 'job', ...node])).code, 1);
  t.true(count > 0);
});

for (const [args, message] of WRONG) {
  test.serial(
    `wrong usage: redsync ${args.map((arg) => arg.slice(0, 64) || '""').join(' ')}`,
    async (t) => {
      const { code, stdout, stderr } = await redsync(t, args);
      t.is(code, 2);
      t.is(stdout, '');
      t.regex(stderr, message);
      t.regex(stderr, /\nTry "redsync .*--help"\.\n$/);
      t.notRegex(stderr, /secret|\n +at /);
    },
  );
}

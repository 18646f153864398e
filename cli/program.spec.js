'use strict';

// What a program under `redsync run` and all that it starts learn of signals and of the loss of the lock.

const test = require('ava');

const { fromPs, processes } = require('./processes.js');
const { until } = require('../__test__/helpers/async.js');
const {
  LISTENS,
  TIMEOUT,
  WAITS,
  environment,
  hasTerminals,
  isFree,
  program,
  startApart,
  startAtTerminal,
} = require('../__test__/helpers/cli.js');
const { useServers } = require('../__test__/helpers/servers.js');

const terminalTest = hasTerminals ? test.serial : test.serial.skip;

const PLACES = [
  ['without a terminal', test.serial, startApart],
  ['at a terminal', terminalTest, startAtTerminal],
];

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'];

/** A relative of the program: tells its pid, and of each signal. It ends by SIGTERM, unless it is deaf. */
function relative(name, isDeaf = false) {
  return `
    for (const signal of ${JSON.stringify(SIGNALS)}) {
      process.on(signal, () => {
        console.log('${name} ' + signal);
        if (signal === 'SIGTERM' && !${isDeaf}) process.exit();
      });
    }
    console.log('${name} is ' + process.pid + '.');
    setTimeout(() => {}, ${TIMEOUT});
  `;
}

/** A shell that runs both; it dies of the first signal. */
function shell(one, other) {
  return ['--', 'sh', '-c', '"$0" -e "$1" & "$0" -e "$2"; exit 9', process.execPath, one, other];
}

/** Waits until both relatives are there; gives their pids. */
async function pidsOf(running) {
  await Promise.all([running.says('one is '), running.says('other is ')]);
  const pids = () => [...running.output.stdout.matchAll(/ is (\d+)\./g)].map(([, pid]) => +pid);
  await until(() => pids().length === 2);
  return pids();
}

function areGone(pids) {
  return !processes().some(({ pid }) => pids.includes(pid));
}

for (const [where, testThere, startThere] of PLACES) {
  testThere(`run, ${where}: the program is told of the loss by SIGTERM`, async (t) => {
    const servers = await useServers(t, 1);
    const args = ['run', 'job', '--expiry', '600', ...program(WAITS)];
    const running = startThere(t, args, environment(servers));
    await running.says('started');
    await servers[0].command('SET', 'job', 'somebody else');
    const { code, stdout, stderr } = await running.ended;
    t.is(code, 143);
    t.regex(
      stdout + stderr,
      /lock "job" is lost: another holder has taken it; the program gets SIGTERM/,
    );
    t.is(await servers[0].command('GET', 'job'), 'somebody else');
  });

  testThere(`run, ${where}: all that the program has started is told of the loss`, async (t) => {
    const servers = await useServers(t, 1);
    const args = ['run', 'job', '--expiry', '600', ...shell(relative('one'), relative('other'))];
    const running = startThere(t, args, environment(servers));
    const pids = await pidsOf(running);
    await servers[0].command('DEL', 'job');
    const { code, stdout } = await running.ended;
    t.is(code, 143);
    t.regex(stdout, /one SIGTERM/);
    t.regex(stdout, /other SIGTERM/);
    t.true(areGone(pids));
  });

  testThere(`run, ${where}: what goes on after the loss is killed`, async (t) => {
    const servers = await useServers(t, 1);
    const relatives = shell(relative('one', true), relative('other', true));
    const args = ['run', 'job', '--expiry', '600', '--kill-after', '2s', ...relatives];
    const running = startThere(t, args, environment(servers));
    const pids = await pidsOf(running);
    await servers[0].command('DEL', 'job');
    await Promise.all([running.says('one SIGTERM'), running.says('other SIGTERM')]);
    const told = performance.now();
    t.false(areGone(pids));
    t.is((await running.ended).code, 143); // as the shell has ended
    t.true(performance.now() - told > 500, `${performance.now() - told}`);
    await until(() => areGone(pids));
  });

  testThere(
    `run, ${where}: the program itself is killed if it goes on after the loss`,
    async (t) => {
      const servers = await useServers(t, 1);
      const deaf = program(relative('one', true));
      const args = ['run', 'job', '--expiry', '600', '--kill-after', '100ms', ...deaf];
      const running = startThere(t, args, environment(servers));
      await running.says('one is ');
      await servers[0].command('DEL', 'job');
      const { code, stdout } = await running.ended;
      t.is(code, 137);
      t.regex(stdout, /one SIGTERM/);
    },
  );

  testThere(`run, ${where}: a program that ends well after the loss is no success`, async (t) => {
    const servers = await useServers(t, 1);
    const args = ['run', 'job', '--expiry', '600', ...program(relative('one'))];
    const running = startThere(t, args, environment(servers));
    await running.says('one is ');
    await servers[0].command('DEL', 'job');
    t.is((await running.ended).code, 3);
  });
}

/** Says of a program that LISTENS which signals it has got, in turn. */
function heard({ output }) {
  return output.stdout.match(/SIG\w+/g) ?? [];
}

/** `redsync` is the parent of its program. */
const parentOf = (wanted) => processes().find(({ pid }) => pid === wanted)?.parent;

test.serial('run: the program has a process group of its own', async (t) => {
  const servers = await useServers(t, 1);
  const relatives = shell(relative('one'), relative('other'));
  const running = startApart(t, ['run', 'job', ...relatives], environment(servers));
  const pids = await pidsOf(running);
  const all = processes();
  const groups = pids.map((wanted) => all.find(({ pid }) => pid === wanted).group);
  const program = all.find(({ parent }) => parent === running.child.pid);
  t.deepEqual(groups, [program.pid, program.pid]);
  t.is(program.group, program.pid);
  running.child.kill('SIGTERM');
  await running.ended;
});

for (const signal of SIGNALS) {
  test.serial(`run: ${signal} is passed on to all that the program has started`, async (t) => {
    const servers = await useServers(t, 1);
    const relatives = shell(relative('one'), relative('other'));
    const running = startApart(t, ['run', 'job', ...relatives], environment(servers));
    const pids = await pidsOf(running);
    running.child.kill(signal);
    await Promise.all([running.says(`one ${signal}`), running.says(`other ${signal}`)]);
    // By SIGTERM they end themselves.
    if (signal !== 'SIGTERM') for (const pid of pids) process.kill(pid, 'SIGKILL');
    const { code, stderr } = await running.ended;
    t.true(code >= 128, `${code}`);
    t.notRegex(stderr, /debugger|redsync/i); // Node.js has not opened its inspector
    t.true(await isFree(servers, 'job'));
  });
}

for (const isGroup of [false, true]) {
  const whom = isGroup ? 'the whole process group' : 'redsync alone';
  test.serial(`run: a signal to ${whom} reaches the program once`, async (t) => {
    const servers = await useServers(t, 1);
    const running = startApart(t, ['run', 'job', ...program(LISTENS)], environment(servers));
    await running.says('started');
    const { pid } = running.child;
    const sent = [];
    for (const signal of [...SIGNALS, 'SIGINT', 'SIGTERM']) {
      process.kill(isGroup ? -pid : pid, signal);
      sent.push(signal);
      // The one after it comes later than a second one would.
      await until(() => heard(running).length >= sent.length);
    }
    running.child.stdin.end();
    t.like(await running.ended, { code: 7, stderr: '' });
    t.deepEqual(heard(running), sent);
    t.true(await isFree(servers, 'job'));
  });
}

/** What a person types: the terminal makes signals of it. */
const KEYS = { SIGINT: '\x03', SIGQUIT: '\x1c' };

for (const input of ['the terminal', 'a file']) {
  terminalTest(
    `run, at a terminal, with ${input} as input: keys reach the program once`,
    async (t) => {
      const servers = await useServers(t, 1);
      const args = [
        'run',
        'job',
        ...program(`console.log('program is ' + process.pid + '.'); ${LISTENS}`),
      ];
      const command = input === 'a file' ? 'exec "$@" < /dev/zero' : undefined;
      const running = startAtTerminal(t, args, environment(servers), command);
      await running.says('started');
      const own = Number(/program is (\d+)/.exec(running.output.stdout)[1]);
      const sent = [];
      for (const [signal, key] of [...Object.entries(KEYS), ...Object.entries(KEYS)]) {
        running.child.stdin.write(key);
        sent.push(signal);
        await until(() => heard(running).length >= sent.length);
        // What comes from elsewhere is passed on. When it is, it was decided of the key.
        process.kill(parentOf(own), 'SIGUSR1');
        sent.push('SIGUSR1');
        await until(() => heard(running).length >= sent.length);
      }
      t.deepEqual(heard(running), sent);
      process.kill(own, 'SIGKILL');
      t.is((await running.ended).code, 137);
      t.true(await isFree(servers, 'job'));
    },
  );
}

terminalTest(
  'run, at a terminal: a signal from elsewhere reaches all of the program',
  async (t) => {
    const servers = await useServers(t, 1);
    const relatives = shell(relative('one'), relative('other'));
    const running = startAtTerminal(t, ['run', 'job', ...relatives], environment(servers));
    const pids = await pidsOf(running);
    const redsync = parentOf(parentOf(pids[0]));
    process.kill(redsync, 'SIGTERM');
    await Promise.all([running.says('one SIGTERM'), running.says('other SIGTERM')]);
    t.is((await running.ended).code, 143);
    t.true(await isFree(servers, 'job'));
  },
);

terminalTest('run, at a terminal: the program can read from it', async (t) => {
  const servers = await useServers(t, 1);
  const asks = ['--', 'sh', '-c', 'echo ready; read -r a; echo "read $a."'];
  const running = startAtTerminal(t, ['run', 'job', ...asks], environment(servers));
  await running.says('ready');
  running.child.stdin.write('one\n');
  await running.says('read one.');
  t.is((await running.ended).code, 0);
});

terminalTest(
  'run, at a terminal: the program can ask for a password, whatever its input',
  async (t) => {
    const servers = await useServers(t, 1);
    const asks = ['--', 'sh', '-c', 'exec 3< /dev/tty; echo ready; read -r a <&3; echo "read $a."'];
    const command = 'exec "$@" < /dev/null';
    const running = startAtTerminal(t, ['run', 'job', ...asks], environment(servers), command);
    await running.says('ready');
    running.child.stdin.write('one\n');
    await running.says('read one.');
    t.is((await running.ended).code, 0);
  },
);

terminalTest(
  'run, at a terminal: Ctrl-C reaches a program that has left the process group',
  async (t) => {
    const servers = await useServers(t, 1);
    // As `timeout` and `setsid` do it.
    const [dashes, ...words] = program(LISTENS);
    const args = ['run', 'job', dashes, 'setsid', '--wait', ...words];
    const running = startAtTerminal(t, args, environment(servers));
    await running.says('started');
    running.child.stdin.write(KEYS.SIGINT);
    await until(() => heard(running).length > 0 || running.child.exitCode !== null);
    t.deepEqual(heard(running), ['SIGINT']);
  },
);

terminalTest(
  'run, at a terminal: the loss is nothing to who is in the same process group',
  async (t) => {
    const servers = await useServers(t, 1);
    const args = ['run', 'job', '--expiry', '600', '--kill-after', '0', ...program(WAITS)];
    // As in a script, or before a pipe.
    const command =
      '(trap "echo neighbour hit" TERM; echo ready; read -r x) & "$@"; echo "code $?"; read -r x';
    const running = startAtTerminal(t, args, environment(servers), `${command}; wait`);
    await running.says('started');
    await running.says('ready');
    await servers[0].command('DEL', 'job');
    await running.says('code 1');
    running.child.stdin.write('\n');
    const { stdout } = await running.ended;
    t.regex(stdout, /code 1(43|37)/);
    t.notRegex(stdout, /neighbour hit/);
  },
);

terminalTest('run: the loss ends the program though the terminal is gone', async (t) => {
  const servers = await useServers(t, 1);
  const code = 'trap "" HUP TERM; echo "program is $$."; exec sleep 600';
  const args = ['run', 'job', '--kill-after', '500', '--', 'sh', '-c', code];
  const running = startAtTerminal(t, args, environment(servers));
  await running.says('.');
  const own = Number(/program is (\d+)/.exec(running.output.stdout)[1]);
  running.child.kill('SIGKILL');
  await running.ended;
  t.false(areGone([own]), 'SIGHUP does not end it');
  await servers[0].command('DEL', 'job');
  await until(() => areGone([own]));
});

terminalTest(
  'run, at a terminal: nothing but the program is left when redsync is killed',
  async (t) => {
    const servers = await useServers(t, 1);
    const code = `console.log('program is ' + process.pid + '.'); ${LISTENS}`;
    // The shell stays, for what it leaves the terminal would end.
    const command = '"$@"; echo "code $?"; read -r x';
    const running = startAtTerminal(
      t,
      ['run', 'job', ...program(code)],
      environment(servers),
      command,
    );
    await running.says('started');
    const own = Number(/program is (\d+)/.exec(running.output.stdout)[1]);
    const redsync = parentOf(own);
    const children = () => processes().filter(({ parent }) => parent === redsync);
    await until(() => children().length === 2);
    const pids = children().map(({ pid }) => pid);
    process.kill(redsync, 'SIGKILL');
    await running.says('code 137');
    await until(() => areGone(pids.filter((pid) => pid !== own)));
    t.false(areGone([own]));
    process.kill(own, 'SIGKILL');
  },
);

terminalTest(
  'run, at a terminal: without file descriptors for a witness it runs, or nothing does',
  async (t) => {
    const servers = await useServers(t, 1);
    const ends = new Set();
    for (let limit = 20; limit <= 30; limit++) {
      const args = ['run', 'job', '--', '/bin/echo', 'done'];
      const command = `ulimit -n ${limit}; exec "$@"`;
      const { code, stdout } = await startAtTerminal(t, args, environment(servers), command).ended;
      if (/^done/m.test(stdout)) t.is(code, 0, `${limit}: ${stdout}`);
      t.true([0, 1, 126].includes(code), `${limit}: ${code}`);
      ends.add(code);
      await until(() => isFree(servers, 'job'));
    }
    t.true(ends.has(0));
  },
);

test('processes are told alike by /proc and by ps', (t) => {
  const own = (all) => all.find(({ pid }) => pid === process.pid);
  const told = own(processes());
  t.is(told.parent, process.ppid);
  t.true(told.birth.length > 0);
  const byPs = own(fromPs());
  t.deepEqual({ ...byPs, birth: '' }, { ...told, birth: '' });
  t.true(byPs.birth.length > 0);
});

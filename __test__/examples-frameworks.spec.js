'use strict';

// The examples of frameworks, as a user would have them: the package is packed and installed in a copy of each, beside the
// framework, and several processes do the same work on real servers.
//
// Next.js itself takes minutes to install and build: its route handler is served by Node.js here.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const { createRequire } = require('node:module');
const path = require('node:path');

const test = require('ava');

const { delay, until } = require('./helpers/async.js');
const { ROOT, install, newFolder, pack, run } = require('./helpers/packed.js');
const { storedOn, useServers } = require('./helpers/servers.js');

// On Windows a signal ends a process at once.
const withSignals = process.platform === 'win32' ? test.serial.skip : test.serial;

const TIMEOUT = 60_000;
const NOTHING = [[], [], []];

/** What is copied of an example, and what is installed with it. */
const EXAMPLES = {
  nestjs: ['package.json', 'tsconfig.json', 'src'],
  fastify: ['package.json', 'redsync-plugin.js', 'server.js'],
  bullmq: ['package.json', 'worker.js'],
  nextjs: ['app'],
};

/** Those that serve payments: how they are started, and how they end on SIGTERM. */
const SERVICES = {
  nestjs: { args: ['dist/main.js'], end: [null, 'SIGTERM'] },
  fastify: { args: ['server.js'], end: [0, null] },
  nextjs: {
    args: [path.join(__dirname, 'helpers', 'route-server.mjs'), 'app/api/payments/route.js'],
    url: '/api/payments',
    end: [0, null],
  },
};

/** Where all are installed, each in a folder that has its name. */
let folder;

test.before('install and compile', async (t) => {
  t.timeout(300_000, 'packages come from the registry');
  folder = newFolder('frameworks');
  const packed = await pack(folder);
  const installs = Object.entries(EXAMPLES).map(async ([name, files]) => {
    const own = path.join(folder, name);
    for (const file of files) {
      fs.cpSync(path.join(ROOT, 'examples', name, file), path.join(own, file), { recursive: true });
    }
    if (!files.includes('package.json')) {
      fs.writeFileSync(path.join(own, 'package.json'), '{ "type": "module" }');
    }
    await install(own, packed);
  });
  await Promise.all(installs);
  const cwd = path.join(folder, 'nestjs');
  const tsc = path.join(cwd, 'node_modules', 'typescript', 'bin', 'tsc');
  await run(process.execPath, [tsc, '--strict'], { cwd });
});

test.after.always('remove them', () => fs.rmSync(folder, { recursive: true, force: true }));

/** A program of an example, until the end of the test at the latest. */
function start(t, name, args, env) {
  const child = spawn(process.execPath, args, {
    cwd: path.join(folder, name),
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT,
    killSignal: 'SIGKILL',
  });
  t.teardown(() => child.kill('SIGKILL'));
  const program = { child, exit: once(child, 'close'), text: '' };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk) => (program.text += chunk));
  }
  program.says = (words) =>
    until(() => {
      if (child.exitCode !== null) throw new Error(`has ended: ${program.text}`);
      return words.exec(program.text);
    });
  return program;
}

/** Accounts with some money in them, each a file. */
function openAccounts(money) {
  const accounts = fs.mkdtempSync(path.join(folder, 'accounts-'));
  const file = (account) => path.join(accounts, `${account}.txt`);
  for (const [account, balance] of Object.entries(money)) {
    fs.writeFileSync(file(account), `${balance}`);
  }
  return { accounts, balance: (account) => Number(fs.readFileSync(file(account), 'utf8')) };
}

/** A service that pays from the account a1, on servers of the test's own. */
async function open(t, name, money) {
  const servers = await useServers(t, 3);
  const { accounts, balance } = openAccounts({ a1: money });
  const REDIS_URLS = servers.map(({ url }) => url).join(',');
  const { args, url = '/payments' } = SERVICES[name];
  const startOne = async (env) => {
    const program = start(t, name, args, { REDIS_URLS, ACCOUNTS: accounts, PORT: '0', ...env });
    const [, origin] = await program.says(/listens on (\S+)\n/);
    program.pay = async (amount) => {
      const response = await fetch(`${origin}${url}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', connection: 'close' },
        body: JSON.stringify({ account: 'a1', amount }),
      });
      return { status: response.status, ...(await response.json()) };
    };
    return program;
  };
  return { servers, start: startOne, balance: () => balance('a1') };
}

test('what is installed is the package, with these examples, and not its sources', (t) => {
  for (const name of Object.keys(EXAMPLES)) {
    const installed = path.join(folder, name, 'node_modules', 'redsync');
    t.false(fs.lstatSync(installed).isSymbolicLink());
    t.true(fs.existsSync(path.join(installed, 'index.d.ts')));
    t.false(fs.existsSync(path.join(installed, '__test__')));
    for (const file of EXAMPLES[name]) {
      t.true(fs.existsSync(path.join(installed, 'examples', name, file)), `${name}/${file}`);
    }
  }
});

for (const [name, { end }] of Object.entries(SERVICES)) {
  withSignals(
    `${name}: no payment is lost, and SIGTERM lets those end that were begun`,
    async (t) => {
      const { servers, start, balance } = await open(t, name, 100);
      const [one, two] = await Promise.all([start({ WORK: '50' }), start()]);
      const payments = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? one : two).pay(2));
      for (const { status } of await Promise.all(payments)) t.is(status, 201);
      t.is(balance(), 60);
      t.is((await one.pay(61)).status, 409, 'there is not so much');
      t.is((await two.pay(-1)).status, 400);
      t.deepEqual(await storedOn(servers), NOTHING);

      const begun = Array.from({ length: 10 }, () => one.pay(1));
      await Promise.any(begun);
      one.child.kill('SIGTERM');
      for (const { status } of await Promise.all(begun)) t.is(status, 201);
      t.deepEqual(await one.exit, end, one.text);
      t.is(balance(), 50);
      t.deepEqual(await storedOn(servers), NOTHING);

      t.is((await two.pay(1)).balance, 49);
      two.child.kill('SIGTERM');
      t.deepEqual(await two.exit, end, two.text);
      t.deepEqual(await storedOn(servers), NOTHING);
    },
  );

  withSignals(`${name}: a process that is killed leaves what expires`, async (t) => {
    const { servers, start, balance } = await open(t, name, 10);
    const [one, two] = await Promise.all([start({ WORK: '600000' }), start()]);
    const lost = one.pay(1).catch(() => 'lost');
    await until(async () => (await storedOn(servers)).every((keys) => keys.length === 1));
    const waiting = two.pay(2);
    await delay(50);
    one.child.kill('SIGKILL');
    t.deepEqual(await one.exit, [null, 'SIGKILL']);
    t.is(await lost, 'lost');
    t.is((await waiting).balance, 8);
    t.is(balance(), 8);
    t.deepEqual(await storedOn(servers), NOTHING);
  });
}

withSignals('bullmq: each job is done once, one at a time for each customer', async (t) => {
  const [server] = await useServers(t, 1);
  const money = { c1: 100, c2: 100, c3: 100 };
  const { accounts, balance } = openAccounts(money);
  const { Queue } = createRequire(path.join(folder, 'bullmq', 'worker.js'))('bullmq');
  const queue = new Queue('charges', { connection: { host: '127.0.0.1', port: server.port } });
  t.teardown(() => queue.close());
  const untilDone = (count) =>
    until(async () => {
      for (const { failedReason } of await queue.getFailed()) throw new Error(failedReason);
      return (await queue.getCompletedCount()) === count;
    });
  const locks = () => server.command('KEYS', 'lock:*');
  const work = (env) => start(t, 'bullmq', ['worker.js'], { ...env, ACCOUNTS: accounts });
  const workers = [1, 2].map(() => work({ REDIS_URL: server.url, WORK: '20' }));
  await Promise.all(workers.map((worker) => worker.says(/takes jobs/)));

  const order = (count) =>
    queue.addBulk(
      Array.from({ length: count }, (_, i) => ({
        name: 'charge',
        data: { customer: `c${1 + (i % 3)}`, amount: 1 },
      })),
    );
  await order(30);
  await untilDone(30);
  for (const customer of Object.keys(money)) t.is(balance(customer), 90, customer);
  t.deepEqual(await locks(), []);

  await order(300);
  await until(async () => (await locks()).length > 0);
  for (const { child } of workers) child.kill('SIGTERM');
  for (const worker of workers) t.deepEqual(await worker.exit, [0, null], worker.text);
  t.is(await queue.getActiveCount(), 0);
  t.deepEqual(await locks(), []);
  const done = await queue.getCompletedCount();
  t.true(done < 330, 'they have stopped in the middle');
  const paid = Object.keys(money).reduce((sum, customer) => sum + 100 - balance(customer), 0);
  t.is(paid, done);
  t.is(await queue.getFailedCount(), 0);
});

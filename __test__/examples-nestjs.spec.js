'use strict';

// Payments in NestJS, as a user would have them: the package is packed and installed beside those of NestJS, the program
// is compiled by the strictest rules, and two processes take money from one account.

const { execFile, spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');

const test = require('ava');

const { delay, until } = require('./helpers/async.js');
const { storedOn, useServers } = require('./helpers/servers.js');

const run = promisify(execFile);

// On Windows a signal ends a process at once.
const withSignals = process.platform === 'win32' ? test.serial.skip : test.serial;

const ROOT = path.join(__dirname, '..');
const SOURCES = path.join(ROOT, 'examples', 'nestjs-payments');
const TIMEOUT = 60_000;
const NOTHING = [[], [], []];

const npm = (args, cwd) => run('npm', args, { cwd, shell: process.platform === 'win32' });

/** Where the program is installed and compiled. */
let folder;

test.before('install and compile', async (t) => {
  t.timeout(300_000, 'packages come from the registry');
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'redsync-nestjs-'));
  for (const file of ['package.json', 'tsconfig.json', 'src']) {
    fs.cpSync(path.join(SOURCES, file), path.join(folder, file), { recursive: true });
  }
  const { stdout } = await npm(['pack', '--json', '--pack-destination', folder], ROOT);
  const [{ filename }] = JSON.parse(stdout);
  await npm(['install', '--no-audit', '--no-fund', `./${filename}`], folder);
  const tsc = path.join(folder, 'node_modules', 'typescript', 'bin', 'tsc');
  await run(process.execPath, [tsc, '--strict'], { cwd: folder });
});

test.after.always('remove it', () => fs.rmSync(folder, { recursive: true }));

/** An account with some money, on servers of the test's own, and processes that pay from it. */
async function open(t, money) {
  const servers = await useServers(t, 3);
  const accounts = fs.mkdtempSync(path.join(folder, 'accounts-'));
  const file = path.join(accounts, 'a1.txt');
  fs.writeFileSync(file, `${money}`);
  const start = async (env) => {
    const child = spawn(process.execPath, ['dist/main.js'], {
      cwd: folder,
      env: {
        ...process.env,
        REDIS_URLS: servers.map(({ url }) => url).join(','),
        ACCOUNTS: accounts,
        PORT: '0',
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: TIMEOUT,
      killSignal: 'SIGKILL',
    });
    t.teardown(() => child.kill('SIGKILL'));
    const exit = once(child, 'close');
    const output = { text: '' };
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk) => (output.text += chunk));
    }
    const url = await until(() => /listens on (\S+)\n/.exec(output.text)?.[1]);
    const pay = async (amount) => {
      const response = await fetch(`${url}/payments`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', connection: 'close' },
        body: JSON.stringify({ account: 'a1', amount }),
      });
      return { status: response.status, ...(await response.json()) };
    };
    return { child, exit, output, pay };
  };
  return { servers, start, balance: () => Number(fs.readFileSync(file, 'utf8')) };
}

test('what is installed is the package, and not these sources', (t) => {
  const installed = path.join(folder, 'node_modules', 'redsync');
  t.false(fs.lstatSync(installed).isSymbolicLink());
  t.true(fs.existsSync(path.join(installed, 'index.d.ts')));
  t.false(fs.existsSync(path.join(installed, '__test__')));
});

withSignals('no payment is lost, and SIGTERM lets those end that were begun', async (t) => {
  const { servers, start, balance } = await open(t, 100);
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
  t.deepEqual(await one.exit, [null, 'SIGTERM'], one.output.text);
  t.is(balance(), 50);
  t.deepEqual(await storedOn(servers), NOTHING);

  t.is((await two.pay(1)).balance, 49);
  two.child.kill('SIGINT');
  t.deepEqual(await two.exit, [null, 'SIGINT'], two.output.text);
  t.deepEqual(await storedOn(servers), NOTHING);
});

withSignals('a process that is killed leaves what expires', async (t) => {
  const { servers, start, balance } = await open(t, 10);
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

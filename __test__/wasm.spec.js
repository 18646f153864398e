'use strict';

// The engine as WebAssembly: `npm run test:wasm` runs this, and specs of pools, over it.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const ava = require('ava');
const { Redis } = require('ioredis');

const { Redsync } = require('../index.js');
const { newPool } = require('redsync/ioredis');
const { until } = require('./helpers/async.js');
const { endedWell, runProcess } = require('./helpers/processes.js');
const { startServers } = require('./helpers/servers.js');

const test = process.env.REDSYNC_ENGINE === 'wasm' ? ava : ava.skip;
const ROOT = path.join(__dirname, '..');

let servers = [];
ava.before(async () => {
  if (test === ava) servers = await startServers(3);
});
ava.after.always(() => Promise.all(servers.map((server) => server.stop())));

function useRedsync(t, options) {
  const clients = servers.map(({ url }) => new Redis(url));
  const redsync = new Redsync(clients.map(newPool), { timeoutFactor: 0.5, ...options });
  t.teardown(async () => {
    await redsync.close();
    clients.forEach((client) => client.disconnect());
  });
  return redsync;
}

function stored(key) {
  return Promise.all(servers.map((server) => server.command('GET', key)));
}

test('it is taken where no binary fits', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'redsync-wasm-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true }));
  for (const file of ['index.js', 'native.js', 'package.json', 'redsync.wasm']) {
    fs.copyFileSync(path.join(ROOT, file), path.join(folder, file));
  }
  fs.cpSync(path.join(ROOT, 'lib'), path.join(folder, 'lib'), { recursive: true });
  const result = await runProcess(async (file, folder) => {
    delete process.env.REDSYNC_ENGINE;
    Object.defineProperty(process, 'platform', { value: 'freebsd' });
    const { Redsync } = require(folder);
    console.log(await new Redsync('memory:').using('name', () => 'held'));
    try {
      new Redsync('redis://127.0.0.1:1');
    } catch ({ code, message }) {
      console.log(code, message);
    }
  }, folder);
  const [held, refusal] = result.stdout.split('\n');
  endedWell(t, result);
  t.is(held, 'held');
  t.regex(refusal, /^ERR_ADDON_NOT_LOADED redsync: no binary is published for freebsd/);
  t.regex(refusal, /nodes can be clients of yours: newPool\(\)/);
});

test('who gives a URL is told before anything is sent', (t) => {
  for (const node of [
    'redis://127.0.0.1:1',
    { host: 'localhost' },
    'redis+cluster://127.0.0.1:1',
  ]) {
    t.throws(() => new Redsync(node), { code: 'ERR_ADDON_NOT_LOADED' });
  }
  t.throws(() => new Redsync('redi://127.0.0.1:1'), { code: 'ERR_INVALID_ARG_TYPE' });
});

test('locks, tokens, owners and texts of any language', async (t) => {
  const redsync = useRedsync(t, { fencing: true, owner: 'some-owner' });
  const name = 'naïve 锁 🔒';
  const first = await redsync.newMutex(name).lock();
  t.deepEqual(
    await stored(name),
    servers.map(() => first.value),
  );
  t.is((await redsync.inspect(name))[0].owner, 'some-owner');
  t.is(await redsync.newMutex(name).tryLock(), null);
  await first.unlock();
  const second = await redsync.newMutex(name).lock();
  t.true(second.token > first.token);
  await second.extend();
  await second.unlock();
  t.deepEqual(await stored(name), [null, null, null]);
});

test('very many at once, which make the memory of the module grow', async (t) => {
  const redsync = useRedsync(t, { expiry: 60_000 });
  const names = Array.from({ length: 5000 }, (_, i) => `many:${i}:${'x'.repeat(500)}`);
  const locks = await Promise.all(names.map((each) => redsync.newMutex(each).lock()));
  t.is(new Set(locks.map(({ value }) => value)).size, names.length);
  await Promise.all(locks.map((lock) => lock.unlock()));
});

test('a loss is told', async (t) => {
  const redsync = useRedsync(t, { expiry: 3000, autoExtend: true });
  const lock = await redsync.newMutex('lost').lock();
  t.false(lock.signal.aborted);
  await Promise.all(servers.map((server) => server.command('DEL', 'lost')));
  await until(() => lock.signal.aborted);
  t.is(lock.signal.reason.code, 'ERR_LOCK_LOST');
});

'use strict';

// Inside jest: every file has globals of its own (a VM context), and the module registry is reset.

const urls = process.env.REDIS_URLS.split(',');
let redsync;
let library;

beforeEach(() => {
  jest.resetModules();
  library = require('redsync');
  redsync = new library.Redsync(urls);
});

afterEach(() => redsync.close());

for (const round of [1, 2, 3]) {
  test(`locks after the registry was reset, ${round}`, async () => {
    const lock = await redsync.newMutex('jest').lock();
    expect(await redsync.newMutex('jest').tryLock()).toBeNull();
    expect(await lock.unlock()).toBe(true);
  });
}

test('two copies of the library exclude each other', async () => {
  jest.resetModules();
  const other = require('redsync');
  expect(other.Redsync).not.toBe(library.Redsync);
  const second = new other.Redsync(urls);
  const lock = await redsync.newMutex('jest:copies').lock();
  const waiting = second.newMutex('jest:copies').lock();
  expect(await lock.unlock()).toBe(true);
  expect(await (await waiting).unlock()).toBe(true);
  await second.close();
});

test('errors, dates and signals are those of the context', async () => {
  const lock = await redsync.newMutex('jest:errors').lock();
  expect(lock.until).toBeInstanceOf(Date);
  const mutex = redsync.newMutex('jest:errors', { tries: 1 });
  await expect(mutex.lock()).rejects.toBeInstanceOf(library.TakenError);
  await expect(mutex.lock()).rejects.toBeInstanceOf(Error);
  const waiting = redsync.newMutex('jest:errors').lock({ signal: AbortSignal.timeout(20) });
  await expect(waiting).rejects.toMatchObject({ name: 'TimeoutError' });
  expect(() => redsync.newMutex('name', { expiry: -1 })).toThrow(RangeError);
  await lock.unlock();
});

test('options from the context are read', async () => {
  const genValue = () => 'value of this context';
  const lock = await redsync.newMutex(['jest:a', 'jest:b'], { genValue, autoExtend: {} }).lock();
  expect(lock.value).toBe('value of this context');
  expect(await redsync.using('jest:using', { expiry: 1000 }, async () => 7)).toBe(7);
  await lock.unlock();
});

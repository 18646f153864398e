'use strict';

// The drop-in for node-redlock where programs are tested: with clients that are mocks, and timers
// that stand still. Run by redlock.spec.js.

jest.mock('ioredis');

const Redis = require('ioredis');
const { newPool } = require('../lib/adapters/ioredis.js');
const { default: Redlock, ExecutionError } = require('./index.js');

const ONCE = { retryCount: 0 };

afterEach(() => jest.useRealTimers());

test('a mock of ioredis is a client that votes against', async () => {
  expect(() => newPool(new Redis())).not.toThrow();
  const client = new Redis();
  const redlock = new Redlock([client], ONCE);
  const error = await redlock.acquire(['name'], 5000).catch((error) => error);
  expect(error).toBeInstanceOf(ExecutionError);
  const [{ votesAgainst }] = await Promise.all(error.attempts);
  expect(votesAgainst.get(client).message).toMatch(/the answer of eval\(\) makes no sense$/);
  const using = redlock.using(['a', 'b'], 5000, async () => {});
  await expect(using).rejects.toBeInstanceOf(ExecutionError);
  await redlock.quit();
  expect(client.quit).toHaveBeenCalledTimes(1);
});

test('timers that stand still do not keep it waiting', async () => {
  jest.useFakeTimers();
  const redlock = new Redlock(['memory:'], { retryCount: 3, retryDelay: 20, retryJitter: 10 });
  const lock = await redlock.acquire(['name'], 5000);
  await expect(redlock.acquire(['name'], 5000)).rejects.toThrow(ExecutionError);
  await (await lock.extend(5000)).release();
  await redlock.using(['name'], 1000, async () => {});
  await redlock.quit();
});

test('a lock is over by the clock that stands still, too', async () => {
  jest.useFakeTimers();
  const redlock = new Redlock(['memory:'], ONCE);
  const lock = await redlock.acquire(['name'], 60_000);
  expect(lock.expiration).toBeGreaterThan(Date.now());
  jest.advanceTimersByTime(60_000);
  expect(lock.expiration).toBeLessThan(Date.now());
  await expect(lock.extend(1000)).rejects.toThrow('Cannot extend an already-expired lock.');
  await redlock.quit();
});

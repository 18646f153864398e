import { expect, test } from 'vitest';

import { Redsync, TakenError } from 'redsync';

const redsync = new Redsync(process.env.REDIS_URLS.split(','));

test('locks inside vitest', async () => {
  const lock = await redsync.newMutex('vitest').lock();
  expect(await redsync.newMutex('vitest').tryLock()).toBeNull();
  const waiting = redsync.newMutex('vitest', { tries: 1 }).lock();
  await expect(waiting).rejects.toBeInstanceOf(TakenError);
  expect(await redsync.using('vitest:using', async (signal) => signal.aborted)).toBe(false);
  expect(await lock.unlock()).toBe(true);
});

test('both imports are one library', async () => {
  const again = await import('redsync');
  expect(again.Redsync).toBe(Redsync);
});

import test from 'ava';

import { Redsync, TakenError } from 'redsync';

const redsync = new Redsync(process.env.REDIS_URLS.split(','));

test('locks inside ava', async (t) => {
  const lock = await redsync.newMutex('ava').lock();
  t.is(await redsync.newMutex('ava').tryLock(), null);
  await t.throwsAsync(redsync.newMutex('ava', { tries: 1 }).lock(), { instanceOf: TakenError });
  t.false(await redsync.using('ava:using', async (signal) => signal.aborted));
  t.true(await lock.unlock());
});

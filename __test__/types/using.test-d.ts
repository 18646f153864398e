// What needs TypeScript 5.2.

import { expectType } from 'tsd';
import { Redsync } from '../..';
import type { Lock } from '../..';

async function disposal(): Promise<void> {
  await using owner = new Redsync('memory:');
  await using held = await owner.newMutex('a').lock();
  expectType<Lock>(held);
}
expectType<Promise<void>>(disposal());

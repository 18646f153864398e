// A program as people write them for node-redlock 5. The tests compile and run it twice: as it is,
// and with `redlock` replaced by `redsync/redlock`. It prints what it sees; both must see the same.

import { Redis } from 'ioredis';
import Redlock, {
  ExecutionError,
  ExecutionResult,
  ExecutionStats,
  Lock,
  RedlockAbortSignal,
  ResourceLockedError,
  Settings,
} from 'redlock';

const settings: Partial<Settings> = {
  driftFactor: 0.01,
  retryCount: 3,
  retryDelay: 40,
  retryJitter: 20,
  automaticExtensionThreshold: 300,
};

const urls = process.argv[2].split(',');
const clients = urls.map((url) => new Redis(url));
const redlock = new Redlock(clients, settings);
const [first] = clients;

let locked = 0;
redlock.on('error', (error: Error) => {
  if (error instanceof ResourceLockedError) locked++;
  else console.log('unexpected', error);
});

function say(...words: unknown[]): void {
  console.log(...words.map((word) => (typeof word === 'string' ? word : JSON.stringify(word))));
}

async function describe(attempts: ReadonlyArray<Promise<ExecutionStats>>): Promise<unknown[]> {
  const stats = await Promise.all(attempts);
  return stats.map(({ membershipSize, quorumSize, votesFor, votesAgainst }) => ({
    membershipSize,
    quorumSize,
    for: clients.map((client) => votesFor.has(client)),
    against: clients.map((client) => votesAgainst.get(client)?.name),
  }));
}

async function isStored(...resources: string[]): Promise<boolean[]> {
  return Promise.all(clients.map(async (client) => (await client.exists(resources)) > 0));
}

async function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

async function acquireAndRelease(): Promise<void> {
  say('# acquire, extend, release');
  let lock: Lock = await redlock.acquire(['a', 'b'], 2000);
  const votes = await describe(lock.attempts); // all servers have it by now, not only a quorum
  say(lock.resources, lock.value === (await first.get('a')), lock.redlock === redlock);
  say(lock.expiration > Date.now() + 1500, lock.expiration <= Date.now() + 1978);
  say(votes);
  const before = lock;
  lock = await lock.extend(5000);
  say(before.expiration, lock.expiration > Date.now() + 4500, lock.value === before.value);
  say((await first.pttl('b')) > 4500, lock === before);
  const result: ExecutionResult = await lock.release();
  say(result.attempts.length, await describe(result.attempts));
  say(lock.expiration, await isStored('a', 'b'));
}

async function contend(): Promise<void> {
  say('# taken');
  const lock = await redlock.acquire(['c'], 5000);
  locked = 0;
  try {
    await redlock.acquire(['c', 'd'], 1000);
    say('acquired?');
  } catch (error) {
    say(error instanceof ExecutionError, error instanceof Error, (error as Error).name);
    if (error instanceof ExecutionError) say(await describe(error.attempts));
  }
  say('error events', locked >= 12, await isStored('d'));
  const once = await redlock
    .acquire(['c'], 1000, { retryCount: 0 })
    .catch((error: ExecutionError) => error.attempts.length);
  say('without retries', once);
  setTimeout(() => {
    lock.release();
  }, 50);
  const next = await redlock.acquire(['c'], 1000, { retryCount: -1 });
  say('acquired after', next.attempts.length > 1);
  await redlock.release(next);
}

async function useLocks(): Promise<void> {
  say('# using');
  const value = await redlock.using(['e', 'f'], 1000, async (signal: RedlockAbortSignal) => {
    say('inside', signal.aborted, await isStored('e', 'f'));
    await pause(1500);
    say('extended', signal.aborted, signal.error === undefined, await isStored('e'));
    return 42;
  });
  say(value, await isStored('e', 'f'));
  say(await redlock.using(['e'], 5000, { retryCount: 1 }, async () => 'with settings'));
  try {
    await redlock.using(['e'], 5000, async () => {
      throw new Error('mine');
    });
  } catch (error) {
    say((error as Error).message, await isStored('e'));
  }
}

async function refuse(): Promise<void> {
  say('# refused');
  for (const attempt of [
    () => redlock.acquire(['g'], 10.5),
    () => redlock.using(['g'], 350, async () => {}),
    () => redlock.using(['g'], 1000, {}),
    async () => new Redlock([]),
  ]) {
    await (attempt as () => Promise<unknown>)().then(
      () => say('allowed?'),
      (error: unknown) => say(error instanceof Error),
    );
  }
  const lock = await redlock.acquire(['g'], 5000);
  await lock.release();
  await lock.extend(1000).catch((error) => say(error instanceof ExecutionError, error.attempts));
}

async function main(): Promise<void> {
  say(redlock.settings, [...redlock.clients].length, redlock.clients.has(first));
  await acquireAndRelease();
  await contend();
  await useLocks();
  await refuse();
  await redlock.quit();
  await pause(50);
  say(
    'quit',
    clients.map(({ status }) => status === 'end'),
  );
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});

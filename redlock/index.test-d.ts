import { EventEmitter } from 'events';
import { expectAssignable, expectError, expectNotAssignable, expectType } from 'tsd';
import Redlock, { ExecutionError, Lock, ResourceLockedError } from '.';
import type {
  Client,
  ClientExecutionResult,
  ExecutionResult,
  ExecutionStats,
  RedlockAbortSignal,
  Settings,
} from '.';

declare const client: {
  evalsha(sha1: string, numkeys: number, ...args: (string | Buffer | number)[]): Promise<unknown>;
  quit(callback?: (error: Error | null, result?: 'OK') => void): Promise<'OK'>;
};

// Redlock
const redlock = new Redlock([client]);
expectType<Redlock>(redlock);
expectAssignable<EventEmitter>(redlock);
expectType<Redlock>(new Redlock(['redis://a', client]));
expectType<Redlock>(new Redlock(new Set(['redis://a']), { retryCount: -1 }));
expectType<Redlock>(new Redlock([client], {}, {}));
expectError(new Redlock());
expectError(new Redlock(client));
expectError(new Redlock([{ host: 'a' }]));
expectError(new Redlock([client], { retryCout: 1 }));
expectError(new Redlock([client], { retryCount: '1' }));
// Throws, but a program that passes on what it was given compiles.
new Redlock([client], {}, { acquireScript: (script: string) => script, extendScript: '' });
new Redlock([client], { retryCount: undefined }, { releaseScript: undefined });
expectError(new Redlock([client], {}, { acquireScript: 1 }));
expectType<string>(redlock.scripts.acquireScript.value);
expectType<string>(redlock.scripts.extendScript.hash);
expectError((redlock.scripts.releaseScript.value = ''));
expectType<Set<Client>>(redlock.clients);
expectType<Settings>(redlock.settings);
expectError((redlock.settings.retryCount = 1));
expectType<Promise<void>>(redlock.quit());
expectType<Redlock>(redlock.on('error', (error: Error) => error));

// Settings
expectAssignable<Settings>({
  driftFactor: 0.01,
  retryCount: 10,
  retryDelay: 200,
  retryJitter: 100,
  automaticExtensionThreshold: 500,
});
expectNotAssignable<Settings>({ driftFactor: 0.01 });

// Locks
expectType<Promise<Lock>>(redlock.acquire(['a'], 1000));
expectType<Promise<Lock>>(redlock.acquire(['a', 'b'], 1000, { retryDelay: 1 }));
expectError(redlock.acquire('a', 1000));
expectError(redlock.acquire(['a']));
expectError(redlock.acquire(['a'], 1000, { expiry: 1 }));
declare const lock: Lock;
expectType<Redlock>(lock.redlock);
expectType<string[]>(lock.resources);
expectType<string>(lock.value);
expectType<number>(lock.expiration);
lock.expiration = 0;
expectError((lock.value = ''));
expectType<ReadonlyArray<Promise<ExecutionStats>>>(lock.attempts);
expectType<Promise<ExecutionResult>>(lock.release());
expectType<Promise<Lock>>(lock.extend(1000));
expectError(lock.extend());
expectType<Promise<ExecutionResult>>(redlock.release(lock));
expectType<Promise<ExecutionResult>>(redlock.release(lock, { retryCount: 0 }));
expectType<Promise<Lock>>(redlock.extend(lock, 1000, { retryCount: 0 }));
expectType<Lock>(new Lock(redlock, ['a'], 'value', [], Date.now() + 1000));

// using
expectType<Promise<number>>(redlock.using(['a'], 1000, async () => 1));
expectType<Promise<string>>(
  redlock.using(['a'], 1000, { retryCount: 0 }, async (signal) => {
    expectType<RedlockAbortSignal>(signal);
    expectAssignable<AbortSignal>(signal);
    expectType<boolean>(signal.aborted);
    expectType<Error | undefined>(signal.error);
    return 'a';
  }),
);
expectError(redlock.using(['a'], 1000, async (signal: string) => signal));

expectType<Promise<number>>(redlock.using(['a'], 1000, { retryCount: undefined }, async () => 1));

// Clients are whatever was given: ioredis need not be installed
declare class Redis {
  readonly options: { host: string };
  evalsha(...args: unknown[]): Promise<unknown>;
  quit(): Promise<'OK'>;
}
for (const one of new Redlock([new Redis()]).clients) expectAssignable<Redis>(one);

// Errors
const locked = new ResourceLockedError('locked');
expectAssignable<Error>(locked);
declare const stats: ExecutionStats;
const failed = new ExecutionError('failed', [Promise.resolve(stats)]);
expectAssignable<Error>(failed);
expectType<ReadonlyArray<Promise<ExecutionStats>>>(failed.attempts);
expectType<number>(stats.membershipSize);
expectType<number>(stats.quorumSize);
expectType<Set<Client>>(stats.votesFor);
expectType<Map<Client, Error>>(stats.votesAgainst);
const against: ReadonlyMap<Redis, Error> = stats.votesAgainst;
expectAssignable<object>(against);

declare const vote: ClientExecutionResult;
if (vote.vote === 'for') expectType<number>(vote.value);
else expectType<Error>(vote.error);

import { expectAssignable, expectError, expectNotAssignable, expectType } from 'tsd';
import {
  ClosedError,
  DeadlockError,
  ExtendError,
  FailedError,
  LockExpiredError,
  LockLostError,
  ModeError,
  Mutex,
  NodeTakenError,
  RedisError,
  Redsync,
  RedsyncError,
  TakenError,
} from '../..';
import type {
  AutoExtendOptions,
  CallOptions,
  ConnectionOptions,
  LeadOptions,
  Lock,
  MutexOptions,
  CallEvent,
  CallTrace,
  LockEvent,
  LockOwner,
  LockedName,
  LockedNames,
  LockTrace,
  LostEvent,
  NodeEvent,
  UnlockEvent,
  UnlockTrace,
  NodeHealth,
  NodeInspection,
  Stats,
  Vote,
  NodeInput,
  RedsyncOptions,
  TlsOptions,
} from '../..';

// expectError() does not know the compiler's errors about private constructors.
type PublicClass = new (...args: never[]) => unknown;
expectAssignable<PublicClass>(Redsync);

// Nodes
const redsync = new Redsync('redis://a');
expectType<Redsync>(redsync);
expectType<Redsync>(new Redsync({ host: 'a', port: 1 }));
expectType<Redsync>(new Redsync(['redis://a', { path: '/s' }, 'memory:'] as const));
expectType<Redsync>(new Redsync('memory:', { keyPrefix: 'x:', expiry: 1000 }));
expectError(new Redsync());
expectError(new Redsync(1));
expectError(new Redsync(null));
expectError(new Redsync([['redis://a']]));
expectError(new Redsync({ hots: 'a' }));
expectError(new Redsync({ host: 'a', port: '1' }));
expectType<Redsync>(new Redsync({ host: 'a', tls: true }));
expectType<Redsync>(new Redsync({ host: 'a', tls: { ca: new Uint8Array(1), servername: 's' } }));
expectType<Redsync>(new Redsync({ sentinels: [{ host: 'a' }], masterName: 'm' }));
expectType<Redsync>(new Redsync({ cluster: [{ host: 'a', port: 1 }] as const }));
expectError(new Redsync({ host: 'a', tls: 'true' }));
expectError(new Redsync({ host: 'a', tls: { rejectUnauthorized: false } }));
expectError(new Redsync({ host: 'a', tls: { ca: ['a'] } }));
expectError(new Redsync({ sentinels: ['a'], masterName: 'm' }));
expectError(new Redsync({ sentinels: [{ port: 1 }], masterName: 'm' }));
expectError(new Redsync({ cluster: { host: 'a' } }));
expectError(new Redsync({ get: () => ({}) }));
expectError(new Redsync('memory:', { keyPrefix: 1 }));
expectAssignable<NodeInput>('memory:');
expectAssignable<NodeInput>({ url: 'redis://a' });
expectNotAssignable<NodeInput>(undefined);
expectAssignable<ConnectionOptions>({
  url: 'redis://a',
  host: 'a',
  port: 1,
  path: '/s',
  username: 'u',
  password: 'p',
  db: 1,
  tls: false,
  sentinels: [{ host: 'a', port: 1 }],
  masterName: 'm',
  sentinelUsername: 'u',
  sentinelPassword: 'p',
  cluster: [{ host: 'a', port: 1 }],
  connectTimeout: 1,
  clientName: 'c',
});
expectAssignable<TlsOptions>({ ca: 'a', cert: 'b', key: 'c', servername: 'd' });
expectAssignable<TlsOptions>({ fingerprint256: 'AA:BB' });
expectAssignable<TlsOptions>({ fingerprint256: ['AA:BB', 'CC:DD'] as const });
expectNotAssignable<TlsOptions>({ fingerprint256: Buffer.alloc(32) });
expectNotAssignable<TlsOptions>({ ca: 1 });

// Redsync
expectType<number>(redsync.size);
expectType<number>(redsync.quorum);
expectError((redsync.size = 1));
expectError((redsync.quorum = 1));
expectType<Promise<void>>(redsync.ready());
expectType<Promise<void>>(redsync.ready({ timeout: 1, signal: AbortSignal.timeout(1) }));
expectError(redsync.ready({ timeout: '1' }));
expectType<Promise<NodeHealth[]>>(redsync.health());
expectType<Promise<NodeHealth[]>>(redsync.health({ timeout: 1 }));
expectError(redsync.health({ signal: AbortSignal.timeout(1) }));
expectType<Promise<void>>(redsync.close());
expectType<Promise<void>>(redsync.close({ drain: 10_000 }));
expectError(redsync.close({ drain: '10s' }));
expectError(redsync.close(10_000));
expectType<Promise<void>>(redsync[Symbol.asyncDispose]());
expectAssignable<AsyncDisposable>(redsync);
expectType<Promise<Lock>>(redsync.acquire('a'));
expectError(redsync.acquire('a', { keyPrefix: 'x' }));
expectError(redsync.acquire());
expectType<Promise<number>>(redsync.using('a', () => 1));
expectError(redsync.using('a'));
expectError(redsync.using('a', 1));
expectError(redsync.using('a', (signal: string) => signal));
expectType<Promise<void>>(redsync.lead('a', () => 1));
expectType<Promise<void>>(
  redsync.lead('a', { signal: AbortSignal.timeout(1), expiry: 1 }, async (signal, lock) => {
    expectType<AbortSignal>(signal);
    expectType<Lock>(lock);
  }),
);
expectError(redsync.lead('a'));
expectError(redsync.lead(['a', 'b'], () => 1));
expectError(redsync.lead('a', { tries: 1 }, () => 1));
expectError(redsync.lead('a', { wait: 1 }, () => 1));
expectError(redsync.lead('a', { value: 'v' }, () => 1));
expectError(redsync.lead('a', { reentrant: true }, () => 1));
expectAssignable<LeadOptions>({ holdAtLeast: 1, signal: undefined });

declare const health: NodeHealth;
expectType<number>(health.node);
expectType<string>(health.endpoint);
expectType<'connecting' | 'up' | 'down'>(health.status);
expectType<number | undefined>(health.latency);
expectType<string | undefined>(health.server);
expectType<boolean | undefined>(health.watching);
expectType<number | undefined>(health.abstains);
expectType<number[] | undefined>(health.sameServerAs);
expectType<Error | undefined>(health.error);

// Options
expectAssignable<MutexOptions>({});
expectAssignable<MutexOptions>({
  expiry: 1000,
  wait: 30_000,
  tries: Infinity,
  retryDelay: 10,
  driftFactor: 0.01,
  timeoutFactor: 0.05,
  genValue: () => 'v',
  value: 'v',
  failFast: true,
  shufflePools: true,
  setNXOnExtend: true,
  autoExtend: true,
  fencing: true,
  permits: 5,
  mode: 'read',
});
expectAssignable<MutexOptions>({ permits: undefined, mode: undefined });
expectAssignable<MutexOptions>({ holdAtLeast: 5000 });
expectAssignable<RedsyncOptions>({ holdAtLeast: undefined });
expectNotAssignable<MutexOptions>({ holdAtLeast: '5s' });
expectAssignable<MutexOptions>({ reentrant: true });
expectError<MutexOptions>({ reentrant: 1 });
expectAssignable<RedsyncOptions>({ permits: 5, mode: 'write' });
expectNotAssignable<MutexOptions>({ permits: '5' });
expectNotAssignable<MutexOptions>({ permits: null });
expectNotAssignable<MutexOptions>({ mode: 'shared' });
expectNotAssignable<MutexOptions>({ mode: true });
expectAssignable<MutexOptions>({ retryDelay: (tries: number) => tries * 10 });
expectAssignable<MutexOptions>({ genValue: async () => 'v' });
expectAssignable<RedsyncOptions>({ keyPrefix: 'x', tries: 1 });
expectAssignable<RedsyncOptions>({ fencing: true, quarantine: true });
expectAssignable<RedsyncOptions>({ quarantine: 10_000 });
expectAssignable<RedsyncOptions>({ fencing: undefined, quarantine: undefined });
expectAssignable<RedsyncOptions>({ owner: 'worker-3' });
expectAssignable<RedsyncOptions>({ owner: false });
expectAssignable<RedsyncOptions>({ owner: undefined });
expectNotAssignable<RedsyncOptions>({ owner: true });
expectNotAssignable<RedsyncOptions>({ owner: 7 });
expectNotAssignable<RedsyncOptions>({ quarantine: '10s' });
expectNotAssignable<RedsyncOptions>({ quarantine: null });
expectAssignable<CallOptions>({ signal: new AbortController().signal });
expectNotAssignable<MutexOptions>({ expiry: '1000' });
expectNotAssignable<MutexOptions>({ tries: null });
expectNotAssignable<MutexOptions>({ retryDelay: async () => 10 });
expectNotAssignable<MutexOptions>({ genValue: () => 1 });
expectNotAssignable<MutexOptions>({ value: 1 });
expectNotAssignable<MutexOptions>({ failFast: 1 });
expectNotAssignable<MutexOptions>({ fencing: 1 });
expectNotAssignable<MutexOptions>({ autoExtend: 1 });
expectNotAssignable<MutexOptions>({ autoExtend: { interval: '1' } });
expectAssignable<AutoExtendOptions>({});
expectAssignable<AutoExtendOptions>({ interval: 1, maxHold: Infinity, maxStall: 1 });
expectAssignable<RedsyncOptions>({ autoExtend: { interval: 1 } });
expectNotAssignable<CallOptions>({ signal: true });

// Mutex
const mutex = redsync.newMutex('a');
expectType<Mutex>(mutex);
expectType<Mutex>(redsync.newMutex(['a', 'b'] as const, { tries: 1 }));
expectError(redsync.newMutex());
expectError(redsync.newMutex(1));
expectError(redsync.newMutex([1]));
expectError(redsync.newMutex('a', { tires: 1 }));
redsync.newMutex('a', { autoExtend: true });
redsync.newMutex('a', { autoExtend: { interval: 100, maxHold: Infinity, maxStall: 1000 } });
expectError(redsync.newMutex('a', { autoExtend: { every: 100 } }));
expectError(redsync.newMutex('a', { autoExtend: 100 }));
expectType<Promise<Lock>>(
  redsync.acquire(['a', 'b'], { expiry: 100, signal: new AbortController().signal }),
);
expectType<Promise<number>>(
  redsync.using('a', async (signal, lock) => {
    expectType<AbortSignal>(signal);
    expectType<Lock>(lock);
    expectType<AbortSignal>(lock.signal);
    return 1;
  }),
);
expectType<Promise<string>>(redsync.using('a', { tries: 1 }, () => 'x'));
expectError(redsync.using('a', { tries: 1 }));
expectError(redsync.newMutex('a', { keyPrefix: 'x' }));
expectError(redsync.newMutex('a', { quarantine: true }));
expectError(redsync.newMutex('a', { owner: 'me' }));
expectError(redsync.acquire('a', { quarantine: true }));
expectNotAssignable<PublicClass>(Mutex);
expectType<string>(mutex.name);
expectType<readonly string[]>(mutex.names);
expectType<string>(mutex.value);
expectType<number | undefined>(mutex.token);
expectType<Date | undefined>(mutex.until);
expectError((mutex.value = 'v'));
expectError((mutex.token = 1));
expectError(mutex.names.push('b'));
expectType<number>(mutex.permits);
expectError((mutex.permits = 2));
expectType<'read' | 'write' | undefined>(mutex.mode);
expectError((mutex.mode = 'read'));
expectType<Mutex>(redsync.newSemaphore('a', 5));
expectType<Mutex>(redsync.newSemaphore('a', 5, { tries: 1 }));
expectError(redsync.newSemaphore('a'));
expectError(redsync.newSemaphore('a', '5'));
expectError(redsync.newSemaphore(['a'], 5));
expectError(redsync.newSemaphore('a', { permits: 5 }));
const readWrite = redsync.newReadWriteLock('a', { tries: 1 });
expectType<Mutex>(readWrite.read);
expectType<Mutex>(readWrite.write);
expectError((readWrite.read = mutex));
expectError(redsync.newReadWriteLock(['a']));
expectType<Promise<Lock>>(mutex.lock());
expectType<Promise<Lock | null>>(mutex.tryLock());
expectType<Promise<boolean>>(mutex.unlock());
expectType<Promise<boolean>>(mutex.extend());
expectType<Promise<boolean>>(mutex.valid());
const call: CallOptions = { signal: AbortSignal.timeout(1) };
expectType<Promise<Lock>>(mutex.lock(call));
expectType<Promise<Lock | null>>(mutex.tryLock(call));
expectType<Promise<boolean>>(mutex.unlock(call));
expectType<Promise<boolean>>(mutex.extend(call));
expectType<Promise<boolean>>(mutex.valid(call));
expectError(mutex.lock(AbortSignal.timeout(1)));
expectError(mutex.lock({ timeout: 1 }));

// Lock
declare const lock: Lock;
expectType<Mutex>(lock.mutex);
expectType<string>(lock.value);
expectType<number | undefined>(lock.token);
expectError((lock.token = 1));
expectType<'read' | 'write' | undefined>(lock.mode);
expectError((lock.mode = 'read'));
expectType<Promise<Lock>>(lock.downgrade());
expectType<Promise<Lock>>(lock.downgrade({ signal: AbortSignal.abort() }));
expectError(lock.downgrade({ timeout: 1 }));
expectType<Promise<never>>(lock.upgrade());
expectType<Date>(lock.until);
expectType<number>(lock.remaining);
expectType<Promise<boolean>>(lock.extend());
expectType<Promise<boolean>>(lock.extend(call));
expectType<void>(lock.letExpire());
expectError(lock.letExpire(1));
expectError(mutex.letExpire());
expectType<Promise<number>>(redsync.using('name', { value: lock.value }, () => 1));
expectType<Promise<boolean>>(lock.unlock());
expectType<Promise<boolean>>(lock.unlock(call));
expectType<Promise<void>>(lock[Symbol.asyncDispose]());
expectAssignable<AsyncDisposable>(lock);
expectType<AbortSignal>(lock.signal);
expectError((lock.signal = new AbortController().signal));
expectError((lock.remaining = 1));
expectError(lock.lock());

// Errors
declare const failed: FailedError;
declare const taken: TakenError;
declare const nodeTaken: NodeTakenError;
declare const redis: RedisError;
declare const extend: ExtendError;
declare const expired: LockExpiredError;
declare const lost: LockLostError;
declare const modeError: ModeError;
declare const deadlock: DeadlockError;
declare const closed: ClosedError;
for (const error of [failed, taken, nodeTaken, redis, extend, expired, lost, closed]) {
  expectAssignable<RedsyncError>(error);
  expectAssignable<Error>(error);
  expectAssignable<RedsyncError['code']>(error.code);
}
expectType<'ERR_LOCK_FAILED' | 'ERR_LOCK_TAKEN' | 'ERR_EXTEND_FAILED' | 'ERR_LOCK_EXPIRED'>(
  failed.code,
);
expectType<'ERR_LOCK_TAKEN'>(taken.code);
expectType<'ERR_NODE_TAKEN'>(nodeTaken.code);
expectType<'ERR_REDIS'>(redis.code);
expectType<'ERR_EXTEND_FAILED'>(extend.code);
expectType<'ERR_LOCK_EXPIRED'>(expired.code);
expectType<'ERR_LOCK_LOST'>(lost.code);
expectType<'ERR_LOCK_MODE'>(modeError.code);
expectType<'ERR_LOCK_DEADLOCK'>(deadlock.code);
expectType<'ERR_CLOSED'>(closed.code);
expectType<readonly (NodeTakenError | RedisError)[]>(failed.errors);
expectType<number>(failed.attempts);
expectType<readonly number[]>(taken.nodes);
expectAssignable<FailedError>(taken);
expectAssignable<FailedError>(extend);
expectAssignable<FailedError>(expired);
expectNotAssignable<FailedError>(lost);
expectNotAssignable<FailedError>(closed);
expectType<number>(nodeTaken.node);
expectType<number>(redis.node);
expectType<Error & { readonly code: string }>(redis.cause);
expectError((failed.code = 'x'));
expectError(failed.errors.push(redis));
expectNotAssignable<PublicClass>(RedsyncError);
expectNotAssignable<PublicClass>(FailedError);
expectNotAssignable<PublicClass>(TakenError);
expectNotAssignable<PublicClass>(NodeTakenError);
expectNotAssignable<PublicClass>(RedisError);
expectNotAssignable<PublicClass>(ExtendError);
expectNotAssignable<PublicClass>(LockExpiredError);
expectNotAssignable<PublicClass>(LockLostError);
expectNotAssignable<PublicClass>(ModeError);
expectNotAssignable<PublicClass>(DeadlockError);
expectNotAssignable<PublicClass>(ClosedError);

declare const unknown: unknown;
if (unknown instanceof TakenError) expectType<readonly number[]>(unknown.nodes);

// What can be watched
expectType<Promise<NodeInspection[]>>(redsync.inspect('a'));
expectType<Promise<NodeInspection[]>>(
  redsync.inspect('a', { timeout: 1, signal: AbortSignal.abort() }),
);
declare const inspection: NodeInspection;
expectType<string | undefined>(inspection.owner);
expectType<Date | undefined>(inspection.since);
expectType<Promise<LockedNames>>(redsync.list());
expectAssignable<Promise<LockedName[]>>(
  redsync.list('a*', { limit: 1, timeout: 1, signal: AbortSignal.abort() }),
);
expectError(redsync.list(5));
expectError(redsync.list('a*', { limit: '5' }));
expectError(redsync.list({ limit: 5 }));
declare const names: LockedNames;
expectType<'limit' | 'time' | 'size' | 'nodes' | undefined>(names.incomplete);
for (const { name, kind, owners } of names) {
  expectType<string>(name);
  expectType<'mutex' | 'semaphore' | 'read' | 'write' | 'unknown'>(kind);
  expectType<readonly LockOwner[]>(owners);
}
declare const lockOwner: LockOwner;
expectType<string | undefined>(lockOwner.owner);
expectType<Date | undefined>(lockOwner.since);
expectType<number>(lockOwner.remaining);
expectType<readonly number[]>(lockOwner.nodes);
expectError(redsync.inspect(['a', 'b']));
expectType<Promise<NodeInspection[]>>(redsync.inspect('a', { permits: 5, timeout: 1 }));
expectError(redsync.inspect('a', { permits: '5' }));
expectType<Stats>(redsync.stats());
expectType<number>(redsync.stats().held);
expectType<'up' | 'down'>(redsync.stats().nodes[0].status);
declare const lockEvent: LockEvent;
expectAssignable<CallEvent>(lockEvent);
expectType<boolean>(lockEvent.acquired);
expectType<number | undefined>(lockEvent.attempts);
expectType<Vote[] | undefined>(lockEvent.votes);
declare const unlockEvent: UnlockEvent;
expectAssignable<CallEvent>(unlockEvent);
expectType<number | undefined>(unlockEvent.heldFor);
declare const lockTrace: LockTrace;
expectAssignable<CallTrace>(lockTrace);
expectType<Redsync>(lockTrace.redsync);
expectType<number | undefined>(lockTrace.serverPort);
expectType<boolean | undefined>(lockTrace.acquired);
expectType<Lock | null | undefined>(lockTrace.result);
expectType<unknown>(lockTrace.error);
declare const unlockTrace: UnlockTrace;
expectAssignable<CallTrace>(unlockTrace);
expectType<number | undefined>(unlockTrace.heldFor);
expectError((lockTrace.names[0] = 'name'));
declare const lostEvent: LostEvent;
expectType<Redsync>(lostEvent.redsync);
expectType<LockLostError>(lostEvent.error);
declare const nodeEvent: NodeEvent;
expectType<RedisError | undefined>(nodeEvent.error);

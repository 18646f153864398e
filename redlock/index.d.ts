/// <reference types="node" />

import { EventEmitter } from 'events';

/**
 * A drop-in for node-redlock 5: the same classes and settings, on the engine of redsync. What behaves
 * differently is listed in `docs/migrating-from-node-redlock.md`.
 *
 * @example
 * import Redlock from 'redsync/redlock';
 *
 * const redlock = new Redlock([redisA, redisB, redisC]);
 * const lock = await redlock.acquire(['account:7'], 5000);
 */

/**
 * One of the clients that were given: a `Redis` or `Cluster` of ioredis, or a URL. ioredis need not be
 * installed, so its types are not named here.
 */
export type Client = any;

/** What a `Redis` or `Cluster` of ioredis has. */
export interface IoredisClient {
  evalsha(...args: any[]): Promise<unknown>;
  quit(): Promise<unknown>;
}

/** The vote of one client. */
export type ClientExecutionResult =
  | { client: Client; vote: 'for'; value: number }
  | { client: Client; vote: 'against'; error: Error };

/** The votes of one attempt. */
export type ExecutionStats = {
  /** How many clients there are. */
  readonly membershipSize: number;
  /** How many votes decide. */
  readonly quorumSize: number;
  readonly votesFor: Set<Client>;
  /** With a {@link ResourceLockedError}, or why the client could not be asked: its own error if it gave one. */
  readonly votesAgainst: Map<Client, Error>;
};

/** What an operation took. */
export type ExecutionResult = {
  /** The votes of each attempt, in their order. */
  attempts: ReadonlyArray<Promise<ExecutionStats>>;
};

/** How often, how long and how patiently to try. Durations are milliseconds. */
export interface Settings {
  /**
   * Share of the duration that is written off because clocks may run at different speeds: from 0 to
   * less than 1.
   * @default 0.01
   */
  readonly driftFactor: number;
  /**
   * How often an operation is tried again: an integer from 0 on, or -1 or `Infinity` for no limit.
   * @default 10
   */
  readonly retryCount: number;
  /**
   * Pause between two attempts.
   * @default 200
   */
  readonly retryDelay: number;
  /**
   * By how much the pause is made longer or shorter, at random.
   * @default 100
   */
  readonly retryJitter: number;
  /**
   * How much of a lock is left at least when `using()` extends it.
   * @default 500
   */
  readonly automaticExtensionThreshold: number;
}

/** Settings of which some are given. */
export type PartialSettings = { readonly [Key in keyof Settings]?: Settings[Key] | undefined };

/** A text in Lua and its SHA1. */
export interface Script {
  readonly value: string;
  readonly hash: string;
}

/** One client has a resource locked for somebody else, or no longer for us. */
export class ResourceLockedError extends Error {
  constructor(message: string, options?: { cause?: unknown } | undefined);
  readonly message: string;
}

/**
 * No quorum. `cause` is the error of the engine: a `TakenError`, `FailedError`, … of `redsync`.
 *
 * @example
 * try {
 *   await redlock.acquire(['account:7'], 5000);
 * } catch (error) {
 *   if (!(error instanceof ExecutionError)) throw error;
 *   for (const attempt of error.attempts) console.log((await attempt).votesAgainst);
 * }
 */
export class ExecutionError extends Error {
  constructor(
    message: string,
    attempts: ReadonlyArray<Promise<ExecutionStats>>,
    options?: { cause?: unknown } | undefined,
  );
  readonly message: string;
  readonly attempts: ReadonlyArray<Promise<ExecutionStats>>;
  readonly cause?: unknown;
}

/**
 * Resources that are held. Made by {@link Redlock.acquire} and {@link Redlock.extend}; or by hand, to
 * release in one process what another has locked.
 */
export class Lock {
  constructor(
    redlock: Redlock,
    resources: string[],
    value: string,
    attempts: ReadonlyArray<Promise<ExecutionStats>>,
    expiration: number,
  );
  readonly redlock: Redlock;
  readonly resources: string[];
  /** What each of the keys stores. */
  readonly value: string;
  readonly attempts: ReadonlyArray<Promise<ExecutionStats>>;
  /** When the lock stops being valid, as `Date.now()` counts, drift deducted; 0 when it is released. */
  expiration: number;

  /** {@link Redlock.release}, with the settings the lock was acquired with. */
  release(): Promise<ExecutionResult>;
  /** {@link Redlock.extend}, with the settings the lock was acquired with. */
  extend(duration: number): Promise<Lock>;
}

/** What the routine of {@link Redlock.using} gets. */
export type RedlockAbortSignal = AbortSignal & {
  /** Why the lock is lost; the same as `reason`. */
  error?: Error | undefined;
};

/**
 * Locks on a quorum of independent Redis servers.
 *
 * Emits `error` for every client that votes against, a {@link ResourceLockedError} or why the client
 * could not be asked, also when the operation succeeds; nobody has to listen.
 *
 * @example
 * redlock.on('error', (error) => {
 *   if (!(error instanceof ResourceLockedError)) console.error(error);
 * });
 */
export class Redlock extends EventEmitter {
  /**
   * @param clients ioredis clients or URLs, one for each independent node; one given twice counts
   *   once.
   * @param settings Defaults of every call.
   * @param scripts For the signature only: the scripts are fixed, and a function that would change one
   *   throws.
   * @throws {TypeError | RangeError} For no clients, or a setting that is not allowed.
   */
  constructor(
    clients: Iterable<string | IoredisClient>,
    settings?: PartialSettings,
    scripts?: {
      readonly acquireScript?: string | ((script: string) => string) | undefined;
      readonly extendScript?: string | ((script: string) => string) | undefined;
      readonly releaseScript?: string | ((script: string) => string) | undefined;
    },
  );
  readonly clients: Set<Client>;
  readonly settings: Settings;
  /** What the servers are asked, as the engine has it: to be read only. */
  readonly scripts: {
    readonly acquireScript: Script;
    readonly extendScript: Script;
    readonly releaseScript: Script;
  };

  /** Ends all operations and `quit()`s every client. Locks that are held expire. */
  quit(): Promise<void>;

  /**
   * Locks all the resources, or none.
   *
   * @param resources 1 to 64 names, which are the keys in Redis. On a cluster they must be in one
   *   slot: give them a common `{tag}`.
   * @param duration An integer from 1 on, in milliseconds.
   * @param settings Those that differ for this lock, its release and its extensions.
   * @throws {ExecutionError} When no attempt found a quorum.
   * @throws {RangeError} For a duration that is no integer, or none at all.
   *
   * @example
   * const lock = await redlock.acquire(['account:7', 'account:9'], 5000, { retryCount: 0 });
   */
  acquire(resources: string[], duration: number, settings?: PartialSettings): Promise<Lock>;

  /**
   * Releases the lock on all clients. A lock that is over already ends it at once.
   *
   * @throws {ExecutionError} When no quorum has released it.
   *
   * @example
   * await redlock.release(lock);
   */
  release(lock: Lock, settings?: PartialSettings): Promise<ExecutionResult>;

  /**
   * Lets the lock live for another `duration` from now.
   *
   * @returns The lock as it is from now on; the existing one is over.
   * @throws {ExecutionError} When no quorum did, or the lock is over. Until `existing.expiration` it
   *   may be tried again.
   *
   * @example
   * lock = await redlock.extend(lock, 5000);
   */
  extend(existing: Lock, duration: number, settings?: PartialSettings): Promise<Lock>;

  /**
   * Holds the resources, kept alive, while `routine` runs, then releases them.
   *
   * @param duration At least 100 ms longer than `automaticExtensionThreshold`.
   * @param routine `signal` aborts when the lock is lost.
   * @returns What `routine` returned.
   * @throws What `routine` threw; an {@link ExecutionError} when the lock could not be acquired, or
   *   was lost before `routine` had succeeded.
   *
   * @example
   * await redlock.using(['account:7'], 5000, async (signal) => {
   *   const balance = await getBalance(7);
   *   if (signal.aborted) throw signal.error;
   *   await setBalance(7, balance + 1);
   * });
   */
  using<T>(
    resources: string[],
    duration: number,
    settings: PartialSettings,
    routine?: (signal: RedlockAbortSignal) => Promise<T>,
  ): Promise<T>;
  using<T>(
    resources: string[],
    duration: number,
    routine: (signal: RedlockAbortSignal) => Promise<T>,
  ): Promise<T>;
}

export default Redlock;

/// <reference path="./lib/disposable.d.ts" />

/**
 * A set of independent Redis nodes that vote on locks (Redlock). You hold a lock once a quorum of
 * them, `floor(n / 2) + 1`, has granted it within its validity.
 *
 * Every duration in this API is in milliseconds. A bad argument throws, or rejects with, a
 * `TypeError` (code `ERR_INVALID_ARG_TYPE`: wrong type, unknown option) or a `RangeError`
 * (`ERR_OUT_OF_RANGE`: right type, value not allowed) before the call asks any node. A call that the
 * caller aborts rejects with `signal.reason`. Everything else rejects with a {@link RedsyncError}.
 *
 * An idle Redsync does not keep the process running; a pending call does.
 *
 * @example
 * const { Redsync } = require('redsync');
 *
 * const redsync = new Redsync(['redis://10.0.0.1', 'redis://10.0.0.2', 'redis://10.0.0.3']);
 * const mutex = redsync.newMutex('orders:42', { expiry: 10_000 });
 *
 * const lock = await mutex.lock();
 * try {
 *   await shipOrder(42);
 * } finally {
 *   await lock.unlock();
 * }
 */
export class Redsync {
  /**
   * Connects lazily and in the background: the constructor does no I/O, and an unreachable node is
   * no error here.
   *
   * A string is one of these URLs, with user and password percent-encoded:
   * - `redis://[user:password@]host[:port][/db]`
   * - `rediss://…`, the same over TLS
   * - `redis+unix://[user:password@]/path[?db=0]`
   * - `redis+sentinel://[user:password@]host[:port][,host[:port]…]/masterName[/db]`: the primary
   *   that these sentinels name, port 26379 unless given. User and password are those of the
   *   primary; {@link ConnectionOptions.sentinelUsername} is for those of the sentinels.
   * - `redis+cluster://[user:password@]host[:port][,host[:port]…]`: a Redis Cluster, one node in
   *   all, found by any of these servers
   * - `rediss+sentinel://…`, `rediss+cluster://…`: the same over TLS
   * - `memory:`, a node of its own inside the process, for development and tests
   * - `memory:NAME`, the same; everybody in the process who uses this name shares it
   *
   * An object is {@link ConnectionOptions}, or a {@link Pool} over a client that the application
   * already has. You can mix all kinds.
   *
   * @param nodes One node, or 1 to 64 of them. They must be independent of each other: a primary
   *   and its replica are not.
   * @param options Defaults for every mutex, and the key prefix.
   * @throws {TypeError} For the wrong type, an unknown option or an unsupported kind of URL.
   * @throws {RangeError} For a malformed URL or a forbidden value. No message ever
   *   contains a URL, a user name or a password.
   *
   * @example
   * const redsync = new Redsync(
   *   [
   *     'redis://locks:secret@10.0.0.1:6379/0',
   *     { host: '10.0.0.2', username: 'locks', password: process.env.REDIS_PASSWORD },
   *     'redis+unix:///run/redis/redis.sock?db=1',
   *     { host: 'redis.example', tls: { ca: fs.readFileSync('ca.pem') } },
   *     'redis+sentinel://10.0.1.1,10.0.1.2,10.0.1.3/mymaster',
   *   ],
   *   { keyPrefix: 'lock:', expiry: 5000 },
   * );
   */
  constructor(nodes: NodeInput | readonly NodeInput[], options?: RedsyncOptions);

  /**
   * Makes a mutex; asks no node.
   *
   * @param name The resource to lock: a well-formed string of 1 to 1024 bytes of UTF-8. Several
   *   different names (64 at most) are one lock: the mutex takes and releases them together, all or
   *   nothing. On a Redis Cluster their keys must be in one slot: give them a common `{tag}`.
   * @param options Override the defaults of the Redsync.
   * @throws {TypeError | RangeError} For a bad name or option.
   *
   * @example
   * const account = redsync.newMutex('account:7');
   * const transfer = redsync.newMutex(['account:7', 'account:9'], { tries: 10 });
   * const onCluster = redsync.newMutex(['{account}:7', '{account}:9']);
   */
  newMutex(name: string | readonly string[], options?: MutexOptions): Mutex;

  /**
   * `newMutex(name, { ...options, permits: limit })`: a lock that at most `limit` hold at once. See
   * {@link MutexOptions.permits}.
   *
   * @param name As for {@link Redsync.newMutex}, one name.
   * @param limit An integer from 1 to 1000.
   * @throws {TypeError | RangeError} For a bad argument; for `permits` that contradict `limit`, and a `mode`.
   *
   * @example
   * const reports = redsync.newSemaphore('reports', 5);
   * await using lock = await reports.lock(); // five at once, over all processes
   */
  newSemaphore(name: string, limit: number, options?: MutexOptions): Mutex;

  /**
   * `{ read, write }`, each `newMutex(name, { ...options, mode })`: any number hold `read` at once, or one
   * holds `write`. See {@link MutexOptions.mode}.
   *
   * The options are those of both, so `fencing` and `setNXOnExtend`, which do not go with mode `read`, are a
   * `TypeError` here. `newMutex(name, { mode: 'write', fencing: true })` makes the writer alone.
   *
   * @param name As for {@link Redsync.newMutex}, one name.
   * @throws {TypeError | RangeError} For a bad argument, and a `mode` among the options.
   *
   * @example
   * const { read, write } = redsync.newReadWriteLock('catalogue');
   * {
   *   await using lock = await read.lock(); // beside others who read
   *   await showCatalogue();
   * }
   * await using lock = await write.lock(); // alone
   * await changeCatalogue();
   */
  newReadWriteLock(
    name: string,
    options?: MutexOptions,
  ): { readonly read: Mutex; readonly write: Mutex };

  /** Number of nodes. */
  readonly size: number;

  /** Number of votes that decide: `floor(size / 2) + 1`. */
  readonly quorum: number;

  /**
   * `newMutex(name, options).lock({ signal })`.
   *
   * @example
   * await using lock = await redsync.acquire('report', { expiry: 30_000, autoExtend: true });
   */
  acquire(name: string | readonly string[], options?: MutexOptions & CallOptions): Promise<Lock>;

  /**
   * Acquires the lock, keeps it alive while `routine` runs, also if `autoExtend` is false, then releases it. Settles as
   * `routine` settles: neither a failed release nor the loss of the lock replaces its result. The process stays alive
   * while `routine` runs, even if that waits for nothing but its `signal`.
   *
   * With the option `value` it acquires no lock, but holds the lock of that value, which another process
   * has acquired. It extends that lock first, and rejects with an {@link ExtendError} if nobody holds it
   * with that value any more.
   *
   * @param routine `signal` aborts when the lock is lost or the caller aborts: pass it on, and stop.
   * @returns What `routine` returned.
   *
   * @example
   * await redsync.using('report', async (signal) => {
   *   await writeReport({ signal });
   * });
   */
  using<T>(
    name: string | readonly string[],
    routine: (signal: AbortSignal, lock: Lock) => T | Promise<T>,
  ): Promise<T>;
  using<T>(
    name: string | readonly string[],
    options: MutexOptions & CallOptions,
    routine: (signal: AbortSignal, lock: Lock) => T | Promise<T>,
  ): Promise<T>;

  /**
   * Campaigns for the lock, keeps it alive while `routine` runs, and campaigns again when the lock is lost or `routine`
   * is done; until `options.signal` aborts. Then it resolves, once `routine` has ended and the lock is released. So of all
   * processes that lead a name one leads at a time, and when that one dies the next one is found after the `expiry`.
   *
   * It rejects with what `routine` throws while it leads, and the lock is released then: another process may do
   * better, and to begin again here at once would repeat the failure, unseen. What `routine` throws after its own `signal`
   * has aborted is its way to stop: it counts for nothing. Nodes that do not answer end nothing; it goes on
   * trying.
   *
   * A `routine` that ends at once makes terms without a pause: give it a {@link MutexOptions.holdAtLeast}.
   *
   * @param name As for {@link Redsync.newMutex}, one name.
   * @param options `signal`: ends it. Those of a mutex but `tries`, `wait`, `value` and `reentrant`, which are a
   *   `TypeError`.
   * @param routine `signal` aborts when the lock is lost or the caller aborts: pass it on, and stop. As long as it
   *   goes on, this call does not campaign.
   * @throws {DeadlockError} Within a `using()` that holds the name.
   * @throws {ClosedError} When the Redsync is closed.
   *
   * @example
   * const stop = new AbortController();
   * process.once('SIGTERM', () => stop.abort());
   * await redsync.lead('scheduler', { signal: stop.signal }, async (signal) => {
   *   while (!signal.aborted) await scheduleNext({ signal });
   * });
   */
  lead(name: string, routine: (signal: AbortSignal, lock: Lock) => unknown): Promise<void>;
  lead(
    name: string,
    options: LeadOptions,
    routine: (signal: AbortSignal, lock: Lock) => unknown,
  ): Promise<void>;

  /**
   * Waits until a quorum of nodes answers PING, for example before a service reports that it is up.
   * Locking does not require it.
   *
   * @param options `timeout`: how long to wait; an integer from 1 on. Default 5000.
   * @throws {FailedError} When too few nodes have answered in time.
   * @throws {ClosedError} When the Redsync is closed.
   *
   * @example
   * await redsync.ready({ timeout: 2000 });
   */
  ready(options?: CallOptions & { timeout?: number | undefined }): Promise<void>;

  /**
   * Asks every node for a sign of life. A node that is down is an entry with `status: 'down'`, not
   * a rejection.
   *
   * @param options `timeout`: how long to wait for a node; an integer from 1 on.
   * @returns One entry for each node, in their order.
   *
   * @example
   * for (const { endpoint, status, latency } of await redsync.health()) {
   *   console.log(endpoint, status, latency);
   * }
   */
  health(options?: { timeout?: number | undefined }): Promise<NodeHealth[]>;

  /**
   * Asks every node what it stores under the name, for people who want to know who holds a lock. It
   * decides nothing: an answer is old when it arrives, and only `lock()` gets a lock.
   *
   * @param name As for {@link Redsync.newMutex}, one name.
   * @param options `timeout`: how long to wait for a node; an integer from 1 on. Default 2000. `permits`:
   *   ask for each of so many permits; an integer from 1 to 1000.
   * @returns One entry for each node, in their order; with `permits`, such entries for permit 1, then for
   *   permit 2, and so on.
   * @throws {ClosedError} When the Redsync is closed.
   *
   * @example
   * for (const { endpoint, status, owner, since } of await redsync.inspect('report')) {
   *   console.log(endpoint, status, owner, since);
   * }
   * for (const { permit, endpoint, status } of await redsync.inspect('reports', { permits: 5 })) {
   *   console.log(permit, endpoint, status);
   * }
   */
  inspect(
    name: string,
    options?: CallOptions & { timeout?: number | undefined; permits?: number | undefined },
  ): Promise<NodeInspection[]>;

  /**
   * Tells the names that are locked now on a quorum of nodes, and by whom, in the order of the names. For people who look:
   * it decides nothing, and an answer is old when it arrives. It only reads.
   *
   * It walks over the keys of every node by SCAN, and asks all nodes about each name that may be locked. That is a string
   * that expires, of at most 16 KiB; whatever else Redis stores is passed over, and so is what the library keeps beside a
   * name. A name that was locked all the while is found. If you share a server with other applications, use a `keyPrefix` or
   * a pattern: a key of theirs that expires is taken for a mutex.
   *
   * What it costs is bounded: 200 keys for each question to a server, 50 000 questions, 8 MiB of names, 32 names asked about at
   * a time, `limit` and `timeout`. {@link LockedNames.incomplete} says what of that has left names out.
   *
   * A cluster is one node, and each of its masters is asked. Over a {@link Pool} of one's own that is a cluster it
   * takes {@link Conn.masters}.
   *
   * @param pattern Which names: a string of 1 to 1024 bytes with `*`, `?`, `[a-z]`, `[^a]`, and `\\` before any of these
   *   for itself, as SCAN has them. The {@link RedsyncOptions.keyPrefix} is no part of it. Default `*`.
   * @param options `limit`: at most so many names; an integer from 1 to 10 000. Default 1000. `timeout`: how long it may take in
   *   all, in milliseconds, half of it for the keys; an integer from 1 on. Default 10 000.
   * @throws {FailedError} When no quorum of nodes tells of its keys: nodes are down, or an ACL refuses what it takes.
   * @throws {ClosedError} When the Redsync is closed.
   *
   * @example
   * const names = await redsync.list('invoice:*', { limit: 100 });
   * for (const { name, kind, owners } of names) {
   *   for (const { owner, since, remaining } of owners) console.log(name, kind, owner, since, remaining);
   * }
   * if (names.incomplete) console.log('and more');
   */
  list(
    pattern?: string,
    options?: CallOptions & { limit?: number | undefined; timeout?: number | undefined },
  ): Promise<LockedNames>;

  /**
   * Tells what this Redsync has done so far, and what it knows of its nodes. Costs nothing.
   *
   * @example
   * const { held, waiting, nodes } = redsync.stats();
   */
  stats(): Stats;

  /**
   * Closes the connections. Calls still under way reject with {@link ClosedError}, later ones too.
   * Locks that you hold stay on the nodes until they expire. You may call it more than once.
   *
   * With `drain` it first lets what is held come to its end: nothing new begins and calls that wait reject
   * as above, but for so long you can still extend and release your locks and ask whether they are `valid()`,
   * those with `autoExtend` are kept alive, and routines of `using()` go on. It closes as soon as
   * nothing is held and no routine runs any more. A lock that you do not release is held until it is over, but one
   * with `autoExtend` whose `Lock` and `Mutex` are garbage does not count. What is left then is lost as
   * without `drain`: its `signal` aborts.
   *
   * A second call during that time resolves with the first. Without a `drain` it ends the draining.
   *
   * @param options `drain`: an integer from 0 to 86 400 000, in milliseconds. Default 0.
   * @throws {TypeError | RangeError} For a bad argument; then nothing is closed.
   *
   * @example
   * process.once('SIGTERM', () => redsync.close({ drain: 10_000 }));
   */
  close(options?: { drain?: number | undefined }): Promise<void>;

  /** As `close()` without `drain`, for `await using redsync = new Redsync(nodes)`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Options of a {@link Redsync}: the defaults of its mutexes, the key prefix, the owner, and the quarantine. */
export interface RedsyncOptions extends MutexOptions {
  /**
   * Goes before every name to make its Redis key: a well-formed string of up to 1024 bytes.
   * @default ''
   */
  keyPrefix?: string | undefined;
  /**
   * Who holds the locks of this Redsync, for people: it stands behind the random part of every ownership value, with
   * the time of the attempt by the wall clock of this machine: `RANDOM#o=OWNER@TIME`. It decides nothing.
   *
   * A string of 1 to 64 letters, digits and `_`, `.`, `:`, `/`, `-`; `false` for values that are random alone. By
   * default it is the host name, in which every other character is a `-`, and the process id. Whoever can read the
   * keys in Redis can read it. Values of {@link MutexOptions.genValue} and {@link MutexOptions.value} stay as they
   * are.
   * @default `host:pid`
   *
   * @example
   * const redsync = new Redsync('redis://10.0.0.1', { owner: 'billing/worker-3' });
   */
  owner?: string | false | undefined;
  /**
   * Keep a server that has just started from voting on new locks, for it may have forgotten some that
   * it had granted. It votes once its uptime is `quarantine * (1 + driftFactor) + 1000` ms. Until then
   * it counts as a node that has failed, with the code `EABSTAINED`; it still extends and releases
   * locks (but stores none again, for `setNXOnExtend`), and answers `valid()` and `inspect()`. A single
   * node can grant nothing for so long after each restart.
   *
   * `true` stands for the `expiry` of the mutex: right if all locks of a name have the same one, in
   * all processes. Otherwise give the longest of them: an integer from 1 to 86 400 000 milliseconds.
   * It helps if every process that locks the name does so. With `fencing`, add what the wall clocks
   * of the clients may differ by.
   *
   * The uptime comes from INFO, when the library logs in to the server. If an ACL refuses INFO, the
   * node votes at once, and {@link NodeHealth.error} says so. The uptime does not tell of `FLUSHALL`, of
   * a failover to a replica, or of a restart behind a proxy. Servers reckon it by their wall clock: one
   * that is set forward after the start ends the quarantine early. `memory:` nodes take no notice of the
   * option, for they forget nothing while the process lives.
   *
   * A {@link Pool} among the nodes is a `TypeError`: nobody can tell when its client connects again.
   * @default false
   *
   * @example
   * const redsync = new Redsync(['redis://10.0.0.1', 'redis://10.0.0.2', 'redis://10.0.0.3'], {
   *   expiry: 10_000,
   *   quarantine: true, // a restarted server abstains for 11.1 seconds
   * });
   */
  quarantine?: boolean | number | undefined;
}

/** What {@link Redsync.health} tells about one node. */
export interface NodeHealth {
  /** Index of the node in the list of the Redsync. */
  node: number;
  /**
   * `host:port`, the path of the socket, the first sentinels and the name of their primary, the
   * first servers of the cluster, or `memory`; never a credential.
   */
  endpoint: string;
  status: 'connecting' | 'up' | 'down';
  /** Round trip of the PING in milliseconds, if the node answered. */
  latency?: number | undefined;
  /** Kind and version of the server, such as `redis 7.0.15` or `valkey 9.1.2`, when known. */
  server?: string | undefined;
  /**
   * Whether the node tells waiting calls of a release, so that they need not poll. False if the
   * server is too old (it takes Redis 6 or Valkey), or an ACL refuses HELLO, CLIENT TRACKING or PTTL:
   * calls then try again on their schedule alone. Absent if the library could not find out.
   */
  watching?: boolean | undefined;
  /**
   * Milliseconds for which the node still has no vote on new locks, if it has just started: see
   * {@link RedsyncOptions.quarantine}, with the `expiry` of the Redsync. Absent if it votes.
   */
  abstains?: number | undefined;
  /**
   * Indexes of the other nodes that are on the same server, by another of its names or in another of its databases: they
   * fail with it, and forget with it. The first two that are found make the process emit the warning
   * `REDSYNC_SAME_SERVER`, once. Absent if none is known. A server tells by `INFO`, when redsync logs in; a client of
   * `newPool()` is asked once, after its first lock; a cluster over a client and a {@link Pool} of one's own are not
   * asked.
   */
  sameServerAs?: number[] | undefined;
  /**
   * Why the node is not up; or, though it is, that a sentinel refuses to tell of failovers, or that the
   * node votes without quarantine because it does not tell for how long it has been up.
   */
  error?: Error | undefined;
}

/** A name that is locked, as {@link Redsync.list} tells it. */
export interface LockedName {
  name: string;
  /**
   * - `mutex`: one holder, of this library or another. A writer is one, too: nothing tells them apart.
   * - `semaphore`: permits are held, one by each of the `owners`. If only the first permit is, it is told as a `mutex`.
   * - `read`: readers have it, of whom nothing more is told here.
   * - `write`: a writer has it. No version writes what would tell that yet.
   * - `unknown`: a quorum of nodes stores something, but no value is on a quorum: nobody has it, and nobody gets it now.
   */
  kind: 'mutex' | 'semaphore' | 'read' | 'write' | 'unknown';
  /** Who holds it, as far as values tell. At least one. */
  owners: readonly LockOwner[];
}

/** What a value says of its holder: see {@link RedsyncOptions.owner}. Nothing else vouches for it. */
export interface LockOwner {
  /** `undefined` if the value names nobody. */
  owner: string | undefined;
  /** When he began to ask for the lock, by his own clock. */
  since: Date | undefined;
  /** Milliseconds until fewer nodes than a quorum store his value, if he does not extend it; `Infinity` if they keep it. */
  remaining: number;
  /** Indexes of the nodes that store it. */
  nodes: readonly number[];
}

/** What {@link Redsync.list} tells: an array, and whether that is all. */
export interface LockedNames extends Array<LockedName> {
  /**
   * Why other names may be locked, too. Absent if these are all.
   *
   * - `limit`: there are more than `limit`.
   * - `time`: `timeout` was over.
   * - `size`: there are more keys, or names that may be locks, than it looks at.
   * - `nodes`: nodes have failed while it was asking.
   */
  incomplete?: 'limit' | 'time' | 'size' | 'nodes' | undefined;
}

/** What {@link Redsync.inspect} tells about one node. */
export interface NodeInspection {
  /** Index of the node in the list of the Redsync. */
  node: number;
  /** As in {@link NodeHealth}. */
  endpoint: string;
  /** `unknown`: the node did not answer. */
  status: 'held' | 'free' | 'unknown';
  /** Which permit this is about, with the option `permits`. */
  permit?: number | undefined;
  /**
   * The ownership value, when held: it lets its reader release the lock. At most 16 KiB of it. It is
   * `#readers` where the name is held in mode `read`.
   */
  value?: string | undefined;
  /**
   * Who holds it, if the value says so: see {@link RedsyncOptions.owner}. Anybody who can write to the node can have
   * written it; whatever it is, it has at most 64 letters, digits and `_`, `.`, `:`, `/`, `-`.
   */
  owner?: string | undefined;
  /** When the attempt began that has the lock, by the wall clock of its holder, if the value says so. */
  since?: Date | undefined;
  /** Milliseconds until it expires on this node, when held; `Infinity` if it does not. */
  remaining?: number | undefined;
  /** Why the node did not answer. */
  error?: RedisError | undefined;
}

/** What {@link Redsync.stats} tells: numbers since its construction, unless it says "now". */
export interface Stats {
  /** Locks acquired. */
  locks: number;
  /** Calls that found the lock taken: `tryLock()` with `null`, and `TakenError`. */
  taken: number;
  /** Calls to lock that the caller ended: by a signal, or by an error in its own function. */
  aborted: number;
  /** Calls to lock that failed for another reason. */
  failures: number;
  /** Attempts of all calls to lock. */
  attempts: number;
  /** How often they waited between attempts. */
  waits: number;
  /** Locks that `unlock()`, `using` and `using()` have released. */
  unlocks: number;
  unlockFailures: number;
  /** Successful calls of `extend()`; the extensions of `autoExtend` do not count. */
  extensions: number;
  extensionFailures: number;
  /** Locks whose loss the library has told. */
  lost: number;
  /**
   * Locks that this Redsync holds now: acquired or extended by it, and neither released, lost nor over. One that
   * nobody releases counts for up to a quarter of a second longer than it lasts. What `using()` shares is one lock.
   */
  held: number;
  /** Calls to lock under way now. */
  waiting: number;
  /** One entry for each node, in their order. */
  nodes: NodeStats[];
}

/** What the Redsync knows of one node from its answers to calls. */
export interface NodeStats {
  node: number;
  /** As in {@link NodeHealth}. */
  endpoint: string;
  /** Errors with which the node answered, and answers that failed to come. */
  errors: number;
  /** Whether the last call got an answer; `up` before the first call. */
  status: 'up' | 'down';
}

/** What a node said in a round; `pending`: the round did not wait for it. */
export type Vote = 'granted' | 'taken' | 'absent' | 'error' | 'pending';

/** The message on `redsync:extend` when a call of `extend()` has ended, and the beginning of others. */
export interface CallEvent {
  /** The name of the mutex; of several, the first. */
  name: string;
  names: readonly string[];
  /** How long the call took, in milliseconds. */
  duration: number;
  /** One vote a node in the last round; `undefined` when the call ended without one. */
  votes: Vote[] | undefined;
  /** What the call rejected with. */
  error: unknown;
}

/** The message on `redsync:lock` when a call of `lock()` or `tryLock()` has ended. */
export interface LockEvent extends CallEvent {
  /** Whether the caller has the lock now. False without an error: `tryLock()` gave `null`. */
  acquired: boolean;
  /** How many attempts the call made; `undefined` when it ended early. */
  attempts: number | undefined;
  /** How often it waited before another attempt. */
  waits: number | undefined;
}

/** The message on `redsync:unlock` when a call of `unlock()` has ended. */
export interface UnlockEvent extends CallEvent {
  /**
   * How long this process had held the lock, in milliseconds: from the beginning of the attempt that acquired it to
   * the end of this call. It is told once: `undefined` in a later call of `unlock()`, after a loss, which tells it
   * itself, and if another process had acquired it.
   */
  heldFor: number | undefined;
}

/**
 * The message on the channels of `tracing:redsync:extend`, and the beginning of those of `tracing:redsync:lock` and
 * `tracing:redsync:unlock`: one object for all of a call. What is known only at its end is there from `asyncStart` or
 * `error` on.
 */
export interface CallTrace {
  /** Whose call it is. */
  redsync: Redsync;
  /** The name of the mutex; of several, the first. */
  name: string;
  names: readonly string[];
  /** Where the node is, if there is one, and it is one server. */
  serverAddress: string | undefined;
  serverPort: number | undefined;
  /** How long the call took, in milliseconds. */
  duration?: number;
  /** As in {@link CallEvent}. */
  votes?: Vote[] | undefined;
  /** What the call gave: only if it has succeeded. */
  result?: unknown;
  /** What the call rejected with: only if it has. */
  error?: unknown;
}

/** The message on the channels of `tracing:redsync:lock`; the rest is as in {@link LockEvent}. */
export interface LockTrace extends CallTrace {
  acquired?: boolean;
  attempts?: number | undefined;
  waits?: number | undefined;
  /** The lock itself: whoever listens can release it. `null`: `tryLock()` found it taken. */
  result?: Lock | null;
}

/** The message on the channels of `tracing:redsync:unlock`. */
export interface UnlockTrace extends CallTrace {
  /** As in {@link UnlockEvent}. */
  heldFor?: number | undefined;
  result?: boolean;
}

/** The message on `redsync:lost` when a lock is lost. */
export interface LostEvent {
  /** Whose lock it was. */
  redsync: Redsync;
  name: string;
  names: readonly string[];
  /** How long this process had held it, in milliseconds. NaN if another process had acquired it. */
  duration: number;
  error: LockLostError;
}

/** The message on `redsync:node` when a call finds a node down, and when it is up again. */
export interface NodeEvent {
  /** Index of the node in the list of the Redsync. */
  node: number;
  /** As in {@link NodeHealth}. */
  endpoint: string;
  status: 'up' | 'down';
  /** Why it is down. */
  error: RedisError | undefined;
}

/**
 * Options of a {@link Mutex}. The library reads them once, when it makes the mutex; `undefined`
 * stands for the default of the Redsync. The defaults below are those of go-redsync.
 */
export interface MutexOptions {
  /**
   * How long the lock lives on each node, in milliseconds: an integer from 1 to 86 400 000 (24 h),
   * long enough for the drift (`expiry * driftFactor + 2`) and the node timeout
   * (`expiry * timeoutFactor`) to leave some validity. Less than 100, which may have been meant in seconds,
   * makes the process emit the warning `REDSYNC_SHORT_EXPIRY`, once.
   * @default 8000
   */
  expiry?: number | undefined;
  /**
   * How long `lock()`, `acquire()` and `using()` wait for the lock, in milliseconds: an integer from 0 to 86 400 000
   * (24 h), or `Infinity`. Then the call makes its last attempt, and rejects with `TakenError` or `FailedError` if that
   * fails, too. 0 is one attempt. It ends the waiting and never the work: a signal does both.
   *
   * With it, `tries` is `Infinity`, unless it is given beside it.
   *
   * @default Infinity, so that only `tries` ends the waiting
   * @example
   * await redsync.using('invoice:42', { wait: 30_000 }, () => work());
   */
  wait?: number | undefined;
  /**
   * How often `lock()` tries: an integer from 1 on, or `Infinity`. With the pauses of the default, 32 attempts take
   * about 4.7 seconds, which is less than a holder may have the lock: say `wait` instead.
   * @default 32; with `wait`, Infinity
   */
  tries?: number | undefined;
  /**
   * Pause before attempt n + 1 in milliseconds: an integer from 1 to 86 400 000, or a function of n
   * (1, 2, …) that returns a number from 0 to 86 400 000. If it throws, `lock()` rejects with that.
   * @default random, at least 50 and less than 250
   */
  retryDelay?: number | ((tries: number) => number) | undefined;
  /**
   * Share of `expiry` that the engine deducts because the nodes' clocks may run at different speeds:
   * greater than 0, less than 1.
   * @default 0.01
   */
  driftFactor?: number | undefined;
  /**
   * Share of `expiry` that a node may take to answer: greater than 0, less than 1. The resulting
   * timeout may be a fraction of a millisecond, which few networks can meet.
   * @default 0.05
   */
  timeoutFactor?: number | undefined;
  /**
   * Makes the value by which a node knows the lock's owner: a non-empty well-formed string of at
   * most 16 KiB. Every attempt calls it anew. It must never return the same value twice: two holders
   * with one value could release each other's lock.
   * @default 16 bytes from the operating system's secure random source, in base64, and the {@link RedsyncOptions.owner}
   */
  genValue?: (() => string | Promise<string>) | undefined;
  /**
   * The value of a lock that another process holds, in order to take it over: `unlock()`, `extend()`
   * and `valid()` act on that lock without a `lock()` first, and `using()` holds it. `autoExtend` keeps
   * it alive from the first successful `extend()` on. A non-empty well-formed string of at most 16 KiB.
   */
  value?: string | undefined;
  /**
   * Settle as soon as enough nodes have answered to decide, either way. The engine still follows up
   * the others, and cleans up after them if need be.
   * @default false
   */
  failFast?: boolean | undefined;
  /**
   * Ask the nodes in a random order.
   * @default false
   */
  shufflePools?: boolean | undefined;
  /**
   * Let `extend()` set the key again on nodes that have lost it, unless somebody else has it now.
   * @default false
   */
  setNXOnExtend?: boolean | undefined;
  /**
   * Give each lock a fencing token, {@link Lock.token}: a number greater than that of every earlier
   * holder of the name, in whichever process. Pass it to what the lock protects, and let that refuse a
   * smaller one than it has seen: so a holder whose lock is over cannot write after the next one. A lock
   * on several names has one token, greater than the earlier ones of each of them.
   *
   * All processes that want tokens of a name have to use the option for it. Locks of the name without
   * it, those of go-redsync and node-redlock too, exclude these and are excluded; they get no token, and
   * spoil none.
   *
   * Each node keeps the last token of `NAME` under the key `NAME:fence`, for three hours after the last
   * grant; in a Redis Cluster under `{NAME}:fence`, unless the name has a `{tag}`. So do not lock both
   * `x` with tokens and a name `x:fence`. A node grants a greater token only: the order needs no clock
   * that is right. Nodes and clients whose clocks are more than an hour apart may not agree on a token;
   * such a node fails with the code `ETOKEN`. Two things can break the order: a node whose clock goes
   * back by an hour or more within three hours, and a node that forgets what it has stored (see
   * {@link RedsyncOptions.quarantine}).
   *
   * The ownership value is `RANDOM#t=TOKEN` then, so that the token goes with it when you hand the lock
   * over. What `genValue` returns must have no `#`, and at most 16 365 bytes (`RangeError`). Together with
   * `setNXOnExtend` the option is a `TypeError`; so is, on a Redis Cluster, a name that has a `}` and no
   * tag. An ACL has to allow `+time` and `+exists`, and in a cluster the keys that begin with `{NAME`.
   * @default false
   *
   * @example
   * const lock = await redsync.acquire('invoice:42', { fencing: true });
   * await store.write(invoice, { token: lock.token }); // refuses a token below the last it has seen
   */
  fencing?: boolean | undefined;
  /**
   * How many may hold the name at once: an integer from 1 to 1000. With more than 1 the mutex is a
   * semaphore, and nothing else about it changes.
   *
   * There are so many permits in a row, and each is a lock of its own on a quorum of nodes. To lock is to
   * get one that is free. So a majority has granted every permit that is held, and there are never more
   * holders than permits. (A count on each node could not promise that: with three nodes that count to 5,
   * up to 7 callers find a majority.) If a holder dies, its permit is free at its expiry.
   *
   * Permit 1 is the plain lock of `NAME`; permit i is the lock of the key `NAME:permit:i`. A plain mutex of
   * the name, also that of go-redsync, is a holder like others: it takes permit 1, and waits for no other.
   * Give all who lock a name the same number. If numbers differ, whoever asks with n uses the first n
   * permits: there are never more holders than the greatest number in use. Whoever asks with a small number
   * may find its permits taken while later ones are free. Nothing stops while you change a number: for a
   * smaller one, those who hold later permits finish. Do not also lock a name such as `x:permit:2`.
   *
   * The ownership value is `RANDOM#p=PERMIT` then, and `RANDOM` for permit 1. For the option `value` give
   * `permits`, too: a value of a later permit is a `RangeError`. What `genValue` returns must have no `#`,
   * and at most 16 377 bytes (`RangeError`). With several names, a `mode` or `fencing` the option is a
   * `TypeError`: several hold the name at once, so no fencing token of one would be the last. In a Redis
   * Cluster the permits need no common slot. An ACL has to allow the keys `NAME:permit:*`.
   * @default 1
   *
   * @example
   * await redsync.using('reports', { permits: 5 }, (signal) => render(report, { signal }));
   */
  permits?: number | undefined;
  /**
   * Lock the name to read or to write: `read` is held by any number at once, `write` by one alone. Without a
   * mode the mutex excludes both, as does a mutex of go-redsync, and both exclude it.
   *
   * While others read, a node stores the mark `#readers` under `NAME`, and the readers, each with its own
   * expiry, in a sorted set under `NAME:readers`; if a reader dies, the rest do not keep it there. Two quorums
   * have a node in common, and that one does not store a writer beside a reader. A writer who finds readers
   * leaves a sign under `NAME:sign`, which keeps later ones out while he waits: so readers who come and go
   * do not keep him waiting for ever. In a Redis Cluster these keys begin with `{NAME}` unless the name has a
   * `{tag}`. Do not also lock a name such as `x:readers` or `x:sign`.
   *
   * A writer becomes a reader by {@link Lock.downgrade}. A reader never becomes a writer: see
   * {@link Lock.upgrade}. For the option `value` give the mode in which the lock is held.
   *
   * With several names or `permits` the option is a `TypeError`; mode `read` also with `fencing`, for several
   * hold the name at once, and with `setNXOnExtend`. So is, on a Redis Cluster, a name that has a `}` and no
   * tag.
   * @default neither
   *
   * @example
   * const lock = await redsync.acquire('catalogue', { mode: 'read' });
   */
  mode?: 'read' | 'write' | undefined;
  /**
   * Release makes the lock expire so many milliseconds after its acquisition, and not before: an integer from 0 to the
   * `expiry`, counted from the beginning of the attempt that has acquired it. 0, or less time than it was held for, is
   * a plain release. So what every process does at a time is done once, though it is done sooner than the last
   * of them comes.
   *
   * For its holder the lock is released: `unlock()` resolves, `remaining` is 0, and {@link Redsync.close} does not
   * wait for it. Others find it taken for the rest of the time, and those who wait are woken at its end. If the
   * release fails, or the process dies, the lock lives for its `expiry`, which is never less. A release by its value
   * (the option `value`, {@link Lock.value}) ends it at once.
   *
   * With `permits` the rest is that of the permit. With a `mode` the option is a `TypeError`, for readers keep no
   * reader off; with the option `value` too, for nobody knows here when that lock was acquired.
   * @default 0
   *
   * @example
   * // Of all processes that come within 30 seconds one sends the report.
   * const options = { tries: 4, expiry: 30_000, holdAtLeast: 30_000 };
   * await redsync.using('report', options, (signal) => sendReport({ signal }));
   */
  holdAtLeast?: number | undefined;
  /**
   * Let `using()` share what a `using()` around it holds: its routine runs at once, with the same lock and the
   * same signal. The last of those who share the lock releases it. A reader shares with readers only; a call with
   * `fencing` shares a lock that has a token.
   *
   * Without it, and where there is nothing to share, `using()`, `acquire()` and `lock()` reject with a
   * {@link DeadlockError} instead of waiting for a lock that a `using()` of the same Redsync holds around them: in
   * all that its routine calls, awaited or not. `tryLock()` and one try wait for nobody, and find the lock
   * taken. A lock of `acquire()` or `lock()` belongs to no call chain. A reader does not wait for readers of its
   * own, and a semaphore is in the way only with all its permits.
   * @default false
   *
   * @example
   * await redsync.using('account:7', async () => {
   *   await redsync.using('account:7', { reentrant: true }, async () => {}); // the same lock
   * });
   */
  reentrant?: boolean | undefined;
  /**
   * Keep the lock alive until you release or lose it. The extension runs on the engine's own thread:
   * it goes on while JavaScript is blocked. `true` is
   * `{ interval: expiry / 3, maxHold: Infinity, maxStall: 60_000 }`.
   *
   * Such a lock does not keep the process alive, a routine of `using()` does. When the process ends, the
   * lock expires. If the garbage collector takes its `Lock` and `Mutex` without an `unlock()`, the engine
   * lets the lock expire, and the process emits the warning `REDSYNC_LOCK_DROPPED`. It does so once for locks without
   * `autoExtend`, of which one in 17 is looked after.
   * @default false; true in `using()`
   */
  autoExtend?: boolean | AutoExtendOptions | undefined;
}

/** Options of {@link Redsync.lead}: it campaigns without end, for a lock of its own. */
export interface LeadOptions
  extends Omit<MutexOptions, 'tries' | 'wait' | 'value' | 'reentrant'>, CallOptions {}

/** How to keep a lock alive. */
export interface AutoExtendOptions {
  /**
   * Milliseconds from one extension to the next; shorter than the validity of the lock.
   * @default a third of `expiry`
   */
  interval?: number | undefined;
  /**
   * Stop extending so many milliseconds after acquisition: the lock is then lost on its expiry.
   * @default Infinity
   */
  maxHold?: number | undefined;
  /**
   * Stop extending when the event loop has not turned for so many milliseconds: a process that hangs
   * must not hold its locks for ever.
   * @default 60000
   */
  maxStall?: number | undefined;
}

/** Options of a single call. */
export interface CallOptions {
  /**
   * Aborts the call, which then rejects with `signal.reason`. The engine cleans up in the background
   * what the call may have left on the nodes.
   */
  signal?: AbortSignal | undefined;
}

/**
 * A lock on one name, or on several together. {@link Redsync.newMutex} makes it; you may lock it again
 * and again. Every attempt to lock makes a new value, so that a late release of an earlier attempt can
 * do no harm to a later one.
 */
export class Mutex {
  private constructor();

  /** The name; of several, the first. */
  readonly name: string;

  /** All the names. */
  readonly names: readonly string[];

  /** How many may hold the name at once: the option `permits`. */
  readonly permits: number;

  /** The option `mode`. */
  readonly mode: 'read' | 'write' | undefined;

  /**
   * The ownership value of the last successful `lock()` or `tryLock()`, or that of the `value`
   * option; `''` before.
   */
  readonly value: string;

  /** As {@link Lock.token}, of the lock that `value` belongs to; `undefined` before. */
  readonly token: number | undefined;

  /** When the current lock stops being valid, drift deducted; `undefined` before. */
  readonly until: Date | undefined;

  /**
   * Acquires the lock: tries up to `tries` times, with a pause of `retryDelay` in between.
   *
   * @throws {TakenError} When a quorum of nodes held it for somebody else in the last attempt.
   * @throws {FailedError} When the last attempt found no quorum for another reason.
   * @throws {DeadlockError} When the `using()` around this call holds it.
   * @throws {ClosedError} When the Redsync is closed.
   * @throws `signal.reason` when aborted.
   *
   * @example
   * const lock = await mutex.lock({ signal: AbortSignal.timeout(3000) });
   */
  lock(options?: CallOptions): Promise<Lock>;

  /**
   * Tries once. Callers that come in the same millisecond can split the nodes between them, and all get
   * `null`: if one of them has to get the lock, call `lock()` with a few `tries`.
   *
   * @returns `null` when others hold the lock on a quorum of nodes.
   * @throws {FailedError} When too few nodes answered to tell.
   * @throws {ClosedError} When the Redsync is closed.
   * @throws `signal.reason` when aborted.
   *
   * @example
   * const lock = await mutex.tryLock();
   * if (lock === null) return; // somebody else is at it
   */
  tryLock(options?: CallOptions): Promise<Lock | null>;

  /**
   * Releases the current lock on every node.
   *
   * @returns `true` once a quorum has released it.
   * @throws {LockExpiredError} When it had expired, and left nothing to release.
   * @throws {TakenError} When a quorum of nodes holds it for somebody else by now.
   * @throws {FailedError} When too few nodes answered.
   * @throws {ClosedError} When the Redsync is closed.
   *
   * @example
   * // In another process, with the value that the holder has passed on.
   * await redsync.newMutex('upload:9', { value: job.lockValue }).unlock();
   */
  unlock(options?: CallOptions): Promise<boolean>;

  /**
   * Sets the time to live of the current lock to `expiry` again; never shortens it.
   *
   * @returns `true` once a quorum has done so.
   * @throws {ExtendError} Otherwise. The lock stays valid until `until`, so there may be time to
   *   try again. If the event loop is blocked until an extension is over, the library releases the lock,
   *   unless it was acquired elsewhere: its `value` may be held by others, too.
   * @throws {ClosedError} When the Redsync is closed.
   *
   * @example
   * for (const part of parts) {
   *   await upload(part);
   *   await mutex.extend();
   * }
   */
  extend(options?: CallOptions): Promise<boolean>;

  /**
   * Asks the nodes whether the current lock is still there.
   *
   * @returns `true` when a quorum stores our value, `false` when a quorum cannot any more.
   * @throws {FailedError} When too few nodes answered to tell.
   * @throws {ClosedError} When the Redsync is closed.
   *
   * @example
   * if (!(await mutex.valid())) throw new Error('lost the lock');
   */
  valid(options?: CallOptions): Promise<boolean>;
}

/**
 * One successful acquisition. It only ever acts on its own hold: once that is over, `unlock()` and
 * `extend()` fail, even if you have locked the same mutex again since.
 *
 * `console.log()` and `JSON.stringify()` show the names, the milliseconds left and whether the lock is held,
 * of its mutex too; never the value.
 *
 * @example
 * await using lock = await mutex.lock(); // released at the end of the block
 */
export interface Lock extends AsyncDisposable {
  /** The mutex of this lock. */
  readonly mutex: Mutex;

  /** The ownership value of this acquisition. Who reads it may let another release the lock: it is not taken for dropped. */
  readonly value: string;

  /**
   * With the option `fencing`: a safe integer, strictly greater than the token of every earlier holder of
   * the name; of each of several names. It counts microseconds since 1970, or runs ahead of them: compare
   * tokens, and read no time from them. `extend()` does not change it. A lock that was taken over by the
   * option `value` has the token that its value carries. `undefined` without the option.
   *
   * @example
   * const lock = await redsync.acquire('report:7', { fencing: true });
   * await fetch(url, { method: 'PUT', body, headers: { 'X-Fencing-Token': `${lock.token}` } });
   */
  readonly token: number | undefined;

  /** As that of its mutex; `read` after a {@link Lock.downgrade}. */
  readonly mode: 'read' | 'write' | undefined;

  /** When the lock stops being valid, drift deducted. Moves on with every successful `extend()`. */
  readonly until: Date;

  /**
   * Milliseconds of validity left; 0 once over. Unlike `until` it does not depend on the wall
   * clock, and it counts the time during which the machine sleeps.
   */
  readonly remaining: number;

  /**
   * Aborts when the lock is lost, no later than `until`; `reason` is a {@link LockLostError} whose
   * message says why. An extension in time prevents the loss, and the lock's own `unlock()` is none. A
   * release by its value through another Mutex is a loss. One of the same Redsync is told at once, and one of
   * another Redsync in this process that has the same URLs in the same order as soon as a quorum has released it.
   *
   * Where the nodes tell of changes (Redis 7, Valkey and `memory:`; not over clients, nor in mode `"read"`), it
   * aborts a round trip after somebody has deleted or taken over the lock on a quorum. Elsewhere the next extension
   * of `autoExtend` notices that; without `autoExtend` the signal tells only the end of the lock's time.
   *
   * @example
   * const lock = await mutex.lock();
   * await fetch(url, { signal: lock.signal });
   */
  readonly signal: AbortSignal;

  /**
   * As {@link Mutex.extend}, for this acquisition.
   *
   * @example
   * if (lock.remaining < 1000) await lock.extend();
   */
  extend(options?: CallOptions): Promise<boolean>;

  /**
   * Makes a reader of a writer, without a gap in which another writer could get in: from then on the lock
   * is as if it had been locked in mode `read`, and other readers get in. It also extends the lock, and
   * counts as an extension. The mutex stays in mode `write`: its next `lock()` is a writer's.
   *
   * @returns This lock.
   * @throws {ModeError} When the lock has no mode.
   * @throws {ExtendError} When no quorum has done so. Some nodes may have: so the lock is in mode `read` all
   *   the same, valid until `until`, and you may call `downgrade()` or `extend()` again.
   * @throws {ClosedError} When the Redsync is closed.
   *
   * @example
   * const lock = await redsync.acquire('catalogue', { mode: 'write' });
   * await changeCatalogue();
   * await lock.downgrade();
   * await tellOthers(await readCatalogue()); // nobody has changed it since
   * await lock.unlock();
   */
  downgrade(options?: CallOptions): Promise<this>;

  /**
   * Always rejects, with a reason: no reader becomes a writer. Two readers who both wanted it would wait for
   * each other for ever. Release the lock, and lock in mode `write`: what you have read may have changed by
   * then.
   *
   * @throws {ModeError}
   *
   * @example
   * await lock.unlock();
   * await using writing = await redsync.acquire('catalogue', { mode: 'write' });
   */
  upgrade(): Promise<never>;

  /**
   * Stops automatic extension: the lock is valid until `until` and not longer, unless you call
   * `extend()`. `signal` aborts then. An extension that is on its way may still move `until` on once.
   * The end of a routine of `using()`, or of a block with `await using`, no longer releases the lock, and nobody is warned
   * that it was dropped.
   *
   * @example
   * // Nobody else gets it for the rest of its time, whatever becomes of this process.
   * lock.letExpire();
   */
  letExpire(): void;

  /**
   * As {@link Mutex.unlock}, for this acquisition.
   *
   * @example
   * await lock.unlock();
   */
  unlock(options?: CallOptions): Promise<boolean>;

  /** As `unlock()`, but never rejects. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Base class of the library's own errors. Only the library makes them. `instanceof` knows those of another
 * copy of this package, too, such as the one that a dependency has.
 *
 * @example
 * try {
 *   await mutex.lock();
 * } catch (error) {
 *   if (error instanceof TakenError) return retryLater();
 *   throw error;
 * }
 */
export class RedsyncError extends Error {
  protected constructor();
  /** Tells the kind of error; stable, unlike `message`. */
  readonly code:
    | 'ERR_LOCK_FAILED'
    | 'ERR_LOCK_TAKEN'
    | 'ERR_NODE_TAKEN'
    | 'ERR_REDIS'
    | 'ERR_EXTEND_FAILED'
    | 'ERR_LOCK_EXPIRED'
    | 'ERR_LOCK_LOST'
    | 'ERR_LOCK_MODE'
    | 'ERR_LOCK_DEADLOCK'
    | 'ERR_CLOSED'
    | 'ERR_INTERNAL';
}

/** `ERR_LOCK_FAILED`: no quorum. */
export class FailedError extends RedsyncError {
  readonly code: 'ERR_LOCK_FAILED' | 'ERR_LOCK_TAKEN' | 'ERR_EXTEND_FAILED' | 'ERR_LOCK_EXPIRED';
  /** One entry for each node that did not grant the request. */
  readonly errors: readonly (NodeTakenError | RedisError)[];
  /** How many attempts the call made; `errors` are those of the last one. */
  readonly attempts: number;
}

/**
 * `ERR_LOCK_TAKEN`: a quorum of nodes holds the lock for somebody else. Nodes answer "taken" and not who has it: that
 * tells {@link Redsync.inspect}.
 */
export class TakenError extends FailedError {
  readonly code: 'ERR_LOCK_TAKEN';
  /** Indexes of these nodes. */
  readonly nodes: readonly number[];
}

/**
 * `ERR_NODE_TAKEN`: one node holds the lock for somebody else. If the call has waited and the node was watched, the
 * message says whether the key has no expiry: then nothing ends it, and it is hardly a lock.
 */
export class NodeTakenError extends RedsyncError {
  readonly code: 'ERR_NODE_TAKEN';
  /** Index of the node. */
  readonly node: number;
}

/** `ERR_REDIS`: one node has failed. */
export class RedisError extends RedsyncError {
  readonly code: 'ERR_REDIS';
  /** Index of the node. */
  readonly node: number;
  /** Why it failed, with a `code`. */
  readonly cause: Error & { readonly code: string };
  /**
   * What the pool or its client threw, if the node is one and threw not long ago. Clients put what
   * they have sent into their errors, so this is a getter, which neither `console.log()` nor a logger
   * follows.
   */
  readonly thrown?: unknown;
}

/** `ERR_EXTEND_FAILED`: no quorum has extended the lock. */
export class ExtendError extends FailedError {
  readonly code: 'ERR_EXTEND_FAILED';
}

/** `ERR_LOCK_EXPIRED`: the lock had already expired, and left nothing to unlock. */
export class LockExpiredError extends FailedError {
  readonly code: 'ERR_LOCK_EXPIRED';
}

/** `ERR_LOCK_LOST`: a lock has ended before its holder released it. */
export class LockLostError extends RedsyncError {
  readonly code: 'ERR_LOCK_LOST';
}

/** `ERR_LOCK_MODE`: the lock is of a mode in which this cannot be done. */
export class ModeError extends RedsyncError {
  readonly code: 'ERR_LOCK_MODE';
}

/**
 * `ERR_LOCK_DEADLOCK`: the routine of a `using()` has called for the lock that this `using()` holds, and would wait
 * for itself for ever. See {@link MutexOptions.reentrant}.
 */
export class DeadlockError extends RedsyncError {
  readonly code: 'ERR_LOCK_DEADLOCK';
}

/** `ERR_CLOSED`: the Redsync is closed. */
export class ClosedError extends RedsyncError {
  readonly code: 'ERR_CLOSED';
}

/**
 * One node: a URL (see the constructor of {@link Redsync}), connection options, or a pool over a
 * client.
 */
export type NodeInput = string | ConnectionOptions | Pool;

/**
 * A source of connections to one node. `newPool(client)` makes one for a client of ioredis
 * (`redsync/ioredis`), iovalkey (`redsync/iovalkey`), node-redis (`redsync/node-redis`) or Valkey
 * GLIDE (`redsync/valkey-glide`); implement it to bring any other.
 *
 * The library tries a pool before it believes it: its `setNX` has to refuse a name that is taken, and
 * to store with the given expiry. Until then, the library takes names by a script. A pool that does
 * otherwise is a node that is down. The library tries it on the key `redsync:probe:` and a random end,
 * behind the `keyPrefix`, and removes that key at once.
 *
 * A pool that throws, rejects, answers nonsense or does not answer is a node that has failed, and
 * nothing more. If it takes a lock too late, the library releases that lock at once. `close()` of the
 * Redsync gives back all connections; it does not close the client.
 *
 * @example
 * const Redis = require('ioredis');
 * const { newPool } = require('redsync/ioredis');
 *
 * const clients = hosts.map((host) => new Redis({ host, enableAutoPipelining: true }));
 * const redsync = new Redsync(clients.map(newPool));
 */
export interface Pool {
  /**
   * The library calls it for each question to the node, so it should have connections at hand.
   *
   * @param signal Aborts when nobody waits for the connection any more.
   */
  get(signal?: AbortSignal): Conn | Promise<Conn>;
  /**
   * What errors and `health()` call the node: `host:port`, for example. Letters, digits and
   * ` _.-:,/[]` only, so that no password gets into it by accident. Default `pool`.
   */
  readonly endpoint?: string | undefined;
  /** Several names have to be in one slot, as in a Redis Cluster. Default false. */
  readonly isCluster?: boolean | undefined;
}

/**
 * A connection to one node, for one question; commands reject when they fail. Reads have to go to the
 * server that takes the writes, and not to a replica.
 *
 * The library calls only `setNX`, `eval`, `pttl` and `close`, and `masters` where there is one. `get`, `set` and `scriptLoad` are
 * go-redsync's other verbs: a connection may have them, and needs none of them.
 *
 * @example
 * class MyConn {
 *   async setNX(name, value, expiry) {
 *     return (await this.client.send('SET', name, value, 'NX', 'PX', expiry)) === 'OK';
 *   }
 *   async eval({ source, sha1 }, keys, args) {
 *     try {
 *       return await this.client.send('EVALSHA', sha1, keys.length, ...keys, ...args);
 *     } catch (error) {
 *       if (!error.message.startsWith('NOSCRIPT')) throw error;
 *       return this.client.send('EVAL', source, keys.length, ...keys, ...args);
 *     }
 *   }
 *   async pttl(name) {
 *     return this.client.send('PTTL', name);
 *   }
 *   close() {
 *     this.pool.release(this.client);
 *   }
 * }
 */
export interface Conn {
  /** `SET name value NX PX expiry`: true for OK, false for nil. `expiry` is in milliseconds. */
  setNX(name: string, value: string, expiry: number): Promise<boolean>;
  /**
   * `EVALSHA script.sha1`, and `EVAL script.source` where the server answers NOSCRIPT. Integers may be
   * numbers, bigints or strings.
   */
  eval(
    script: Script,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown>;
  /**
   * `PTTL name`, in milliseconds; -2 for no key, -1 for a key that does not expire. For `health()` and
   * `ready()`.
   */
  pttl(name: string): Promise<number>;
  /** Gives the connection back, after the answer to the question. */
  close(): void | Promise<void>;
  /**
   * Of a cluster: connections to each of its masters, in an order that does not change, for `list()`, which calls their
   * `eval` without keys. The library does not `close` these. Without it `list()` fails on a cluster.
   */
  masters?:
    (() => readonly Pick<Conn, 'eval'>[] | Promise<readonly Pick<Conn, 'eval'>[]>) | undefined;
  /** `GET name`. The library never calls it. */
  get?: ((name: string) => Promise<string | null>) | undefined;
  /** `SET name value`: true for OK. The library never calls it. */
  set?: ((name: string, value: string) => Promise<boolean>) | undefined;
  /** `SCRIPT LOAD script.source`: the SHA1 of the script. The library never calls it. */
  scriptLoad?: ((script: Script) => Promise<string>) | undefined;
}

/** A Lua script. */
export interface Script {
  /** Its text. */
  readonly source: string;
  /** The SHA1 of its text, as 40 hexadecimal digits. */
  readonly sha1: string;
}

/**
 * How to reach one node: one of `url`, `host`, `path`, `sentinels` and `cluster`. The other options
 * override the parts of the `url`.
 *
 * @example
 * const node = {
 *   sentinels: [{ host: '10.0.1.1' }, { host: '10.0.1.2' }, { host: '10.0.1.3' }],
 *   masterName: 'mymaster',
 *   password: process.env.REDIS_PASSWORD,
 *   tls: true,
 * };
 */
export interface ConnectionOptions {
  /** A URL, as the constructor of {@link Redsync} takes it. `memory:` goes with no other option. */
  url?: string | undefined;
  /** Host name or IP address. */
  host?: string | undefined;
  /**
   * An integer from 1 to 65535.
   * @default 6379
   */
  port?: number | undefined;
  /** Absolute path of a Unix domain socket, instead of `host` and `port`. */
  path?: string | undefined;
  /** ACL user. The user `default` if only a password is given. */
  username?: string | undefined;
  password?: string | undefined;
  /**
   * Number of the database. A cluster has number 0 only.
   * @default 0
   */
  db?: number | undefined;
  /**
   * Whether to use TLS, for sentinels and the servers of a cluster too, and how. `true` is the same
   * as `{}`; `false` must not contradict the `url`; a socket has no TLS.
   * @default true for `rediss:`, `rediss+sentinel:` and `rediss+cluster:` URLs, otherwise false
   */
  tls?: boolean | TlsOptions | undefined;
  /**
   * Redis Sentinel: 1 to 64 sentinels that tell which server is the primary of `masterName`, also
   * after a failover. A `port` is 26379 unless given.
   */
  sentinels?: readonly { host: string; port?: number | undefined }[] | undefined;
  /** The name by which the sentinels know the primary; required with them. At most 1024 bytes. */
  masterName?: string | undefined;
  /** ACL user at the sentinels. */
  sentinelUsername?: string | undefined;
  /** Password at the sentinels, which do not get `password`. */
  sentinelPassword?: string | undefined;
  /**
   * Redis Cluster: 1 to 64 of its servers, from which the node finds the others. A `port` is 6379
   * unless given. The whole cluster is one node, with one vote.
   */
  cluster?: readonly { host: string; port?: number | undefined }[] | undefined;
  /**
   * How long connecting may take, in milliseconds: an integer from 1 on.
   * @default 1000
   */
  connectTimeout?: number | undefined;
  /**
   * Name of the connection, as CLIENT LIST shows it: 1 to 128 printable ASCII characters without
   * spaces.
   * @default 'redsync'
   */
  clientName?: string | undefined;
}

/**
 * How to use TLS. The library always verifies the server's certificate, by authorities or by a pin; you cannot
 * switch this off.
 * `ca`, `cert` and `key` are PEM, in a string or a Buffer, of at most 1 MiB each.
 *
 * @example
 * const tls = {
 *   ca: fs.readFileSync('ca.pem'),
 *   cert: fs.readFileSync('client.pem'),
 *   key: fs.readFileSync('client-key.pem'),
 * };
 *
 * @example
 * // A server that has made its certificate itself, which is renewed soon:
 * const tls = { fingerprint256: [process.env.REDIS_PIN, process.env.NEXT_REDIS_PIN] };
 */
export interface TlsOptions {
  /**
   * Certificates of the authorities to trust.
   * @default those of the system
   */
  ca?: string | Uint8Array | undefined;
  /**
   * The SHA-256 of the certificate that the server must have, or of one of 1 to 64: each 32 bytes in hexadecimal,
   * in either case, with colons (`AA:BB:…`, as `X509Certificate.fingerprint256` of Node.js and
   * `openssl x509 -noout -fingerprint -sha256` print it) or without. It stands instead of `ca`: whoever has issued
   * such a certificate, for which host and until when, is not asked; that the server has its key is. Where servers
   * have different certificates, as in a cluster, give those of all. A server with another certificate fails with an
   * `ERR_TLS` that says its fingerprint.
   */
  fingerprint256?: string | readonly string[] | undefined;
  /** Certificate of the client, with those that lead to its authority; goes with `key`. */
  cert?: string | Uint8Array | undefined;
  /** Private key of the client, not encrypted; goes with `cert`. */
  key?: string | Uint8Array | undefined;
  /**
   * The host name that the server's certificate must name; with `fingerprint256` it only tells the server which
   * certificate is wanted.
   * @default the host that the engine connects to
   */
  servername?: string | undefined;
}

'use strict';

const { OPERATION, OUTCOME } = require('./calls.js');
const { Client } = require('./client.js');
const { invalidType, typeError } = require('./errors.js');
const { failure, nodeHealth, nodeInspections } = require('./failures.js');
const { refuseMethods } = require('./guesses.js');
const { lead } = require('./leader.js');
const { asyncDispose } = require('./lock.js');
const { list } = require('./list.js');
const { Mutex, PRIVATE, acquire, adopt, holdToShare } = require('./mutex.js');
const { readNodes } = require('./nodes.js');
const { thisProcess } = require('./owner.js');
const { permitKey } = require('./permits.js');
const { abstention } = require('./quarantine.js');
const { quorumOf } = require('./quorum.js');
const { showAs } = require('./shown.js');
const { throwIfAborted } = require('./signals.js');
const { use } = require('./using.js');
const {
  autoExtended,
  readAcquireOptions,
  readCallOptions,
  readLeadOptions,
  readMutexOptions,
  readNames,
  readOneName,
  readPattern,
  readReadWriteOptions,
  readRedsyncOptions,
  readSemaphoreOptions,
} = require('./options.js');

const READY_TIMEOUT = 5000;
const HEALTH_TIMEOUT = 2000;
const INSPECT_TIMEOUT = 2000;
const LIST_TIMEOUT = 10_000;
const LIST_LIMIT = 1000;

/** The client of a pool may connect again without a word: nobody can tell for how long its server is up. */
function checkQuarantine({ quarantine }, nodes) {
  const pool = quarantine === false ? -1 : nodes.findIndex((node) => node.pool !== undefined);
  if (pool < 0) return;
  throw typeError(
    `The "options.quarantine" argument has no meaning for nodes[${pool}], which is a Pool: give its URL`,
  );
}

function checkRoutine(routine) {
  if (typeof routine !== 'function') throw invalidType('routine', routine, 'a function');
}

/** @type {(redsync: object) => object | undefined} what is shown of a Redsync: where its nodes are, without logins */
let describe;

/** @type {(redsync: object) => boolean | undefined} none of another copy of this package */
let isClosed;

/** A set of independent nodes that vote on locks. */
class Redsync {
  #client;
  #settings;

  static {
    describe = (redsync) => {
      if (!(#client in redsync)) return undefined;
      const { nodes, isClosed } = redsync.#client;
      return {
        nodes: nodes.map(({ endpoint }) => endpoint),
        quorum: redsync.quorum,
        closed: isClosed,
      };
    };

    isClosed = (redsync) => (#client in redsync ? redsync.#client.isClosed : undefined);
  }

  constructor(nodes, options) {
    const all = readNodes(nodes);
    const { keyPrefix, owner = thisProcess(), settings } = readRedsyncOptions(options);
    checkQuarantine(settings, all);
    const asksUptime = settings.quarantine !== false;
    this.#client = new Client(all, keyPrefix, { owner: owner || undefined, asksUptime });
    this.#client.redsync = this;
    this.#settings = settings;
  }

  get size() {
    return this.#client.nodes.length;
  }

  get quorum() {
    return quorumOf(this.size);
  }

  newMutex(name, options) {
    const names = readNames(name);
    const settings = readMutexOptions(options, this.#settings);
    return this.#mutex(names, settings);
  }

  newSemaphore(name, limit, options) {
    const names = readOneName(name);
    return this.#mutex(names, readSemaphoreOptions(limit, options, this.#settings));
  }

  newReadWriteLock(name, options) {
    const names = readOneName(name);
    const { read, write } = readReadWriteOptions(options, this.#settings);
    return Object.freeze({ read: this.#mutex(names, read), write: this.#mutex(names, write) });
  }

  async acquire(name, options) {
    const names = readNames(name);
    const { settings, signal } = readAcquireOptions(options, this.#settings);
    return acquire(this.#mutex(names, settings), signal);
  }

  async using(name, ...rest) {
    const names = readNames(name);
    const [options, routine] = rest.length > 1 ? rest : [undefined, ...rest];
    if (typeof options === 'function') {
      throw typeError('The "routine" argument must come last: using(name, options, routine)');
    }
    const { settings, signal } = readAcquireOptions(options, this.#settings);
    checkRoutine(routine);
    const mutex = this.#mutex(names, autoExtended(settings));
    const shared = holdToShare(mutex);
    if (shared !== undefined) return shared.share(signal, routine);
    const isHeld = settings.value !== undefined;
    const lock = await (isHeld ? adopt(mutex, { signal }) : acquire(mutex, signal));
    return use(this.#client, lock, signal, routine); // not awaited: this frame would last as long as the routine
  }

  async lead(name, ...rest) {
    const names = readOneName(name);
    const [options, routine] = rest.length > 1 ? rest : [undefined, ...rest];
    const { settings, signal } = readLeadOptions(options, this.#settings);
    checkRoutine(routine);
    const mutex = this.#mutex(names, autoExtended(settings));
    await lead(this.#client, mutex, signal, routine);
  }

  #mutex(names, settings) {
    return new Mutex(PRIVATE, this.#client, names, settings);
  }

  async ready(options) {
    const { signal, timeout = READY_TIMEOUT } = readCallOptions(options, ['signal', 'timeout']);
    throwIfAborted(signal);
    await this.#askAll(OPERATION.READY, OUTCOME.DONE, timeout, signal);
  }

  async health(options) {
    const { timeout = HEALTH_TIMEOUT } = readCallOptions(options, ['timeout']);
    const { nodes, stats, servers } = this.#client;
    try {
      const text = await this.#askAll(OPERATION.HEALTH, OUTCOME.HEALTH, timeout);
      const all = nodeHealth(text, nodes, abstention(this.#settings), servers);
      stats.learnHealth(all);
      return all;
    } catch (error) {
      return nodes.map(({ endpoint }, node) => ({ node, endpoint, status: 'down', error }));
    }
  }

  async inspect(name, options) {
    const key = this.#client.keyPrefix + readOneName(name)[0];
    const {
      signal,
      timeout = INSPECT_TIMEOUT,
      permits,
    } = readCallOptions(options, ['signal', 'timeout', 'permits']);
    throwIfAborted(signal);
    if (permits === undefined) return this.#inspect(key, timeout, signal);
    const each = Array.from({ length: permits }, async (_, i) => {
      const found = await this.#inspect(permitKey(key, i + 1), timeout, signal);
      return found.map((node) => ({ permit: i + 1, ...node }));
    });
    return (await Promise.all(each)).flat();
  }

  async #inspect(key, timeout, signal) {
    const text = await this.#askAll(OPERATION.INSPECT, OUTCOME.INSPECTED, timeout, signal, key);
    return nodeInspections(text, this.#client.nodes);
  }

  async list(pattern, options) {
    const glob = readPattern(pattern);
    const {
      signal,
      timeout = LIST_TIMEOUT,
      limit = LIST_LIMIT,
    } = readCallOptions(options, ['signal', 'timeout', 'limit']);
    throwIfAborted(signal);
    this.#client.open(OPERATION.SCAN);
    return list(this.#client, glob, { limit, timeout, signal });
  }

  /** @returns {Promise<string>} what the engine says when all goes well */
  async #askAll(operation, success, timeout, signal, key) {
    const client = this.#client;
    client.open(operation);
    const outcome = await client.performOnAll(operation, timeout, signal, key);
    if (outcome.kind === success) return outcome.text;
    throw failure(operation, outcome, [], client.nodes);
  }

  stats() {
    return this.#client.stats.read();
  }

  async close(options) {
    const { drain } = readCallOptions(options, ['drain']);
    await this.#client.close(drain);
  }

  async [asyncDispose]() {
    await this.close();
  }
}

refuseMethods(Redsync, {
  lock: 'redsync.acquire(name, options), or redsync.newMutex(name, options).lock()',
  tryLock: 'redsync.newMutex(name, options).tryLock()',
  unlock: 'lock.unlock()',
  release: 'lock.unlock()',
  extend: 'lock.extend()',
});

showAs(Redsync, describe);

module.exports = { Redsync, isClosed };

'use strict';

const { OPERATION, OUTCOME } = require('./calls.js');
const { Client } = require('./client.js');
const { invalidType } = require('./errors.js');
const { failure, nodeHealth, nodeInspections } = require('./failures.js');
const { asyncDispose } = require('./lock.js');
const { Mutex, PRIVATE, adopt } = require('./mutex.js');
const { readNodes } = require('./nodes.js');
const { throwIfAborted } = require('./signals.js');
const { hold } = require('./using.js');
const {
  autoExtended,
  readAcquireOptions,
  readCallOptions,
  readMutexOptions,
  readNames,
  readRedsyncOptions,
} = require('./options.js');

const READY_TIMEOUT = 5000;
const HEALTH_TIMEOUT = 2000;
const INSPECT_TIMEOUT = 2000;

/** A set of independent nodes that vote on locks. */
class Redsync {
  #client;
  #keyPrefix;
  #settings;

  constructor(nodes, options) {
    const all = readNodes(nodes);
    const { keyPrefix, settings } = readRedsyncOptions(options);
    this.#client = new Client(all, keyPrefix);
    this.#keyPrefix = keyPrefix;
    this.#settings = settings;
  }

  get size() {
    return this.#client.nodes.length;
  }

  get quorum() {
    return Math.floor(this.size / 2) + 1;
  }

  newMutex(name, options) {
    const names = readNames(name);
    const settings = readMutexOptions(options, this.#settings);
    return this.#mutex(names, settings);
  }

  async acquire(name, options) {
    const names = readNames(name);
    const { settings, signal } = readAcquireOptions(options, this.#settings);
    return this.#mutex(names, settings).lock({ signal });
  }

  async using(name, ...rest) {
    const names = readNames(name);
    const options = rest.length > 1 ? rest[0] : undefined;
    const routine = rest.length > 1 ? rest[1] : rest[0];
    const { settings, signal } = readAcquireOptions(options, this.#settings);
    if (typeof routine !== 'function') throw invalidType('routine', routine, 'a function');
    const mutex = this.#mutex(names, autoExtended(settings));
    const isHeld = settings.value !== undefined;
    const lock = await (isHeld ? adopt(mutex, { signal }) : mutex.lock({ signal }));
    return hold(lock, signal, routine);
  }

  #mutex(names, settings) {
    return new Mutex(PRIVATE, this.#client, names, this.#keyPrefix, settings);
  }

  async ready(options) {
    const { signal, timeout = READY_TIMEOUT } = readCallOptions(options, ['signal', 'timeout']);
    throwIfAborted(signal);
    const outcome = await this.#client.performOnAll(OPERATION.READY, timeout, signal);
    if (outcome.kind !== OUTCOME.DONE)
      throw failure(OPERATION.READY, outcome, [], this.#client.nodes);
  }

  async health(options) {
    const { timeout = HEALTH_TIMEOUT } = readCallOptions(options, ['timeout']);
    const { nodes } = this.#client;
    try {
      const outcome = await this.#client.performOnAll(OPERATION.HEALTH, timeout);
      if (outcome.kind === OUTCOME.HEALTH) return this.#learn(nodeHealth(outcome.text, nodes));
      throw failure(OPERATION.HEALTH, outcome, [], nodes);
    } catch (error) {
      return nodes.map(({ endpoint }, node) => ({ node, endpoint, status: 'down', error }));
    }
  }

  #learn(all) {
    const { stats } = this.#client;
    for (const { node, status, error } of all) {
      if (status === 'up') stats.nodeAnswered(node);
      if (status === 'down') stats.nodeFailed(node, error.cause.code, error.cause.message);
    }
    return all;
  }

  async inspect(name, options) {
    const [key] = readNames([name]).map((each) => this.#keyPrefix + each);
    const { signal, timeout = INSPECT_TIMEOUT } = readCallOptions(options, ['signal', 'timeout']);
    throwIfAborted(signal);
    const outcome = await this.#client.inspect(key, timeout, signal);
    if (outcome.kind === OUTCOME.INSPECTED)
      return nodeInspections(outcome.text, this.#client.nodes);
    throw failure(OPERATION.INSPECT, outcome, [], this.#client.nodes);
  }

  stats() {
    return this.#client.stats.read();
  }

  async close() {
    await this.#client.close();
  }

  async [asyncDispose]() {
    await this.close();
  }
}

module.exports = { Redsync };

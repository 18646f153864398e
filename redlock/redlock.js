'use strict';

const { EventEmitter } = require('node:events');
// As they are now: test runners put others in their place, and a lock would wait for these.
const { clearTimeout, setTimeout } = require('node:timers');

const { enter, leave } = require('../lib/calls.js');
const { Client } = require('../lib/client.js');
const {
  ClosedError,
  LockExpiredError,
  RedsyncError,
  TakenError,
  invalidType,
} = require('../lib/errors.js');
const { Mutex, PRIVATE } = require('../lib/mutex.js');
const { readNodes } = require('../lib/nodes.js');
const { readNames } = require('../lib/options.js');
const { quorumOf } = require('../lib/quorum.js');
const { SCRIPTS } = require('../lib/scripts.js');
const { ownershipValue } = require('../lib/values.js');
const { isOverAlready, noQuorum } = require('./errors.js');
const { Lock, isOver, remember, settingsOf } = require('./lock.js');
const { nodeOf, readClients } = require('./nodes.js');
const {
  extendedSettings,
  mutexSettings,
  readResources,
  readSettings,
  refuseScripts,
  releaseSettings,
  surplusOf,
} = require('./settings.js');
const { countVotes, isAbsent, isNotOurs } = require('./votes.js');

/** So many attempts are remembered, the newest: there may be no limit to how many are made. */
const ATTEMPTS = 1000;

/** node-redlock 5, on the engine. */
class Redlock extends EventEmitter {
  #client;
  #pauses = new Set(); // what ends each pause between two attempts

  constructor(clients, settings, scripts) {
    super();
    // One node's errors are no reason to end a process that listens to none.
    this.on('error', () => {});
    const all = readClients(clients);
    this.settings = readSettings(settings);
    refuseScripts(scripts);
    this.#client = new Client(readNodes([...all].map(nodeOf)), '');
    // Not shown by console.log(): there are URLs among them.
    Object.defineProperty(this, 'clients', { __proto__: null, value: all });
  }

  /** Those of the engine. */
  get scripts() {
    const shown = ({ source, sha1 }) => ({ value: source, hash: sha1 });
    return {
      acquireScript: shown(SCRIPTS.acquire),
      extendScript: shown(SCRIPTS.extend),
      releaseScript: shown(SCRIPTS.release),
    };
  }

  async quit() {
    const closed = this.#client.close();
    for (const end of this.#pauses) end();
    await closed;
    // URLs have no quit().
    await Promise.all([...this.clients].map((client) => client.quit?.()));
  }

  async acquire(resources, duration, settings) {
    const effective = readSettings(settings, this.settings);
    const names = readResources('resources', resources);
    const { held, attempts } = await this.#acquire(
      this.#mutex(names, mutexSettings(duration, effective)),
      resources.length,
      effective,
    );
    return this.#lockOf(held, resources, duration, attempts, effective);
  }

  async release(lock, settings) {
    const effective = this.#settingsFor(lock, settings);
    const mutex = this.#mutexOf(lock, releaseSettings(lock.expiration - Date.now(), effective));
    lock.expiration = 0;
    return this.#release(mutex, lock.resources.length, effective);
  }

  async extend(existing, duration, settings) {
    const effective = this.#settingsFor(existing, settings);
    const mutex = this.#mutexOf(existing, mutexSettings(duration, effective));
    if (isOver(existing)) throw isOverAlready();
    const { resources } = existing;
    const isHopeless = (error) => this.#isLost(error) || isOver(existing);
    const extend = () => mutex.extend();
    const { attempts } = await this.#perform(resources.length, effective, isHopeless, extend);
    existing.expiration = 0;
    return this.#lockOf(mutex, resources, duration, attempts, effective);
  }

  #lockOf({ value, until }, resources, duration, attempts, settings) {
    const expiration = until.getTime() - surplusOf(duration);
    return remember(new Lock(this, resources, value, attempts, expiration), settings);
  }

  #mutex(names, settings) {
    return new Mutex(PRIVATE, this.#client, readNames(names), settings);
  }

  #mutexOf({ resources, value }, settings) {
    const names = readResources('lock.resources', resources);
    return this.#mutex(names, { ...settings, value: ownershipValue('lock.value', value) });
  }

  get #quorum() {
    return quorumOf(this.clients.size);
  }

  async using(resources, duration, settingsOrRoutine, optionalRoutine) {
    const isRoutine = typeof settingsOrRoutine === 'function';
    const routine = optionalRoutine ?? settingsOrRoutine;
    const settings = readSettings(isRoutine ? undefined : settingsOrRoutine, this.settings);
    if (typeof routine !== 'function') throw invalidType('routine', routine, 'a function');
    const names = readResources('resources', resources);
    const mutex = this.#mutex(names, extendedSettings(duration, settings));
    const { held } = await this.#acquire(mutex, resources.length, settings);
    const { signal, settle } = lossOf(held);
    let result;
    enter();
    try {
      result = await routine(signal);
    } catch (error) {
      settle();
      // Why the routine failed is what the caller needs to know.
      await this.#release(held, resources.length, settings).catch(() => {});
      throw error;
    } finally {
      leave();
    }
    settle();
    await this.#release(held, resources.length, settings);
    return result;
  }

  #settingsFor(lock, settings) {
    if (!(lock instanceof Lock)) throw invalidType('lock', lock, 'a Lock');
    return readSettings(settings, settingsOf(lock) ?? this.settings);
  }

  async #acquire(mutex, size, settings) {
    let held;
    const lock = async () => {
      held = await mutex.lock();
    };
    const { attempts } = await this.#perform(size, settings, () => false, lock);
    return { held, attempts };
  }

  /** Counts over all attempts: a node that has released has, whatever it says to the next one. */
  #release(owner, size, settings) {
    const waiting = new Set(); // nodes that did not answer: the engine goes on asking them, too
    const released = new Set();
    const hear = (errors) => {
      const against = new Map(errors.map((error) => [error.node, error]));
      for (let node = 0; node < this.clients.size; node++) {
        const error = against.get(node);
        if (error === undefined || (waiting.has(node) && isAbsent(error))) released.add(node);
        else if (!isNotOurs(error)) waiting.add(node);
      }
    };
    const isHopeless = (error) => error instanceof LockExpiredError || error instanceof TakenError;
    return this.#perform(size, settings, isHopeless, async () => {
      try {
        await owner.unlock();
      } catch (error) {
        if (error.errors === undefined) throw error;
        hear(error.errors);
        if (released.size < this.#quorum) throw error;
      }
    });
  }

  /** So many nodes store nothing of ours that the others are no quorum, whatever they would say. */
  #isLost({ errors = [] }) {
    return errors.filter(isNotOurs).length > this.clients.size - this.#quorum;
  }

  /**
   * Attempts it until it succeeds, as often as the settings allow, or until there is no hope.
   *
   * @param {number} size how many resources it is about
   * @param {object} settings
   * @param {(error: Error) => boolean} isHopeless
   * @param {() => Promise<unknown>} attempt
   */
  async #perform(size, { retryCount, retryDelay, retryJitter }, isHopeless, attempt) {
    const limit = retryCount === -1 ? Infinity : retryCount + 1;
    const attempts = [];
    const tell = (errors) => {
      if (attempts.length === ATTEMPTS) attempts.shift();
      attempts.push(Promise.resolve(this.#tell(errors, size)));
    };
    for (let count = 1; ; count++) {
      try {
        await attempt();
        tell([]);
        return { attempts };
      } catch (error) {
        if (!(error instanceof RedsyncError)) throw error;
        tell(this.#errorsOf(error));
        const isLast = count >= limit || error instanceof ClosedError;
        if (isLast || isHopeless(error)) throw noQuorum(attempts, error);
      }
      const jitter = (Math.random() * 2 - 1) * retryJitter;
      await this.#pause(Math.max(0, retryDelay + jitter));
    }
  }

  /** One for each client that voted against. A Redsync that is closed asks none. */
  #errorsOf(error) {
    if (error.errors !== undefined) return error.errors;
    return Array.from({ length: this.clients.size }, (_, node) =>
      Object.assign(new ClosedError(), { node }),
    );
  }

  /** Counts the votes of an attempt, and emits those against. */
  #tell(errors, size) {
    const votes = countVotes(this.clients, errors, size);
    for (const error of votes.votesAgainst.values()) {
      try {
        this.emit('error', error);
      } catch (thrown) {
        // A listener that fails is the process' problem, but not the lock's.
        process.nextTick(() => {
          throw thrown;
        });
      }
    }
    return votes;
  }

  #pause(ms) {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#pauses.delete(end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.#pauses.add(end);
    });
  }
}

/** The signal of using(): it has the error as `error`, too. `settle()` leaves it as it is. */
function lossOf(held) {
  const controller = new AbortController();
  const { signal } = controller;
  const lose = () => {
    const { reason } = held.signal;
    signal.error = noQuorum([], reason);
    controller.abort(signal.error);
  };
  if (held.signal.aborted) lose();
  else held.signal.addEventListener('abort', lose, { once: true });
  return { signal, settle: () => held.signal.removeEventListener('abort', lose) };
}

module.exports = { Redlock };

'use strict';

const { EventEmitter } = require('node:events');

const {
  ClosedError,
  LockExpiredError,
  RedsyncError,
  TakenError,
  invalidType,
} = require('../errors.js');
const { Redsync } = require('../redsync.js');
const { ExecutionError } = require('./errors.js');
const { Lock, isOver, remember, settingsOf } = require('./lock.js');
const { nodeOf, readClients } = require('./nodes.js');
const {
  extendedOptions,
  mutexOptions,
  readResources,
  readSettings,
  refuseScripts,
  releaseOptions,
} = require('./settings.js');
const { countVotes, isAbsent, isNotOurs } = require('./votes.js');

/** node-redlock 5, on the engine. */
class Redlock extends EventEmitter {
  #redsync;
  #pauses = new Set(); // what ends each pause between two attempts

  constructor(clients, settings, scripts) {
    super();
    // One node's errors are no reason to end a process that listens to none.
    this.on('error', () => {});
    const all = readClients(clients);
    this.settings = readSettings(settings);
    refuseScripts(scripts);
    this.#redsync = new Redsync([...all].map(nodeOf));
    // Not shown by console.log(): there are URLs among them.
    Object.defineProperty(this, 'clients', { __proto__: null, value: all });
  }

  async quit() {
    const closed = this.#redsync.close();
    for (const end of this.#pauses) end();
    await closed;
    const clients = [...this.clients].filter((client) => typeof client !== 'string');
    await Promise.all(clients.map((client) => client.quit()));
  }

  async acquire(resources, duration, settings) {
    const effective = readSettings(settings, this.settings);
    const { held, attempts } = await this.#acquire(
      readResources('resources', resources),
      mutexOptions(duration, effective),
      effective,
    );
    const expiration = held.until.getTime();
    return remember(new Lock(this, resources, held.value, attempts, expiration), effective);
  }

  async release(lock, settings) {
    const effective = this.#settingsFor(lock, settings);
    const mutex = this.#redsync.newMutex(readResources('lock.resources', lock.resources), {
      ...releaseOptions(lock.expiration - Date.now(), effective),
      value: lock.value,
    });
    lock.expiration = 0;
    return this.#release(mutex, effective);
  }

  async extend(existing, duration, settings) {
    const effective = this.#settingsFor(existing, settings);
    const { resources, value } = existing;
    const mutex = this.#redsync.newMutex(readResources('existing.resources', resources), {
      ...mutexOptions(duration, effective),
      value,
    });
    if (isOver(existing)) throw new ExecutionError('the lock is over and cannot be extended', []);
    const isHopeless = (error) => this.#isLost(error) || isOver(existing);
    const { attempts } = await this.#perform(effective, isHopeless, () => mutex.extend());
    existing.expiration = 0;
    return remember(new Lock(this, resources, value, attempts, mutex.until.getTime()), effective);
  }

  async using(resources, duration, settingsOrRoutine, optionalRoutine) {
    const isRoutine = typeof settingsOrRoutine === 'function';
    const routine = optionalRoutine ?? settingsOrRoutine;
    const settings = readSettings(isRoutine ? undefined : settingsOrRoutine, this.settings);
    if (typeof routine !== 'function') throw invalidType('routine', routine, 'a function');
    const names = readResources('resources', resources);
    const { held } = await this.#acquire(names, extendedOptions(duration, settings), settings);
    const { signal, settle } = lossOf(held);
    let result;
    try {
      result = await routine(signal);
    } catch (error) {
      settle();
      // Why the routine failed is what the caller needs to know.
      await this.#release(held, settings).catch(() => {});
      throw error;
    }
    settle();
    await this.#release(held, settings);
    return result;
  }

  #settingsFor(lock, settings) {
    if (!(lock instanceof Lock)) throw invalidType('lock', lock, 'a Lock');
    return readSettings(settings, settingsOf(lock) ?? this.settings);
  }

  async #acquire(names, options, settings) {
    const mutex = this.#redsync.newMutex(names, options);
    let held;
    const { attempts } = await this.#perform(
      settings,
      () => false,
      async () => {
        held = await mutex.lock();
      },
    );
    return { held, attempts };
  }

  /** Counts over all attempts: a node that has released has, whatever it says to the next one. */
  #release(owner, settings) {
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
    return this.#perform(settings, isHopeless, async () => {
      try {
        await owner.unlock();
      } catch (error) {
        if (error.errors === undefined) throw error;
        hear(error.errors);
        if (released.size < this.#redsync.quorum) throw error;
      }
    });
  }

  /** So many nodes store nothing of ours that the others are no quorum, whatever they would say. */
  #isLost({ errors = [] }) {
    return errors.filter(isNotOurs).length > this.clients.size - this.#redsync.quorum;
  }

  /**
   * Attempts it until it succeeds, as often as the settings allow, or until there is no hope.
   *
   * @param {object} settings
   * @param {(error: Error) => boolean} isHopeless
   * @param {() => Promise<unknown>} attempt
   */
  async #perform({ retryCount, retryDelay, retryJitter }, isHopeless, attempt) {
    const limit = retryCount === -1 ? Infinity : retryCount + 1;
    const attempts = [];
    for (;;) {
      try {
        await attempt();
        attempts.push(Promise.resolve(this.#tell([])));
        return { attempts };
      } catch (error) {
        if (!(error instanceof RedsyncError)) throw error;
        attempts.push(Promise.resolve(this.#tell(this.#errorsOf(error))));
        const isLast = attempts.length >= limit || error instanceof ClosedError;
        if (isLast || isHopeless(error)) {
          throw new ExecutionError(describe(error, attempts), attempts, { cause: error });
        }
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
  #tell(errors) {
    const votes = countVotes(this.clients, errors);
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

function describe({ message }, { length }) {
  return length === 1 ? message : `${length} attempts failed, the last one: ${message}`;
}

/** The signal of using(): it has the error as `error`, too. `settle()` leaves it as it is. */
function lossOf(held) {
  const controller = new AbortController();
  const { signal } = controller;
  const lose = () => {
    const { reason } = held.signal;
    signal.error = new ExecutionError(reason.message, [], { cause: reason });
    controller.abort(signal.error);
  };
  if (held.signal.aborted) lose();
  else held.signal.addEventListener('abort', lose, { once: true });
  return { signal, settle: () => held.signal.removeEventListener('abort', lose) };
}

module.exports = { Redlock };

'use strict';

const { AsyncResource } = require('node:async_hooks');
const { randomUUID } = require('node:crypto');

const calls = require('./calls.js');
const pools = require('./pools.js');
const { checkGeneratedValue, checkRetryDelay, readRedsyncOptions } = require('./options.js');
const { ClosedError } = require('./errors.js');
const { Lease } = require('./lease.js');
const { follow, unfollow } = require('./signals.js');
const { Stats } = require('./stats.js');

const { OPERATION, OUTCOME, STALE } = calls;

const abandoned = new FinalizationRegistry(abandon);

/**
 * A set of nodes as its Redsync, mutexes and locks share it: opened in the engine by the first call,
 * closed in it by `close()` or when nobody can reach it any more.
 */
class Client {
  #closed; // the promise of close()
  #pending = 0; // calls under way in the engine; their callers may have gone
  #onIdle;
  #keyPrefix;
  #clock; // of nodes for tests

  /**
   * @param {readonly object[]} nodes see lib/nodes.js
   * @param {string} keyPrefix
   */
  constructor(nodes, keyPrefix) {
    this.nodes = nodes;
    this.stats = new Stats(nodes);
    this.number = undefined; // the engine's, from the first call on
    this.#keyPrefix = keyPrefix;
    this.#clock = clockOf(nodes);
    this.#clock?.add(this);
  }

  /** Resolves when all have been told of the locks that are over by a clock that was moved on. */
  async catchUp() {
    if (this.number === undefined) return;
    // One more lock that is over: the engine tells of those before it first.
    const target = { keys: ['clock'], settings: readRedsyncOptions().settings };
    const lease = calls.watch(this.number, target, randomUUID(), this.now());
    await new Promise((resolve) => {
      calls.beginLease(lease, { lost: resolve, ended: resolve, dropped: ignore });
    });
  }

  /** Milliseconds on the clock that `until` is measured on. */
  now() {
    return this.#clock === undefined ? calls.now() : calls.now() + this.#clock.ahead;
  }

  get isClosed() {
    return this.#closed !== undefined;
  }

  #open() {
    if (this.#closed !== undefined) throw new ClosedError();
    if (this.number === undefined) {
      this.number = calls.open(this.nodes.map(toAddress));
      pools.serve(this.number, this.nodes, this.#keyPrefix);
      abandoned.register(this, this.number, this);
    }
    return this.number;
  }

  /**
   * Performs an operation on a mutex. The promise settles by the call's deadline; it rejects only
   * when the caller's signal or function, or close(), ended it.
   *
   * @param {number} operation
   * @param {import('./target.js').Target} target
   * @param {string} value the ownership value that it is about, '' for none
   * @param {AbortSignal} [signal]
   * @returns {Promise<Outcome>}
   */
  perform(operation, target, value, signal) {
    const client = this.#open();
    return new Promise((resolve, reject) => {
      const call = new Call(this, operation, target, resolve, reject);
      this.#begin(call, calls.call(operation, client, target, value, call), signal);
    });
  }

  /**
   * Performs an operation on all nodes. The promise settles as that of `perform`.
   *
   * @param {number} operation
   * @param {number} timeout
   * @param {AbortSignal} [signal]
   * @returns {Promise<Outcome>}
   */
  performOnAll(operation, timeout, signal) {
    const client = this.#open();
    return new Promise((resolve, reject) => {
      const call = new Call(this, operation, undefined, resolve, reject);
      this.#begin(call, calls.callAll(operation, client, timeout, call), signal);
    });
  }

  /**
   * Asks every node what it stores under a key. The promise settles as that of `perform`.
   *
   * @param {string} key
   * @param {number} timeout
   * @param {AbortSignal} [signal]
   * @returns {Promise<Outcome>}
   */
  inspect(key, timeout, signal) {
    const client = this.#open();
    return new Promise((resolve, reject) => {
      const call = new Call(this, OPERATION.INSPECT, undefined, resolve, reject);
      this.#begin(call, calls.inspect(client, key, timeout, call), signal);
    });
  }

  /** Releases what a call acquired after its caller had gone. Nobody waits for it. */
  release(target, value) {
    const call = new Call(this, OPERATION.UNLOCK, target, ignore, ignore);
    this.#begin(call, calls.call(OPERATION.UNLOCK, this.number, target, value, call));
  }

  /** See Target. */
  watch(target, value, until) {
    return calls.watch(this.number, target, value, until);
  }

  /** See Target. */
  letExpire(target, value, lease) {
    if (!this.isClosed) calls.letExpire(this.number, target, value, lease);
  }

  #begin(call, number, signal) {
    this.#pending++;
    call.begin(number, signal);
  }

  /** The engine is done with a call. */
  end() {
    this.#pending--;
    if (this.#pending === 0) this.#onIdle?.();
  }

  close() {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close() {
    if (this.number === undefined) return;
    calls.forEachListener((call) => call.stop(this, new ClosedError()));
    // The engine closes when nothing is left to release: not before the last call is complete, and
    // what a stopped one had acquired is released in turn.
    if (this.#pending > 0) await new Promise((resolve) => (this.#onIdle = resolve));
    abandoned.unregister(this);
    await new Promise((resolve) => {
      calls.callAll(OPERATION.CLOSE, this.number, 0, { hear: resolve, stop: ignore });
    });
    await pools.atRest(this.number);
    pools.forget(this.number);
  }
}

function ignore() {}

/** Closes in the engine what nobody can reach any more. */
function abandon(client) {
  if (!pools.isServed(client)) return calls.abandon(client);
  // What is still under way asks the pools until all is done.
  calls.callAll(OPERATION.CLOSE, client, 0, { hear: () => pools.forget(client), stop: ignore });
}

/**
 * What the engine has to know of a node. Without a prototype: the addon reads what may be absent, and a
 * polluted one would have it.
 */
function toAddress({ pool, clock, ...own }) {
  const node = { __proto__: null, ...own, clock: clock?.number, ahead: clock?.ahead };
  if (node.tls !== undefined) node.tls = { __proto__: null, ...node.tls };
  return node;
}

function clockOf(nodes) {
  return nodes.find(({ clock }) => clock !== undefined)?.clock;
}

/** What the engine says of a call in the end. */
class Outcome {
  constructor(kind, number, text, lease) {
    this.kind = kind;
    this.number = number;
    this.text = text;
    this.lease = lease; // of a lock that the engine keeps alive
    this.report = undefined; // of a call that was not granted by all nodes at the first attempt
  }

  get isHeld() {
    return this.kind === OUTCOME.HELD;
  }
}

/** The operations that end early; an unlock or an extension on its way is let through. */
const STOPPABLE = new Set([
  OPERATION.LOCK,
  OPERATION.TRY_LOCK,
  OPERATION.HEALTH,
  OPERATION.READY,
  OPERATION.INSPECT,
]);

function asksCaller({ genValue, retryDelay }) {
  return genValue !== undefined || typeof retryDelay === 'function';
}

/** One call: from its submission to its completion, though its caller may have gone before. */
class Call {
  #client;
  #operation;
  #target;
  #resolve;
  #reject;
  #number;
  #signal;
  #onAbort;
  #isSettled = false; // the caller was told
  #isComplete = false; // the engine is done
  #report;
  #context; // the caller's, if its functions are to be called

  constructor(client, operation, target, resolve, reject) {
    this.#client = client;
    this.#operation = operation;
    this.#target = target;
    this.#resolve = resolve;
    this.#reject = reject;
    if (target !== undefined && asksCaller(target.settings)) {
      this.#context = new AsyncResource('redsync');
    }
  }

  begin(number, signal) {
    this.#number = number;
    if (signal === undefined) return;
    this.#signal = signal;
    this.#onAbort = (reason) => this.#giveUp(reason);
    follow(signal, this.#onAbort);
  }

  /** Ends the call early if it is one of this client's and its operation can be. */
  stop(client, reason) {
    if (client === this.#client && STOPPABLE.has(this.#operation)) this.#giveUp(reason);
  }

  #giveUp(reason) {
    if (this.#isSettled) return;
    this.#settle();
    this.#reject(reason);
    if (STOPPABLE.has(this.#operation)) calls.cancel(this.#client.number, this.#number);
  }

  #settle() {
    this.#isSettled = true;
    if (this.#signal !== undefined) unfollow(this.#signal, this.#onAbort);
  }

  /** Called with what the engine says. */
  hear(kind, number, text) {
    if (kind === OUTCOME.ASK_DELAY || kind === OUTCOME.ASK_VALUE) {
      this.#answer(kind, number);
      return;
    }
    if (kind === OUTCOME.REPORT) {
      this.#report = readReport(number, text);
      return;
    }
    this.#isComplete = true;
    const said = new Outcome(kind, number, text);
    said.report = this.#report;
    this.#client.stats.learn(said);
    const outcome = this.#inTime(said);
    if (!this.#isSettled) {
      this.#settle();
      this.#resolve(outcome);
    }
    this.#client.end();
  }

  /** Hands over a lock only to a caller who is still there, and only while it is valid. */
  #inTime(outcome) {
    if (outcome.kind !== OUTCOME.HELD || this.#operation === OPERATION.EXTEND) return outcome;
    const isAcquired = this.#operation !== OPERATION.ADOPT;
    const isKept = this.#target.settings.extension !== undefined;
    // The engine has kept it alive since, however long the completion was on its way.
    if (isKept) outcome.number = Math.max(outcome.number, calls.until(this.#number));
    const isStale = outcome.number <= this.#client.now();
    const isWanted = !isStale && !this.#isSettled;
    if (isKept && isWanted) {
      // Here and now: the next completion may tell of its loss.
      const since = isAcquired ? outcome.number : undefined;
      outcome.lease = new Lease(this.#number, this.#target, outcome.text, since);
    } else if (isKept) {
      calls.beginLease(this.#number);
    }
    if (isWanted) return outcome;
    if (isAcquired) this.#client.release(this.#target, outcome.text);
    else this.#client.letExpire(this.#target, outcome.text, this.#number);
    return isAcquired && isStale ? new Outcome(STALE, 1, '') : outcome;
  }

  async #answer(kind, attempt) {
    const { genValue, retryDelay } = this.#target.settings;
    let answer;
    try {
      answer =
        kind === OUTCOME.ASK_VALUE
          ? checkGeneratedValue(await this.#context.runInAsyncScope(genValue))
          : checkRetryDelay(this.#context.runInAsyncScope(retryDelay, undefined, attempt));
    } catch (error) {
      this.#settle();
      this.#reject(error);
    }
    // A call that was aborted meanwhile asks no more, and its number may be another's.
    if (!this.#isComplete) calls.answer(this.#client.number, this.#number, answer);
  }
}

/** What a call saw on its way: how often it waited, then one line for each node that did not grant. */
function readReport(attempts, text) {
  const end = text.indexOf('\n');
  return { attempts, waits: Number(text.slice(0, end)), lines: text.slice(end + 1) };
}

module.exports = { Client };

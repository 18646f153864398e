'use strict';

const { AsyncResource } = require('node:async_hooks');
const { randomUUID } = require('node:crypto');

const calls = require('./calls.js');
const pools = require('./pools.js');
const { checkRetryDelay, readRedsyncOptions } = require('./options.js');
const { ClosedError } = require('./errors.js');
const { Holds } = require('./holds.js');
const { Lease } = require('./lease.js');
const { Servers } = require('./servers.js');
const { follow, unfollow } = require('./signals.js');
const { Stats } = require('./stats.js');
const { checkGeneratedValue } = require('./values.js');

const { OPERATION, OUTCOME, STALE } = calls;

const abandoned = new FinalizationRegistry(abandon);

/**
 * A set of nodes as its Redsync, mutexes and locks share it: opened in the engine by the first call,
 * closed in it by `close()` or when nobody can reach it any more.
 */
class Client {
  #closed; // the promise of close()
  #isDraining = false;
  #pending = 0; // calls under way in the engine; their callers may have gone
  #onIdle;
  #clock; // of nodes for tests
  #owner;
  #asksUptime;

  /**
   * @param {readonly object[]} nodes see lib/nodes.js
   * @param {string} keyPrefix
   * @param {{ owner?: string, asksUptime?: boolean }} [options] whom its random values name; whether it asks servers
   *   for their uptime, when it logs in
   */
  constructor(nodes, keyPrefix, { owner, asksUptime = false } = {}) {
    this.nodes = nodes;
    this.clusters = nodes.filter(({ isCluster }) => isCluster);
    this.keyPrefix = keyPrefix;
    this.holds = new Holds(() => this.now());
    this.stats = new Stats(nodes, this.holds);
    this.servers = new Servers(nodes);
    this.redsync = undefined; // whose it is, for whoever listens
    this.number = undefined; // the engine's, from the first call on
    this.#owner = owner;
    this.#asksUptime = asksUptime;
    this.#clock = nodes.find(({ clock }) => clock !== undefined)?.clock;
    this.#clock?.add(this);
  }

  /** Resolves when all have been told of the locks that are over by a clock that was moved on. */
  async catchUp() {
    if (this.number === undefined) return;
    // Losses are told by a task of their own, so that no call's completion comes behind them. One more
    // lock that is over does: the engine tells of those before it first.
    const resource = { keys: ['clock'], settings: readRedsyncOptions().settings };
    const lease = calls.watch(this.number, resource, randomUUID(), this.now());
    await new Promise((resolve) => calls.beginLease(lease, { lost: resolve, ended: resolve }));
    this.holds.look();
  }

  /** Milliseconds on the clock that `until` is measured on. */
  now() {
    return this.#clock === undefined ? calls.now() : calls.now() + this.#clock.ahead;
  }

  /** While it drains it is not: what is held may still be extended and released. */
  get isClosed() {
    return this.#closed !== undefined && !this.#isDraining;
  }

  /**
   * Before a call.
   *
   * @param {number} operation
   * @throws {ClosedError}
   */
  open(operation) {
    if (this.#closed !== undefined) this.#requireDraining(operation);
    if (this.number !== undefined) return;
    const asksUptime = this.#asksUptime;
    const addresses = this.nodes.map((node) => toAddress(node, asksUptime));
    this.number = calls.open(addresses, this.#owner);
    calls.followServers(this.number, this.servers);
    pools.serve(this.number, this.nodes, this.keyPrefix, this.servers);
    abandoned.register(this, this.number, this);
  }

  /**
   * Performs an operation. The promise settles by the call's deadline; it rejects only when the caller's
   * signal or function, or close(), ended it.
   *
   * @param {number} operation
   * @param {import('./resource.js').Resource} resource
   * @param {string} value the ownership value that it is about, '' for none
   * @param {AbortSignal} [signal]
   * @param {number} [until] of a release: when the keys expire, on the engine's clock
   * @returns {Promise<Outcome>}
   */
  perform(operation, resource, value, signal, until = 0) {
    return new Promise((resolve, reject) => {
      const call = new Call(this, operation, resource, resolve, reject);
      this.#begin(call, calls.call(operation, this.number, resource, value, until, call), signal);
    });
  }

  /** The same on all nodes; with a key, for what each of them stores under it. */
  performOnAll(operation, timeout, signal, key) {
    return this.#ask(operation, signal, (call) =>
      key === undefined
        ? calls.callAll(operation, this.number, timeout, call)
        : calls.inspect(this.number, key, timeout, call),
    );
  }

  /** The same on one node, for the keys of a pattern that may be locks: those of one page. */
  scan(node, pattern, from, timeout, signal) {
    return this.#ask(OPERATION.SCAN, signal, (call) =>
      calls.scan(this.number, node, pattern, from, timeout, call),
    );
  }

  #ask(operation, signal, submit) {
    return new Promise((resolve, reject) => {
      const call = new Call(this, operation, undefined, resolve, reject);
      this.#begin(call, submit(call), signal);
    });
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

  #requireDraining(operation) {
    if (!this.#isDraining || BEGINNING.has(operation)) throw new ClosedError();
  }

  /** @param {number} [drain] milliseconds that what is held gets to end; 0 also ends the draining */
  close(drain = 0) {
    if (drain === 0) this.holds.endDrain();
    this.#closed ??= this.#close(drain);
    return this.#closed;
  }

  async #close(drain) {
    if (this.number === undefined) return;
    calls.forEachListener((call) => call.stop?.(this, new ClosedError()));
    if (drain > 0) {
      this.#isDraining = true;
      await this.holds.drain(drain);
      this.#isDraining = false;
    }
    // The engine closes when nothing is left to release: not before the last call is complete, and
    // what a stopped one had acquired is released in turn.
    if (this.#pending > 0) await new Promise((resolve) => (this.#onIdle = resolve));
    abandoned.unregister(this);
    await new Promise((resolve) => {
      calls.callAll(OPERATION.CLOSE, this.number, 0, { hear: resolve });
    });
    calls.forgetServers(this.number);
    await pools.atRest(this.number);
    pools.forget(this.number);
  }
}

/** Closes in the engine what nobody can reach any more. */
function abandon(client) {
  calls.forgetServers(client);
  if (!pools.isServed(client)) return calls.abandon(client);
  // What is still under way asks the pools until all is done.
  calls.callAll(OPERATION.CLOSE, client, 0, { hear: () => pools.forget(client) });
}

/**
 * What the engine has to know of a node. Without a prototype: the addon reads what may be absent, and a
 * polluted one would have it.
 */
function toAddress({ pool, clock, ...own }, asksUptime) {
  const node = { __proto__: null, ...own, asksUptime, clock: clock?.number, ahead: clock?.ahead };
  if (node.tls !== undefined) node.tls = { __proto__: null, ...node.tls };
  return node;
}

/** What the engine says of a call in the end. */
class Outcome {
  constructor(kind, number, text, report) {
    this.kind = kind;
    this.number = number;
    this.text = text;
    this.report = report; // of a call that was not granted by all nodes at the first attempt
    this.lease = undefined; // of a lock that the engine keeps alive
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
  OPERATION.SCAN,
]);

/** Those that a client who drains begins no more: they are stopped already, or would hold one more lock. */
const BEGINNING = new Set([...STOPPABLE, OPERATION.ADOPT]);

/** One call: from its submission to its completion, though its caller may have gone before. */
class Call {
  #client;
  #operation;
  #resource;
  #resolve;
  #reject;
  #number;
  #unfollow; // the caller's signal, if there is one
  #isSettled = false; // the caller was told
  #isComplete = false; // the engine is done
  #report;
  #context; // the caller's, if its functions are to be called

  constructor(client, operation, resource, resolve, reject) {
    this.#client = client;
    this.#operation = operation;
    this.#resource = resource;
    this.#resolve = resolve;
    this.#reject = reject;
    const { genValue, retryDelay } = resource?.settings ?? {};
    const asksCaller = genValue !== undefined || typeof retryDelay === 'function';
    if (asksCaller) this.#context = new AsyncResource('redsync');
  }

  begin(number, signal) {
    this.#number = number;
    if (signal === undefined) return;
    const abort = (reason) => this.#giveUp(reason);
    follow(signal, abort);
    this.#unfollow = () => unfollow(signal, abort);
  }

  /** Ends the call early if it is one of this client's and its operation can be. */
  stop(client, reason) {
    if (client === this.#client && STOPPABLE.has(this.#operation)) this.#giveUp(reason);
  }

  #giveUp(reason) {
    if (this.#isSettled) return;
    this.#settle(this.#reject, reason);
    if (STOPPABLE.has(this.#operation)) calls.cancel(this.#client.number, this.#number);
  }

  #settle(settle, result) {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#unfollow?.();
    settle(result);
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
    const outcome = new Outcome(kind, number, text, this.#report);
    // Who may not look at keys may lock them.
    if (this.#operation !== OPERATION.SCAN) this.#client.stats.learn(outcome);
    const isLock = outcome.isHeld && this.#operation !== OPERATION.EXTEND;
    this.#settle(this.#resolve, isLock ? this.#handOver(outcome) : outcome);
    this.#client.end();
  }

  /** A lock is for a caller who is still there, and only while it is valid. */
  #handOver(outcome) {
    const isKept = this.#resource.settings.extension !== undefined;
    // The engine has kept it alive since, however long the completion was on its way.
    if (isKept) outcome.number = Math.max(outcome.number, calls.until(this.#number));
    const isStale = outcome.number <= this.#client.now();
    if (isStale || this.#isSettled) return this.#takeBack(outcome, isKept);
    if (isKept) {
      // Here and now: the next completion may tell of its loss.
      const since = this.#isAdoption ? undefined : outcome.number;
      outcome.lease = new Lease(this.#number, this.#resource, outcome.text, since);
    }
    return outcome;
  }

  /** What nobody gets is released; an adopted lock is somebody's, but not to be kept alive from here. */
  #takeBack(outcome, isKept) {
    if (isKept) calls.beginLease(this.#number); // nobody is told of its end
    if (!this.#isAdoption) {
      this.#resource.release(outcome.text);
      return new Outcome(STALE, 1, '');
    }
    this.#resource.letExpire(outcome.text, this.#number);
    return outcome;
  }

  /** Was the lock acquired elsewhere? */
  get #isAdoption() {
    return this.#operation === OPERATION.ADOPT;
  }

  async #answer(kind, attempt) {
    const { settings } = this.#resource;
    const { genValue, retryDelay } = settings;
    let answer;
    try {
      answer =
        kind === OUTCOME.ASK_VALUE
          ? checkGeneratedValue(await this.#context.runInAsyncScope(genValue), settings)
          : checkRetryDelay(this.#context.runInAsyncScope(retryDelay, undefined, attempt));
    } catch (error) {
      this.#settle(this.#reject, error);
    }
    // A call that was aborted meanwhile asks no more, and its number may be another's.
    if (!this.#isComplete) calls.answer(this.#client.number, this.#number, answer);
  }
}

/**
 * What a call saw on its way: how often it waited and which nodes store a key that never expires, then one line for each
 * node that did not grant.
 */
function readReport(attempts, text) {
  const end = text.indexOf('\n');
  const [waits, endless] = text.slice(0, end).split('\t');
  return {
    attempts,
    waits: Number(waits),
    endless: endless.split(' ').filter(Boolean).map(Number),
    lines: text.slice(end + 1),
  };
}

module.exports = { Client };

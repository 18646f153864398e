'use strict';

// Asks the pools of JavaScript what the engine asks their nodes. The order of the questions about a
// key is the engine's business (src/node/callback.rs): it never asks two of them at once.

const { setMaxListeners } = require('node:events');
const { clearTimeout, setTimeout } = require('node:timers');

const calls = require('./calls.js');
const ownErrors = require('./own-errors.js');
const { failureOf } = require('./pool-failures.js');
const { Run } = require('./pool-run.js');
const { SCRIPTS } = require('./scripts.js');

const { OUTCOME, VOTE } = calls;

/** What the health of a node is told by: the life of a key that nobody has. */
const HEALTH_KEY = 'redsync:health';

/** Waits that end so close to each other, in milliseconds, share a signal. */
const SAME_END = 5;

/**
 * The nodes of each client in the engine. A run takes up what is asked of a node together.
 * @type {Map<number, { nodes: readonly { pool?: object, run?: Run }[], keyPrefix: string }>}
 */
const clients = new Map();

/** What `get(signal)` is given: it aborts when nobody waits for the connection any more. */
class Patience {
  #controller = new AbortController();
  #waiting = 0;
  #timer;

  constructor(end) {
    this.end = end;
    // All who wait together listen to it.
    setMaxListeners(0, this.signal);
  }

  get signal() {
    return this.#controller.signal;
  }

  /** A timer is needed only while somebody waits. */
  wait(now) {
    if (this.#waiting++ > 0) return;
    this.#timer = setTimeout(() => this.#controller.abort(), Math.max(1, this.end - now));
    this.#timer.unref();
  }

  done() {
    if (--this.#waiting === 0) clearTimeout(this.#timer);
  }
}

let patience = new Patience(0);

/** The nodes that have a run. */
const running = [];

function patienceUntil(end) {
  if (patience.signal.aborted || Math.abs(patience.end - end) > SAME_END) {
    patience = new Patience(end);
  }
  return patience;
}

// A question comes as several records, the last of which says what is asked.
let client;
let node;
let value;
let expiry;
let keys = [];

function hear(number, outcome, figure, string) {
  if (outcome === OUTCOME.TO_POOL) {
    client = number;
    node = figure;
    value = string;
    keys = [];
  } else if (outcome === OUTCOME.KEY) {
    expiry = figure;
    keys.push(string);
  } else {
    new Question(number, outcome, figure).ask();
  }
}

/** All that came together has been heard. */
function endRuns() {
  if (running.length === 0) return;
  const runs = [];
  for (const node of running.splice(0)) {
    runs.push(node.run);
    node.run = undefined;
  }
  for (const run of runs) run.ask();
}

class Question {
  constructor(number, kind, end) {
    this.number = number;
    this.kind = kind;
    this.end = end; // of the time that somebody waits for the answer
    this.client = client;
    this.node = node;
    this.keys = keys;
    this.value = value;
    this.expiry = expiry;
  }

  ask() {
    const served = clients.get(this.client);
    const now = calls.now();
    if (served === undefined || this.#isTooLate(now)) return this.#tooLate();
    const node = served.nodes[this.node];
    let conn;
    let then;
    const waiting = patienceUntil(this.end);
    try {
      conn = node.pool.get(waiting.signal);
      then = conn?.then;
    } catch (error) {
      return this.fail(VOTE.UNSENT, 'get', error);
    }
    if (typeof then !== 'function') {
      return Run.takes(conn, this) ? this.#join(node, conn) : this.use(conn);
    }
    waiting.wait(now);
    Promise.resolve(conn).then(
      (conn) => {
        waiting.done();
        this.use(conn, calls.now());
      },
      (error) => {
        waiting.done();
        this.fail(VOTE.UNSENT, 'get', error);
      },
    );
  }

  /** The engine has no other question open about its key, so it does not matter which goes first. */
  #join(node, conn) {
    if (node.run === undefined) {
      running.push(node);
      node.run = new Run(conn, this);
    } else if (!node.run.goesWith(conn, this)) {
      node.run.ask();
      node.run = new Run(conn, this);
    }
    node.run.add(this);
  }

  /** A release is of use at any time: what is released may have been acquired late. */
  #isTooLate(now) {
    return now > this.end && this.kind !== OUTCOME.ASK_RELEASE;
  }

  #tooLate() {
    this.answer(VOTE.UNSENT, 'ETIMEDOUT', 'no answer within the node timeout');
  }

  /** @param {number} [now] if there was a wait for the connection */
  use(conn, now) {
    if (now !== undefined && this.#isTooLate(now)) {
      release(conn);
      return this.#tooLate();
    }
    let reply;
    try {
      reply = this.#perform(conn);
    } catch (error) {
      release(conn);
      return this.fail(VOTE.FAILED, this.#method(), error);
    }
    Promise.resolve(reply).then(
      (reply) => {
        release(conn);
        this.#read(reply);
      },
      (error) => {
        release(conn);
        this.fail(VOTE.FAILED, this.#method(), error);
      },
    );
  }

  #method() {
    if (this.kind === OUTCOME.ASK_HEALTH) return 'pttl';
    return this.#isSet() ? 'setNX' : 'eval';
  }

  /** One name is taken by a plain SET. */
  #isSet() {
    return this.kind === OUTCOME.ASK_ACQUIRE && this.keys.length === 1;
  }

  #perform(conn) {
    const { kind, keys, value, expiry } = this;
    switch (kind) {
      case OUTCOME.ASK_ACQUIRE:
        if (keys.length === 1) return conn.setNX(keys[0], value, expiry);
        return conn.eval(SCRIPTS.acquire, keys, [value, expiry]);
      case OUTCOME.ASK_RELEASE:
        return conn.eval(SCRIPTS.release, keys, [value]);
      case OUTCOME.ASK_EXTEND:
        return conn.eval(SCRIPTS.extend, keys, [value, expiry, 0]);
      case OUTCOME.ASK_RECREATE:
        return conn.eval(SCRIPTS.extend, keys, [value, expiry, 1]);
      case OUTCOME.ASK_OWNER:
        return conn.eval(SCRIPTS.owner, keys, [value]);
      case OUTCOME.ASK_INSPECT:
        return conn.eval(SCRIPTS.inspect, keys, []);
      default:
        return conn.pttl((clients.get(this.client)?.keyPrefix ?? '') + HEALTH_KEY);
    }
  }

  #read(reply) {
    const isFound = this.kind === OUTCOME.ASK_INSPECT && typeof reply === 'string';
    if (isFound) return this.answer(VOTE.FOUND, '', reply);
    const vote = this.#voteOf(reply);
    if (vote === undefined) this.answerNonsense(this.#method());
    else this.answer(vote);
  }

  #voteOf(reply) {
    if (this.#isSet()) return typeof reply === 'boolean' ? Number(reply) : undefined;
    if (this.kind === OUTCOME.ASK_INSPECT) return reply === null ? VOTE.ABSENT : undefined;
    const number = integer(reply);
    if (this.kind === OUTCOME.ASK_HEALTH) return number >= -2 ? VOTE.GRANTED : undefined;
    const isVote =
      number === VOTE.GRANTED ||
      number === VOTE.TAKEN ||
      (number === VOTE.ABSENT && this.kind !== OUTCOME.ASK_ACQUIRE);
    return isVote ? number : undefined;
  }

  fail(vote, method, error) {
    const { code, message } = failureOf(method, error);
    this.answer(vote, code, `${message}\t${ownErrors.keep(error)}`);
  }

  answerNonsense(method) {
    this.answer(VOTE.FAILED, 'EPROTO', `the answer of ${method}() makes no sense`);
  }

  answer(vote, code, message) {
    calls.answerPool(this.client, this.node, this.number, vote, code, message);
  }
}

/** Clients can be told to give the integers of Redis as strings, or as bigints. */
function integer(reply) {
  if (typeof reply === 'number') return reply;
  if (typeof reply === 'bigint') return Number(reply);
  return typeof reply === 'string' && /^-?\d{1,15}$/.test(reply) ? Number(reply) : undefined;
}

/** Gives a connection back. Whether that works says nothing about the lock. */
function release(conn) {
  try {
    conn.close()?.then?.(undefined, ignore);
  } catch {
    // As above.
  }
}

function ignore() {}

calls.servePools(hear, endRuns);

/**
 * The engine may ask these pools from now on.
 *
 * @param {number} client
 * @param {readonly { pool?: object }[]} nodes
 * @param {string} keyPrefix
 */
function serve(client, nodes, keyPrefix) {
  if (nodes.every(({ pool }) => pool === undefined)) return;
  clients.set(client, { nodes: nodes.map(({ pool }) => ({ pool, run: undefined })), keyPrefix });
}

/** The engine asks them no more. */
function forget(client) {
  if (clients.delete(client) && clients.size === 0) ownErrors.clear();
}

function isServed(client) {
  return clients.has(client);
}

module.exports = { serve, forget, isServed };

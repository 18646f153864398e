'use strict';

// Asks the pools of JavaScript what the engine asks their nodes. The order of the questions about a
// key is the engine's business (src/node/pool.rs): it never asks two of them at once.

const calls = require('./calls.js');
const ownErrors = require('./own-errors.js');
const { follow, giveBack, patienceUntil } = require('./pool-conns.js');
const { failureOf, nonsense } = require('./pool-failures.js');
const { proofOf } = require('./pool-proof.js');
const { FOUND, integer, text } = require('./pool-replies.js');
const { Run } = require('./pool-run.js');
const { SCRIPTS } = require('./scripts.js');

const { OUTCOME, VOTE } = calls;

/** What the health of a node is told by: the life of a key that nobody has. */
const HEALTH_KEY = 'redsync:health';

/** As much as the script tells, and more than redsync stores: see inspect.lua. */
const MAX_FOUND = 17_000;

/**
 * The nodes of each client in the engine. A run takes up what is asked of a node together.
 * @type {Map<number, { nodes: readonly PoolNode[], keyPrefix: string }>}
 * @typedef {{ pool?: object, proof?: import('./pool-proof.js').Proof, run?: Run }} PoolNode
 */
const clients = new Map();

/** The nodes that have a run. */
const running = [];

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
    this.proof = undefined;
    this.isSet = false; // one name is taken by a plain SET, of a pool that is known to do it
  }

  ask() {
    const served = clients.get(this.client);
    const now = calls.now();
    if (served === undefined || this.#isTooLate(now)) return this.#tooLate();
    const node = served.nodes[this.node];
    this.proof = node.proof;
    if (this.kind === OUTCOME.ASK_ACQUIRE && !this.proof.isProven) {
      this.proof.look(served.keyPrefix);
      if (this.proof.fault !== undefined) return this.#refuse();
    }
    let conn;
    let then;
    const waiting = patienceUntil(this.end);
    try {
      conn = node.pool.get(waiting.signal);
      then = conn?.then;
    } catch (error) {
      return this.fail(VOTE.UNSENT, 'get', error);
    }
    if (typeof then === 'function') return this.#wait(conn, waiting, now);
    return Run.takes(conn, this) ? this.#join(node, conn) : this.use(conn);
  }

  #wait(promise, waiting, now) {
    waiting.wait(now);
    follow(
      () => promise,
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

  /** The pool was found out. */
  #refuse() {
    const { code, message } = this.proof.fault;
    this.answer(VOTE.UNSENT, code, message);
  }

  /** @param {number} [now] if there was a wait for the connection */
  use(conn, now) {
    if (now !== undefined && this.#isTooLate(now)) {
      giveBack(conn);
      return this.#tooLate();
    }
    follow(
      () => this.#perform(conn),
      (reply) => {
        giveBack(conn);
        if (this.kind === OUTCOME.ASK_HEALTH) this.#tellHealth(reply);
        else this.#read(reply);
      },
      (error) => {
        giveBack(conn);
        this.fail(VOTE.FAILED, this.#method(), error);
      },
    );
  }

  #method() {
    if (this.kind === OUTCOME.ASK_HEALTH) return 'pttl';
    return this.isSet ? 'setNX' : 'eval';
  }

  #perform(conn) {
    const { kind, keys, value, expiry } = this;
    switch (kind) {
      case OUTCOME.ASK_ACQUIRE:
        this.isSet = keys.length === 1 && this.proof.isProven;
        if (this.isSet) return conn.setNX(keys[0], value, expiry);
        return this.#acquire(conn);
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

  /** What the server runs is as it is written, if it is what the pool was given: so that is looked at. */
  async #acquire(conn) {
    const reply = await conn.eval(SCRIPTS.acquire, this.keys, [this.value, this.expiry]);
    if (this.proof.isProven || integer(reply) !== VOTE.GRANTED) return reply;
    const found = FOUND.exec(text(await conn.eval(SCRIPTS.inspect, [this.keys[0]], [])));
    return found?.[2] === this.value ? reply : undefined;
  }

  /** A pool that answers is up if it is to be believed. */
  async #tellHealth(reply) {
    if (!this.proof.isProven) await this.proof.look(clients.get(this.client)?.keyPrefix, true);
    if (this.proof.fault !== undefined) return this.#refuse();
    return this.#read(reply);
  }

  #read(reply) {
    if (this.kind === OUTCOME.ASK_INSPECT && reply !== null) return this.#readFound(reply);
    const vote = this.#voteOf(reply);
    if (vote === undefined) this.answerNonsense(this.#method());
    else this.answer(vote);
  }

  #readFound(reply) {
    const found = text(reply);
    if (found.length <= MAX_FOUND && FOUND.test(found)) this.answer(VOTE.FOUND, '', found);
    else this.answerNonsense('eval');
  }

  #voteOf(reply) {
    if (this.isSet) return typeof reply === 'boolean' ? Number(reply) : undefined;
    if (this.kind === OUTCOME.ASK_INSPECT) return VOTE.ABSENT;
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
    const { code, message } = nonsense(method);
    this.answer(VOTE.FAILED, code, message);
  }

  answer(vote, code, message) {
    calls.answerPool(this.client, this.node, this.number, vote, code, message);
  }
}

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
  const served = ({ pool }) => ({ pool, proof: pool && proofOf(pool), run: undefined });
  clients.set(client, { nodes: nodes.map(served), keyPrefix });
}

/** Resolves when nothing that a pool was tried on is left: whoever closes may close its client next. */
async function settled(client) {
  const { nodes = [] } = clients.get(client) ?? {};
  await Promise.all(nodes.map(({ proof }) => proof?.settled()));
}

/** The engine asks them no more. */
function forget(client) {
  if (clients.delete(client) && clients.size === 0) ownErrors.clear();
}

function isServed(client) {
  return clients.has(client);
}

module.exports = { serve, settled, forget, isServed };

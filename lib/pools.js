'use strict';

// Asks the pools of JavaScript what the engine asks their nodes. The order of the questions about a
// key is the engine's business (src/node/pool.rs): it never asks two of them at once.

const calls = require('./calls.js');
const { isInstant } = require('./adapters/conn.js');
const { handOn, giveBack, patienceUntil } = require('./pool-conns.js');
const { failureOf, forgetThrown, nonsense } = require('./pool-failures.js');
const { proofOf } = require('./pool-proof.js');
const { INSPECTION, integer, text } = require('./pool-replies.js');
const { Run } = require('./pool-run.js');
const { PAGE, scan } = require('./pool-scan.js');
const { SCRIPTS } = require('./scripts.js');
const { READERS } = require('./values.js');

const { OUTCOME, VOTE } = calls;

/** What the health of a node is told by: the life of a key that nobody has. */
const HEALTH_KEY = 'redsync:health';

/** As much as the script tells, and more than redsync stores: see inspect.lua. */
const MAX_FOUND = 17_000;

/** By which script; a mutex of one name needs none. */
const ACQUISITIONS = new Map([
  [OUTCOME.ASK_ACQUIRE, SCRIPTS.acquire],
  [OUTCOME.ASK_ACQUIRE_FENCED, SCRIPTS.acquireFenced],
  [OUTCOME.ASK_ACQUIRE_READ, SCRIPTS.acquireRead],
  [OUTCOME.ASK_ACQUIRE_WRITE, SCRIPTS.acquireWrite],
  [OUTCOME.ASK_ACQUIRE_WRITE_FENCED, SCRIPTS.acquireWriteFenced],
]);

const FENCED = [OUTCOME.ASK_ACQUIRE_FENCED, OUTCOME.ASK_ACQUIRE_WRITE_FENCED];
const WRITERS = [OUTCOME.ASK_ACQUIRE_WRITE, OUTCOME.ASK_ACQUIRE_WRITE_FENCED];
const RELEASES = [OUTCOME.ASK_RELEASE, OUTCOME.ASK_RELEASE_READ, OUTCOME.ASK_RELEASE_WRITE];

const TOO_LATE = Object.freeze({ code: 'ETIMEDOUT', message: 'no answer within the node timeout' });
const NOTHING = Object.freeze({ code: '', message: '' });

/**
 * The nodes of each client in the engine. A run takes up what is asked of a node together.
 * @type {Map<number, readonly (PoolNode | undefined)[]>}
 * @typedef {object} PoolNode
 * @property {object} pool
 * @property {import('./pool-proof.js').Proof} proof
 * @property {boolean} isInstant
 * @property {boolean} isCluster
 * @property {string} keyPrefix
 * @property {() => void} learn which server it is, after a look at the pool
 * @property {Map<number | string, Run>} runs by what those have in common that are asked together
 */
const clients = new Map();

/** The nodes that have runs. */
const running = [];

/** Puts questions together. Each comes as several records: whom to ask, the keys, what is asked. */
function newReader() {
  let question;
  return (number, outcome, figure, string) => {
    if (outcome === OUTCOME.TO_POOL) question = new Question(number, figure, string);
    else if (outcome === OUTCOME.KEY) question.addKey(string, figure);
    else if (outcome === OUTCOME.FENCE_KEY) question.addFence(string, figure);
    else if (outcome === OUTCOME.READERS_KEY) question.addReaders(string);
    else if (outcome === OUTCOME.SIGN_KEY) question.addSign(string, figure);
    else question.ask(number, outcome, figure);
  };
}

/** All that came together has been read. */
function endRuns() {
  if (running.length === 0) return;
  const runs = [];
  for (const node of running.splice(0)) {
    runs.push(...node.runs.values());
    node.runs.clear();
  }
  for (const run of runs) run.ask();
}

class Question {
  #client;
  #index; // of the node
  #node; // none if the client is closed
  #number;
  #end; // of the time that somebody waits for the answer
  #method = 'eval'; // of the connection

  constructor(client, index, value) {
    this.#client = client;
    this.#index = index;
    this.#node = clients.get(client)?.[index];
    this.kind = undefined;
    this.keys = [];
    this.value = value;
    this.expiry = undefined;
    this.sides = []; // the keys beside them
    this.token = undefined; // that is proposed
    this.sign = undefined; // how long it lasts; negative: it is left whoever is in the way
  }

  addKey(key, expiry) {
    this.keys.push(key);
    this.expiry = expiry;
  }

  addFence(key, token) {
    this.sides.push(key);
    this.token = token;
  }

  addReaders(key) {
    this.sides.push(key);
  }

  addSign(key, life) {
    this.sides.push(key);
    this.sign = life;
  }

  ask(number, kind, end) {
    this.#number = number;
    this.kind = kind;
    this.#end = end;
    const node = this.#node;
    const now = calls.now();
    if (node === undefined || this.#isTooLate(now)) return this.answer(VOTE.UNSENT, TOO_LATE);
    const { pool, proof, keyPrefix } = node;
    if (ACQUISITIONS.has(kind) && !proof.isProven) {
      proof.look(keyPrefix).then(node.learn);
      if (proof.fault !== undefined) return this.answer(VOTE.UNSENT, proof.fault);
    }
    if (node.isInstant) return this.#take(pool.get());
    let conn;
    let then;
    const waiting = patienceUntil(end);
    try {
      conn = pool.get(waiting.signal);
      then = conn?.then;
    } catch (error) {
      return this.answer(VOTE.UNSENT, failureOf('get', error));
    }
    if (typeof then === 'function') return this.#wait(conn, waiting, now);
    return this.#take(conn);
  }

  #take(conn) {
    return Run.takes(conn, this, this.#node.proof.isProven) ? this.#join(conn) : this.use(conn);
  }

  #wait(promise, waiting, now) {
    waiting.wait(now);
    handOn(
      () => promise,
      (conn) => {
        waiting.done();
        this.use(conn, calls.now());
      },
      (error) => {
        waiting.done();
        this.answer(VOTE.UNSENT, failureOf('get', error));
      },
    );
  }

  /** The engine has no other question open about its key, so it does not matter which goes first. */
  #join(conn) {
    const { runs } = this.#node;
    const key = Run.keyOf(this);
    let run = runs.get(key);
    if (!run?.hasRoomOn(conn)) {
      if (runs.size === 0) running.push(this.#node);
      run?.ask();
      run = new Run(conn, this);
      runs.set(key, run);
    }
    run.add(this);
  }

  /** A release is of use at any time: what is released may have been acquired late. */
  #isTooLate(now) {
    return now > this.#end && !RELEASES.includes(this.kind);
  }

  /** @param {number} [now] if there was a wait for the connection */
  use(conn, now) {
    if (now !== undefined && this.#isTooLate(now)) {
      giveBack(conn);
      return this.answer(VOTE.UNSENT, TOO_LATE);
    }
    handOn(
      () => this.#perform(conn),
      (reply) => {
        giveBack(conn);
        if (this.kind === OUTCOME.ASK_HEALTH) this.#tellHealth(reply);
        else this.#read(reply);
      },
      (error) => {
        giveBack(conn);
        this.answer(VOTE.FAILED, failureOf(this.#method, error));
      },
    );
  }

  #perform(conn) {
    const { kind, keys, sides, value, expiry } = this;
    switch (kind) {
      case OUTCOME.ASK_ACQUIRE:
        if (keys.length > 1 || !this.#node.proof.isProven) return this.#acquire(conn);
        this.#method = 'setNX';
        return conn.setNX(keys[0], value, expiry);
      case OUTCOME.ASK_ACQUIRE_FENCED:
      case OUTCOME.ASK_ACQUIRE_READ:
      case OUTCOME.ASK_ACQUIRE_WRITE:
      case OUTCOME.ASK_ACQUIRE_WRITE_FENCED:
        return this.#acquire(conn);
      case OUTCOME.ASK_RELEASE:
        return conn.eval(SCRIPTS.release, keys, [value]);
      case OUTCOME.ASK_RELEASE_READ:
        return conn.eval(SCRIPTS.releaseRead, [...keys, ...sides], [value]);
      case OUTCOME.ASK_RELEASE_WRITE:
        return conn.eval(SCRIPTS.releaseWrite, [...keys, ...sides], [value]);
      case OUTCOME.ASK_EXTEND:
        return conn.eval(SCRIPTS.extend, keys, [value, expiry, 0]);
      case OUTCOME.ASK_RECREATE:
        return conn.eval(SCRIPTS.extend, keys, [value, expiry, 1]);
      case OUTCOME.ASK_EXTEND_READ:
        return conn.eval(SCRIPTS.extendRead, [...keys, ...sides], [value, expiry, 0]);
      case OUTCOME.ASK_RECREATE_READ:
        return conn.eval(SCRIPTS.extendRead, [...keys, ...sides], [value, expiry, 1]);
      case OUTCOME.ASK_SHORTEN:
        return conn.eval(SCRIPTS.shorten, keys, [value, expiry]);
      case OUTCOME.ASK_OWNER:
        return conn.eval(SCRIPTS.owner, keys, [value]);
      case OUTCOME.ASK_OWNER_READ:
        return conn.eval(SCRIPTS.ownerRead, [...keys, ...sides], [value]);
      case OUTCOME.ASK_INSPECT:
        return conn.eval(SCRIPTS.inspect, keys, []);
      case OUTCOME.ASK_SCAN:
        return scan(conn, this.#node.isCluster, keys[0], value);
      default:
        this.#method = 'pttl';
        return conn.pttl(this.#node.keyPrefix + HEALTH_KEY);
    }
  }

  /** What the server runs is as it is written, if it is what the pool was given: so that is looked at. */
  async #acquire(conn) {
    const { kind, keys, sides, value, expiry } = this;
    const args = [value, expiry];
    if (FENCED.includes(kind)) args.push(this.token);
    if (WRITERS.includes(kind)) args.push(Math.abs(this.sign), this.sign < 0 ? 1 : 0);
    const reply = await conn.eval(ACQUISITIONS.get(kind), [...keys, ...sides], args);
    if (this.#node.proof.isProven || integer(reply) !== VOTE.GRANTED) return reply;
    const found = INSPECTION.exec(text(await conn.eval(SCRIPTS.inspect, [keys[0]], [])));
    const stored = kind === OUTCOME.ASK_ACQUIRE_READ ? READERS : value;
    return found?.[2] === stored ? reply : undefined;
  }

  /** A pool that answers is up if it is to be believed. */
  async #tellHealth(reply) {
    const { proof, keyPrefix, learn } = this.#node;
    if (!proof.isProven) await proof.look(keyPrefix, true).then(learn);
    if (proof.fault !== undefined) this.answer(VOTE.UNSENT, proof.fault);
    else this.#read(reply);
  }

  #read(reply) {
    if (this.kind === OUTCOME.ASK_SCAN) return this.#readPage(reply);
    if (this.kind === OUTCOME.ASK_INSPECT && reply !== null) return this.#readFound(reply);
    if (FENCED.includes(this.kind) && Math.abs(integer(reply)) > 1) {
      return this.#readBound(integer(reply));
    }
    const vote = this.#voteOf(reply);
    if (vote === undefined) this.answer(VOTE.FAILED, nonsense(this.#method));
    else this.answer(vote);
  }

  #readFound(reply) {
    const found = text(reply);
    const isWhole = found.length <= MAX_FOUND && INSPECTION.test(found);
    if (isWhole) this.answer(VOTE.FOUND, { message: found });
    else this.answer(VOTE.FAILED, nonsense('eval'));
  }

  #readPage(page) {
    if (PAGE.test(page)) this.answer(VOTE.PAGE, { message: page });
    else this.answer(VOTE.FAILED, nonsense('eval'));
  }

  /** Another token might be granted. */
  #readBound(number) {
    const vote = number > 0 ? VOTE.ABOVE : VOTE.UP_TO;
    this.answer(vote, { message: String(Math.abs(number)) });
  }

  #voteOf(reply) {
    if (this.#method === 'setNX') return typeof reply === 'boolean' ? Number(reply) : undefined;
    if (this.kind === OUTCOME.ASK_INSPECT) return VOTE.ABSENT;
    const number = integer(reply);
    if (WRITERS.includes(this.kind) && number === VOTE.ABSENT) return VOTE.READERS;
    if (this.kind === OUTCOME.ASK_HEALTH) return number >= -2 ? VOTE.GRANTED : undefined;
    const isVote =
      number === VOTE.GRANTED ||
      number === VOTE.TAKEN ||
      (number === VOTE.ABSENT && !ACQUISITIONS.has(this.kind));
    return isVote ? number : undefined;
  }

  answer(vote, { code, message } = NOTHING) {
    calls.answerPool(this.#client, this.#index, this.#number, vote, code, message);
  }
}

calls.servePools(newReader(), endRuns);

/**
 * The engine may ask these pools from now on.
 *
 * @param {number} client
 * @param {readonly { pool?: object }[]} nodes
 * @param {string} keyPrefix
 * @param {import('./servers.js').Servers} servers
 */
function serve(client, nodes, keyPrefix, servers) {
  if (nodes.every(({ pool }) => pool === undefined)) return;
  const served = ({ pool, isCluster }, index) => {
    if (pool === undefined) return undefined;
    const proof = proofOf(pool);
    const learn = () => servers.learn(index, proof.runId);
    learn();
    const runs = new Map();
    return { pool, isInstant: isInstant(pool), isCluster, proof, keyPrefix, learn, runs };
  };
  clients.set(client, nodes.map(served));
}

/** Resolves when nothing that a pool was tried on is left: whoever closes may close its client next. */
async function atRest(client) {
  const nodes = clients.get(client) ?? [];
  await Promise.all(nodes.map((node) => node?.proof.atRest()));
}

/** The engine asks them no more. */
function forget(client) {
  if (clients.delete(client) && clients.size === 0) forgetThrown();
}

function isServed(client) {
  return clients.has(client);
}

module.exports = { serve, atRest, forget, isServed };

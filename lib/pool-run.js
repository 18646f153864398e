'use strict';

const { SCRIPTS } = require('./scripts.js');
const { OUTCOME, VOTE } = require('./calls.js');
const { takesMany, takesOneOnly } = require('./adapters/conn.js');
const { handOn } = require('./pool-conns.js');
const { failureOf, isRefusal, nonsense } = require('./pool-failures.js');
const { text } = require('./pool-replies.js');

/** As the links to Redis do it: see src/node/redis/batch.rs. */
const MAX_RUN = 128;

const VOTES = Object.freeze({ 1: VOTE.GRANTED, 0: VOTE.TAKEN, '-': VOTE.ABSENT });

/** What is asked of many names, by which script, and what it says of each; `?`: it has to be asked alone. */
const RUNS = new Map([
  [OUTCOME.ASK_ACQUIRE, { script: SCRIPTS.acquireMany, letters: /^[10?]*$/, grants: true }],
  [
    OUTCOME.ASK_ACQUIRE_FENCED,
    { script: SCRIPTS.acquireFencedMany, letters: /^[10?]*$/, grants: true },
  ],
  [OUTCOME.ASK_RELEASE, { script: SCRIPTS.releaseMany, letters: /^[10?-]*$/, grants: false }],
  [OUTCOME.ASK_EXTEND, { script: SCRIPTS.extendMany, letters: /^[10?-]*$/, grants: false }],
]);

/** What else the server says to one command it says to every other of its kind. */
const NEVER = ['NOPERM', 'CROSSSLOT'];

/**
 * Acquisitions or extensions of one expiry, or releases, of one name each, that are asked with one command: a
 * script of a hundred locks costs a client a fraction of a hundred commands.
 *
 * It is for the connections of newPool() alone. They are shared by all, so none is given back.
 */
class Run {
  #conn;
  #kind;
  #expiry;
  #questions = [];

  constructor(conn, { kind, expiry }) {
    this.#conn = conn;
    this.#kind = kind;
    this.#expiry = expiry;
  }

  /**
   * Can it be asked together with others?
   *
   * @param {unknown} conn
   * @param {object} question
   * @param {boolean} isProven whether the pool is believed when it says that something is stored
   */
  static takes(conn, { kind, keys }, isProven) {
    const run = RUNS.get(kind);
    return run !== undefined && keys.length === 1 && (isProven || !run.grants) && takesMany(conn);
  }

  /** What it has in common with those that it can be asked together with. */
  static keyOf({ kind, expiry }) {
    return kind === OUTCOME.ASK_RELEASE ? kind : `${kind} ${expiry}`;
  }

  /** One with the same key: may it be added? */
  hasRoomOn(conn) {
    return conn === this.#conn && this.#questions.length < MAX_RUN;
  }

  add(question) {
    this.#questions.push(question);
  }

  ask() {
    if (this.#questions.length === 1) return this.#askOneByOne();
    const keys = [];
    const args = [this.#expiry];
    for (const question of this.#questions) {
      keys.push(question.keys[0]);
      args.push(question.value);
    }
    if (this.#kind === OUTCOME.ASK_ACQUIRE_FENCED) {
      for (const { sides } of this.#questions) keys.push(sides[0]);
      for (const { token } of this.#questions) args.push(token);
    }
    const { script } = RUNS.get(this.#kind);
    handOn(
      () => this.#conn.eval(script, keys, args),
      (reply) => this.#read(text(reply)),
      (error) => this.#fail(error),
    );
  }

  #askOneByOne() {
    this.#questions.forEach((question) => question.use(this.#conn));
  }

  #answerAll(failure) {
    this.#questions.forEach((question) => question.answer(VOTE.FAILED, failure));
  }

  #read(letters) {
    const isWhole =
      letters.length === this.#questions.length && RUNS.get(this.#kind).letters.test(letters);
    if (!isWhole) return this.#answerAll(nonsense('eval'));
    this.#questions.forEach((question, i) => {
      const vote = VOTES[letters[i]];
      if (vote === undefined) question.use(this.#conn);
      else question.answer(vote);
    });
  }

  #fail(error) {
    const failure = failureOf('eval', error);
    if (!isRefusal(failure.code)) return this.#answerAll(failure);
    // The server may allow what they are asked with alone; and one of them may be what it refuses.
    if (NEVER.includes(failure.code)) takesOneOnly(this.#conn);
    this.#askOneByOne();
  }
}

module.exports = { Run };

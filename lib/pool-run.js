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
const LETTERS = /^[10?-]*$/;

/** What else the server says to one command it says to every other of its kind. */
const NEVER = ['NOPERM', 'CROSSSLOT'];

/**
 * Releases, or extensions of one expiry, of one name each, that are asked with one command: a script
 * of a hundred locks costs client and server a fraction of a hundred scripts.
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

  /** Can it be asked together with others? */
  static takes(conn, { kind, keys }) {
    const isOfRun = kind === OUTCOME.ASK_RELEASE || kind === OUTCOME.ASK_EXTEND;
    return isOfRun && keys.length === 1 && takesMany(conn);
  }

  goesWith(conn, { kind, expiry }) {
    return (
      conn === this.#conn &&
      kind === this.#kind &&
      (kind === OUTCOME.ASK_RELEASE || expiry === this.#expiry) &&
      this.#questions.length < MAX_RUN
    );
  }

  add(question) {
    this.#questions.push(question);
  }

  ask() {
    if (this.#questions.length === 1) return this.#askOneByOne();
    const isRelease = this.#kind === OUTCOME.ASK_RELEASE;
    const script = isRelease ? SCRIPTS.releaseMany : SCRIPTS.extendMany;
    const keys = [];
    const args = [this.#expiry];
    for (const question of this.#questions) {
      keys.push(question.keys[0]);
      args.push(question.value);
    }
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
    const isWhole = letters.length === this.#questions.length && LETTERS.test(letters);
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

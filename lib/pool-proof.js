'use strict';

// A pool is not believed before it was seen to do what its setNX() says: to store with the expiry that
// it was given, and to refuse a name that is taken. One that stores without NX or PX would grant a
// lock to everybody, or for ever. Until then names are taken by a script, which the server runs as it
// is written.

const { randomUUID } = require('node:crypto');
const { clearTimeout, setTimeout } = require('node:timers');

const { runIdOf } = require('./adapters/conn.js');
const calls = require('./calls.js');
const { giveBack, patienceUntil } = require('./pool-conns.js');
const { nonsense } = require('./pool-failures.js');
const { INSPECTION, integer, text } = require('./pool-replies.js');
const { SCRIPTS } = require('./scripts.js');

/** What setNX() is tried on: a key of which nobody knows the end. */
const PROBE_KEY = 'redsync:probe:';

/** For how long it is stored, in ms, should its release be lost. Whoever counts in seconds shows. */
const EXPIRY = 9876;

/** By how much the clocks of server and client may differ in that time, in ms. */
const DRIFT = EXPIRY / 100 + 2;

/** What took so long says nothing, and is waited for no longer. */
const LONGEST = EXPIRY / 2;

/** From one look at a pool to the next, in ms: one that is found out, or refuses, costs its locks little. */
const PAUSE = 1000;

/** The pool could not be looked at: it may be another time. */
class Inconclusive extends Error {}

/** What a look at a pool has found if all is well. */
const SOUND = Symbol('sound');

/** What is known of a pool. */
class Proof {
  #runId = '';
  /**
   * The latest look: when it began, what is known since (SOUND, or what is wrong; at first what was
   * known before), and until it is over its end.
   */
  #look = { since: -Infinity, verdict: undefined, end: undefined };
  #pool;

  constructor(pool) {
    this.#pool = pool;
  }

  /** It was seen to do as it says. */
  get isProven() {
    return this.#look.verdict === SOUND;
  }

  /** What its server called itself when it was seen; '' if that is not known. */
  get runId() {
    return this.#runId;
  }

  /** @returns {{ code: string, message: string } | undefined} what was found wrong with it */
  get fault() {
    const { verdict } = this.#look;
    return verdict === SOUND ? undefined : verdict;
  }

  /**
   * Looks at the pool, unless that is under way already, or was a moment ago. Not to be called for one
   * that is proven.
   *
   * @param {string} keyPrefix
   * @param {boolean} [isAskedFor] for its own sake: one of which nothing is known is looked at at once
   * @returns {Promise<void>} resolves when it is over, whatever came of it
   */
  async look(keyPrefix, isAskedFor = false) {
    const now = calls.now();
    const { since, verdict, end } = this.#look;
    const pause = isAskedFor && verdict === undefined ? 0 : PAUSE;
    if (now - since >= (end === undefined ? pause : LONGEST)) {
      const look = { since: now, verdict, end: undefined };
      this.#look = look;
      look.end = this.#examine(look, keyPrefix + PROBE_KEY).finally(() => {
        look.end = undefined;
      });
    }
    await this.#look.end;
  }

  /** Resolves when nothing of a look is left, or when it takes too long to be waited for. */
  async atRest() {
    const { end } = this.#look;
    if (end === undefined) return;
    let timer;
    const limit = new Promise((resolve) => (timer = setTimeout(resolve, PAUSE)));
    await Promise.race([end, limit]);
    clearTimeout(timer);
  }

  async #examine(look, key) {
    const waiting = patienceUntil(look.since + LONGEST);
    waiting.wait(look.since);
    let conn;
    try {
      conn = await this.#pool.get(waiting.signal);
      // What else could have come between, a FLUSHALL or a failover, does not do so twice.
      const fault = (await tryOut(conn, key)) && (await tryOut(conn, key));
      look.verdict = fault ?? SOUND;
      this.#runId = (await runIdOf(conn)) ?? '';
    } catch {
      // Known is what was known before. Whoever needs the pool is told what is wrong.
    } finally {
      waiting.done();
      giveBack(conn);
    }
  }
}

/** @returns {Promise<{ code: string, message: string } | undefined>} what is wrong */
async function tryOut(conn, prefix) {
  const key = prefix + randomUUID();
  const values = [randomUUID(), randomUUID()];
  // Nothing is stored unless it can be looked at, and removed.
  if ((await conn.eval(SCRIPTS.inspect, [key], [])) !== null) return nonsense('eval');
  const start = calls.now();
  try {
    const isStored = await conn.setNX(key, values[0], EXPIRY);
    const isStoredAgain = isStored === true && (await conn.setNX(key, values[1], EXPIRY));
    if (typeof isStored !== 'boolean' || typeof isStoredAgain !== 'boolean')
      return nonsense('setNX');
    if (!isStored) throw new Inconclusive();
    const found = await conn.eval(SCRIPTS.inspect, [key], []);
    const elapsed = calls.now() - start;
    if (elapsed > LONGEST) throw new Inconclusive();
    if (isStoredAgain) return fault('setNX', 'takes a name that is taken');
    return faultIn(found, values[0], elapsed) ?? (await faultOfScripts(conn, key, values));
  } finally {
    await remove(conn, key, values);
  }
}

/** Is what a script is given passed on as it is, and what it says? One value is stored under the key. */
async function faultOfScripts(conn, key, [stored, other]) {
  const acquired = integer(await conn.eval(SCRIPTS.acquire, [key], [other, EXPIRY]));
  if (acquired === 1) return fault('eval', 'takes a name that is taken');
  if (await release(conn, key, other)) return fault('eval', 'releases what is not stored');
  const isReleased = acquired === 0 && (await release(conn, key, stored));
  return isReleased ? undefined : fault('eval', 'does not release what is stored');
}

function faultIn(found, value, elapsed) {
  if (found === null) return fault('setNX', 'stores nothing, or not for as long as it is told');
  const [, left, stored] = INSPECTION.exec(text(found)) ?? [];
  if (stored === undefined) return nonsense('eval');
  if (stored !== value) return fault('setNX', 'stores another value than it is given');
  if (Number(left) < 0) return fault('setNX', 'stores without an expiry');
  const isAsTold = left <= EXPIRY && left >= EXPIRY - elapsed - DRIFT;
  return isAsTold ? undefined : fault('setNX', 'stores with another expiry than it is given');
}

function fault(method, what) {
  return { code: 'EPOOL', message: `${method}() of the pool ${what}` };
}

/** Removes whichever is stored, or what was stored instead: the key is nobody else's. */
async function remove(conn, key, values) {
  for (const value of values) if (await release(conn, key, value)) return;
  const found = INSPECTION.exec(text(await conn.eval(SCRIPTS.inspect, [key], [])));
  if (found !== null) await release(conn, key, found[2]);
}

async function release(conn, key, value) {
  return integer(await conn.eval(SCRIPTS.release, [key], [value])) === 1;
}

/** By pool: what was seen of one holds for all who use it. @type {WeakMap<object, Proof>} */
const proofs = new WeakMap();

/** @param {object} pool */
function proofOf(pool) {
  if (!proofs.has(pool)) proofs.set(pool, new Proof(pool));
  return proofs.get(pool);
}

module.exports = { PROBE_KEY, proofOf };

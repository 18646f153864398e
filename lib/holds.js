'use strict';

const { clearTimeout, setTimeout } = require('node:timers');

/** Milliseconds: locks that are over within the same of them are counted together. */
const GRAIN = 250;

/**
 * How much of a client is held. What the engine looks after, and what a routine of using() is at work on,
 * ends with a word. Any other lock may be forgotten without one, so it counts until it is over. These are
 * numbers: a lock that counts can still be garbage.
 */
class Holds {
  #now;
  #told = 0; // of which the end is told
  #others = new Map(); // how many others, by the grain in which they are over
  #look; // while somebody waits until nothing is held

  /** @param {() => number} now the clock of the locks */
  constructor(now) {
    this.#now = now;
  }

  /** One more of which the end is told. */
  begin() {
    this.#told++;
  }

  /** It has ended. */
  end() {
    this.#told--;
    this.#lessen();
  }

  /** Another lock, which is over at `until`. */
  add(until) {
    const grain = grainOf(until);
    const count = this.#others.get(grain);
    if (count === undefined) this.#forgetOver();
    this.#others.set(grain, (count ?? 0) + 1);
  }

  /** How many others there are. */
  get others() {
    const now = this.#now();
    let sum = 0;
    for (const [grain, count] of this.#others) {
      if (grain * GRAIN > now) sum += count;
      else this.#others.delete(grain);
    }
    return sum;
  }

  /** It was released, or has another end now. */
  remove(until) {
    const grain = grainOf(until);
    const count = this.#others.get(grain);
    if (count === undefined) return; // over, and forgotten
    if (count === 1) this.#others.delete(grain);
    else this.#others.set(grain, count - 1);
    this.#lessen();
  }

  /**
   * Resolves when nothing is held any more, after `limit` milliseconds at the latest.
   *
   * @param {number} limit
   * @returns {Promise<void>}
   */
  drain(limit) {
    const deadline = this.#now() + limit;
    let timer;
    return new Promise((resolve) => {
      this.#look = (isEnough = false) => {
        clearTimeout(timer);
        const left = isEnough ? 0 : Math.min(this.#left(), deadline - this.#now());
        if (left > 0) {
          timer = setTimeout(this.#look, Math.ceil(left));
          return;
        }
        this.#look = undefined;
        resolve();
      };
      this.look();
    });
  }

  /** Looks whether anything is held: the clock was moved on. */
  look() {
    this.#look?.();
  }

  /** Ends drain(): what is held is let go. */
  endDrain() {
    this.#look?.(true);
  }

  #lessen() {
    if (this.#told === 0) this.look();
  }

  /** For how long something will be held at least, unless it is released; 0 when nothing is. */
  #left() {
    if (this.#told > 0) return Infinity;
    this.#forgetOver();
    const [first] = this.#others.keys();
    return first === undefined ? 0 : first * GRAIN - this.#now();
  }

  /** Those behind one that is not over wait for it: most locks are over in the order of their beginning. */
  #forgetOver() {
    if (this.#others.size === 0) return;
    const now = this.#now();
    for (const grain of this.#others.keys()) {
      if (grain * GRAIN > now) return;
      this.#others.delete(grain);
    }
  }
}

function grainOf(until) {
  return Math.ceil(until / GRAIN);
}

module.exports = { Holds };

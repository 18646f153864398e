'use strict';

// The connections of pools: for how long they are waited for, and how they are given back.

const { setMaxListeners } = require('node:events');
const { clearTimeout, setTimeout } = require('node:timers');

/** Waits that end so close to each other, in milliseconds, share a signal. */
const SAME_END = 5;

/** What `get(signal)` is given: it aborts when nobody waits for the connection any more. */
class Patience {
  #controller; // made for whoever reads the signal first: the connections of newPool() are there at once
  #waiting = 0;
  #timer;

  constructor(end) {
    this.end = end;
  }

  get signal() {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      setMaxListeners(0, this.#controller.signal); // all who wait together listen to it
    }
    return this.#controller.signal;
  }

  get isOver() {
    return this.#controller?.signal.aborted === true;
  }

  /** A timer is needed only while somebody waits. */
  wait(now) {
    if (this.#waiting++ > 0) return;
    this.#timer = setTimeout(() => this.#controller?.abort(), Math.max(1, this.end - now));
    this.#timer.unref();
  }

  done() {
    if (--this.#waiting === 0) clearTimeout(this.#timer);
  }
}

let patience = new Patience(0);

/** @param {number} end on the clock of the engine */
function patienceUntil(end) {
  if (patience.isOver || Math.abs(patience.end - end) > SAME_END) {
    patience = new Patience(end);
  }
  return patience;
}

/** Gives a connection back. Whether that works says nothing about the lock. */
function giveBack(conn) {
  try {
    conn.close()?.then?.(undefined, ignore);
  } catch {
    // As above.
  }
}

function ignore() {}

const { call } = Function.prototype;
const { then } = Promise.prototype;

/**
 * Hands on what comes of `act()`: once, to one of the two, and never before this returns unless it is
 * an error. As `await` does it, which costs more: whatever a promise of somebody else's has in the
 * place of its `then()`.
 *
 * @param {() => unknown} act
 * @param {(value: any) => void} onValue
 * @param {(error: unknown) => void} onError
 */
function handOn(act, onValue, onError) {
  try {
    call.call(then, Promise.resolve(act()), onValue, onError);
  } catch (error) {
    onError(error);
  }
}

module.exports = { handOn, giveBack, patienceUntil };

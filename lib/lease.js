'use strict';

const { beginningOf } = require('./auto-extend.js');
const calls = require('./calls.js');
const { LOSS } = require('./crossing.js');
const { ClosedError, LockLostError } = require('./errors.js');
const { LOST } = require('./events.js');

/** Why a lock is lost: the engine's reasons, and one that it does not tell of. */
const WHY = Object.freeze({ ...LOSS, RELEASED: -1 });

const REASONS = {
  [WHY.EXPIRED]: 'it has expired',
  [WHY.TAKEN]: 'another holder has taken it',
  [WHY.DELETED]: 'it was deleted',
  [WHY.MAX_HOLD]: 'it was held for as long as maxHold allows',
  [WHY.MAX_STALL]: 'the event loop did not turn for as long as maxStall allows',
  [WHY.CLOSED]: 'the Redsync was closed',
  [WHY.RELEASED]: 'it was released by its value',
};

/** A hold that the engine keeps alive, or watches, so that its loss is told. */
class Lease {
  #number;
  #resource;
  #value;
  #firstUntil;
  #isDropped = false; // whoever has its signal only is told if it is lost
  #controller;
  #error;
  #until; // as it was when the lock was lost

  /**
   * @param {number | undefined} number of the call that began it; none if the engine knows nothing
   *   of it
   * @param {import('./resource.js').Resource} resource
   * @param {string} value
   * @param {number} [until] as it was when the lock was acquired, on the engine's clock
   */
  constructor(number, resource, value, until) {
    this.#number = number;
    this.#resource = resource;
    this.#value = value;
    this.#firstUntil = until;
    if (number === undefined) {
      this.#until = 0;
      return;
    }
    calls.beginLease(number, this);
    resource.client.stats.hold(1);
    resource.client.holds.begin();
  }

  /** The engine looks after it no more, and its number is somebody else's soon. */
  #letGo(until) {
    if (this.#number !== undefined) {
      this.#resource.client.stats.hold(-1);
      if (!this.#isDropped) this.#resource.client.holds.end();
    }
    this.#number = undefined;
    this.#until = until;
  }

  /** Aborts when the lock is lost. */
  get signal() {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#error !== undefined) this.#controller.abort(this.#error);
      else if (this.#number !== undefined) {
        calls.guard(this.#resource.client.number, this.#resource, this.#value);
      }
    }
    return this.#controller.signal;
  }

  get isLost() {
    return this.#error !== undefined;
  }

  /** When the lock is over, on the engine's clock; 0 when the engine no longer looks after it. */
  get until() {
    return this.#until ?? calls.until(this.#number);
  }

  /** Called with the engine's reason; never after `end`. */
  lost(why, until) {
    this.#letGo(until);
    const { names, client, settings } = this.#resource;
    const message = `lock ${JSON.stringify(names[0])} is lost: ${REASONS[why]}`;
    const options = why === WHY.CLOSED ? { cause: new ClosedError() } : undefined;
    this.#error = new LockLostError(message, options);
    client.stats.lose();
    if (LOST.hasSubscribers) {
      const duration = client.now() - beginningOf(this.#firstUntil, settings);
      LOST.publish({
        redsync: client.redsync,
        name: names[0],
        names,
        duration,
        error: this.#error,
      });
    }
    this.#controller?.abort(this.#error);
  }

  /** Called when the engine looks after it no more, though the lock was not lost; never after `end`. */
  ended() {
    if (this.#isDropped) this.#letGo(0);
    else this.lost(WHY.RELEASED, 0);
  }

  /** The lock is being released: nothing more is told. */
  end() {
    if (this.#number === undefined) return;
    this.#letGo(calls.endLease(this.#number));
  }

  /** The lock is another's to keep alive: nothing more is told. */
  leave() {
    if (this.#number === undefined) return;
    this.#resource.letExpire(this.#value, this.#number);
    this.end();
  }

  /** It can be reached no more: if nobody else keeps the lock alive, it is left to expire. */
  drop() {
    // The engine looks after it no more: what has become of it is known, or on its way.
    if (this.#number === undefined || this.until === 0) return;
    this.#isDropped = true;
    this.#resource.client.holds.end();
    this.#resource.letExpire(this.#value, this.#number);
  }

  /** Called when nobody else does. */
  dropped() {
    const name = JSON.stringify(this.#resource.names[0]);
    process.emitWarning(`lock ${name} was dropped without unlock(): it is left to expire`, {
      code: 'REDSYNC_LOCK_DROPPED',
    });
  }
}

module.exports = { Lease, WHY };

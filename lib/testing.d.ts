/** A clock for unit tests. It goes like any other, and can be moved on. */
export interface TestClock {
  /**
   * URLs of new nodes in memory that know no other time. Every Redsync that is given them votes on the
   * same locks; it takes no nodes of another clock.
   *
   * @param count 1 to 64. Default 3.
   */
  nodes(count?: number): string[];

  /**
   * Moves the clock on, as if the machine had been suspended for so long: locks expire, are extended
   * or are lost as they would be then, and `remaining` and `until` of a Lock agree. Resolves when all
   * who are affected have been told. Pauses between attempts and timeouts of nodes are not shortened.
   *
   * @param ms A whole number of milliseconds.
   */
  advance(ms: number): Promise<void>;
}

/**
 * Makes a clock. Nodes of different clocks do not disturb each other, so tests can run side by side.
 *
 * @example
 * const { Redsync } = require('redsync');
 * const { newClock } = require('redsync/testing');
 *
 * const clock = newClock();
 * const redsync = new Redsync(clock.nodes());
 * const lock = await redsync.newMutex('report', { expiry: 10_000 }).lock();
 * await clock.advance(10_000);
 * lock.signal.aborted; // true
 */
export function newClock(): TestClock;

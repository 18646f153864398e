'use strict';

const { enter, leave } = require('./calls.js');
const { asyncDispose } = require('./lock.js');
const { follow, unfollow } = require('./signals.js');

/**
 * Runs the routine while the lock is held, then releases it; settles as the routine settles.
 *
 * @template T
 * @param {import('./client.js').Client} client that the lock is of
 * @param {import('..').Lock} lock
 * @param {AbortSignal | undefined} signal the caller's
 * @param {(signal: AbortSignal, lock: import('..').Lock) => T | Promise<T>} routine
 * @returns {Promise<T>}
 */
async function use(client, lock, signal, routine) {
  enter();
  client.holds.begin(); // also when the lock is lost: the routine is told, and ends
  // AbortSignal.any() in Node.js 20 keeps what it made alive for as long as its sources live.
  const controller = new AbortController();
  const abort = (reason) => controller.abort(reason);
  const sources = signal === undefined ? [lock.signal] : [signal, lock.signal];
  for (const source of sources) {
    if (source.aborted) abort(source.reason);
    else follow(source, abort);
  }
  try {
    return await routine(controller.signal, lock);
  } finally {
    for (const source of sources) unfollow(source, abort);
    await lock[asyncDispose]();
    client.holds.end();
    leave();
  }
}

module.exports = { use };

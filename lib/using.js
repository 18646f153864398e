'use strict';

const { asyncDispose } = require('./lock.js');
const { follow, unfollow } = require('./signals.js');

/**
 * Runs the routine while the lock is held, then releases it; settles as the routine settles.
 *
 * @template T
 * @param {import('..').Lock} lock
 * @param {AbortSignal | undefined} signal the caller's
 * @param {(signal: AbortSignal, lock: import('..').Lock) => T | Promise<T>} routine
 * @returns {Promise<T>}
 */
async function hold(lock, signal, routine) {
  const followed = either(signal === undefined ? [lock.signal] : [signal, lock.signal]);
  try {
    return await routine(followed.signal, lock);
  } finally {
    followed.stop();
    await lock[asyncDispose]();
  }
}

/** AbortSignal.any(), which in Node.js 20 keeps what it made alive for as long as its sources live. */
function either(sources) {
  const controller = new AbortController();
  const abort = (reason) => controller.abort(reason);
  for (const source of sources) {
    if (source.aborted) abort(source.reason);
    else follow(source, abort);
  }
  return {
    signal: controller.signal,
    stop: () => sources.forEach((source) => unfollow(source, abort)),
  };
}

module.exports = { hold };

'use strict';

const { asyncDispose } = require('./lock.js');

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
  const followed = follow(signal === undefined ? [lock.signal] : [signal, lock.signal]);
  try {
    return await routine(followed.signal, lock);
  } finally {
    followed.stop();
    await lock[asyncDispose]();
  }
}

/** AbortSignal.any(), which in Node.js 20 keeps what it made alive for as long as its sources live. */
function follow(sources) {
  const controller = new AbortController();
  const handlers = sources.map((source) => {
    const abort = () => controller.abort(source.reason);
    if (source.aborted) abort();
    else source.addEventListener('abort', abort, { once: true });
    return abort;
  });
  const stop = () => {
    sources.forEach((source, i) => source.removeEventListener('abort', handlers[i]));
  };
  return { signal: controller.signal, stop };
}

module.exports = { hold };

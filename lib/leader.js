'use strict';

const { use } = require('./using.js');

/**
 * Campaigns for the lock of a mutex, runs the routine while it is held, and campaigns again. Resolves when the signal
 * has aborted; rejects as a routine does that fails while it leads.
 *
 * @param {import('./client.js').Client} client of the mutex
 * @param {import('./mutex.js').Mutex} mutex
 * @param {AbortSignal | undefined} signal the caller's
 * @param {(signal: AbortSignal, lock: import('..').Lock) => unknown} routine
 */
async function lead(client, mutex, signal, routine) {
  while (!signal?.aborted) await serveTerm(client, mutex, signal, routine);
}

/** From a campaign to the end of the lock. */
async function serveTerm(client, mutex, signal, routine) {
  let told = signal; // that it is over
  try {
    const lock = await mutex.lock({ signal });
    await use(client, lock, signal, (ending, lock) => {
      told = ending;
      return routine(ending, lock);
    });
  } catch (error) {
    // Whatever is thrown by who has been told to stop is how he stops.
    if (!told?.aborted) throw error;
  }
}

module.exports = { lead };

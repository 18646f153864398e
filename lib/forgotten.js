'use strict';

// Locks that nobody keeps alive, and that can be reached no more before unlock() was called: their names are taken until
// they expire, and nobody knows why. Whoever forgets that forgets it more than once, and a registration costs as much as a
// tenth of a lock: so one of several is looked after, until the first was found.

/** Which of them: a prime, for a program may take its locks in turns, and forget those of one turn only. */
const EVERY = 17;

/** How many come before the next that is looked after; the first one is. */
let left = 0;

const forgotten = new FinalizationRegistry(({ names, client }) => {
  if (left === Infinity || client.isClosed) return;
  left = Infinity; // once a process
  process.emitWarning(
    `lock ${JSON.stringify(names[0])} was dropped without unlock(): others wait until it expires. ` +
      'If that is meant, call letExpire()',
    { code: 'REDSYNC_LOCK_DROPPED' },
  );
});

/**
 * @param {object} lock
 * @param {import('./resource.js').Resource} resource what it holds
 * @returns {boolean} whether it is looked after
 */
function lookAfter(lock, resource) {
  if (left > 0) {
    left--;
    return false;
  }
  left = EVERY - 1;
  forgotten.register(lock, resource, lock);
  return true;
}

/** It was not forgotten. */
function forgive(lock) {
  forgotten.unregister(lock);
}

module.exports = { lookAfter, forgive };

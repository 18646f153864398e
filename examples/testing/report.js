'use strict';

// What is tested beside this file: a report that one process at a time writes. It is given its
// Redsync, so that a test can give it another.

/** Writes the report, unless somebody else is at it; gives up when the lock is lost. */
async function writeReport(redsync, write) {
  const lock = await redsync.newMutex('report', { expiry: 10_000 }).tryLock();
  if (lock === null) return 'somebody else is at it';
  try {
    await write(lock.signal);
    return 'written';
  } catch (error) {
    if (lock.signal.aborted) return 'too slow';
    throw error;
  } finally {
    await lock.unlock().catch(() => {}); // it may have expired
  }
}

module.exports = { writeReport };

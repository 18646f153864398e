'use strict';

const { FailedError, RedisError } = require('../../index.js');
const { elapsed, rejection, until } = require('./async.js');

// What one call may take while servers come and go: far more than its node timeout.
const BOUND = 8000;

/** Locks and unlocks until it works; a try that fails has to say so in a typed error, and soon. */
async function worksAgain(t, redsync, name, settled) {
  await until(async () => {
    const call = redsync.newMutex(name).lock();
    t.true((await elapsed(call)) < BOUND);
    const lock = await call.catch((error) => {
      if (!(error instanceof FailedError)) throw error;
    });
    return lock && lock.unlock().catch(() => false);
  }, settled);
}

/** Why the first node failed that a call reports. */
async function causeOf(call) {
  const error = await rejection(call);
  if (!(error instanceof FailedError)) throw error;
  const [nodeError] = error.errors;
  if (!(nodeError instanceof RedisError)) throw error;
  return nodeError.cause;
}

module.exports = { BOUND, worksAgain, causeOf };

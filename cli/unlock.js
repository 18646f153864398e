'use strict';

const { permitOf } = require('../lib/permits.js');
const { Redsync } = require('../lib/redsync.js');
const { EXIT } = require('./exit-codes.js');
const { UsageError, permitCount } = require('./usage.js');

/** Releases a lock by its value. */
async function unlock({ value = process.env.REDSYNC_LOCK, ...usage }) {
  const { name, nodes, prefix, mode } = usage;
  if (!value) throw new UsageError('--value is missing: the ownership value of the lock');
  // However many there are: which one it is, the value says.
  const permits = permitCount(usage.permits) ?? permitOf(value);
  const redsync = new Redsync(nodes, { keyPrefix: prefix });
  try {
    await redsync.newMutex(name, { value, permits, mode }).unlock();
    process.stdout.write(`released ${JSON.stringify(name)}\n`);
    return EXIT.OK;
  } finally {
    await redsync.close();
  }
}

module.exports = { unlock };

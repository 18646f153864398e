'use strict';

const { Redsync } = require('../lib/redsync.js');
const { EXIT } = require('./exit-codes.js');
const { UsageError } = require('./usage.js');

/** Releases a lock by its value. */
async function unlock({ name, nodes, prefix, value = process.env.REDSYNC_LOCK }) {
  if (!value) throw new UsageError('--value is missing: the ownership value of the lock');
  const redsync = new Redsync(nodes, { keyPrefix: prefix });
  try {
    await redsync.newMutex(name, { value }).unlock();
    process.stdout.write(`released ${JSON.stringify(name)}\n`);
    return EXIT.OK;
  } finally {
    await redsync.close();
  }
}

module.exports = { unlock };

'use strict';

const { Redsync } = require('redsync');

const { urlOf } = require('../addresses.js');

/** This library. */
function connect(addresses) {
  const redsync = new Redsync(addresses.map(urlOf), {
    retryDelay: () => 5 + Math.random() * 15,
  });
  return {
    lock: async ({ name, expiry, tries }) =>
      (await redsync.newMutex(name, { expiry, tries }).lock()).value,
    unlock: ({ name, value }) => redsync.newMutex(name, { value }).unlock(),
    extend: ({ name, value, expiry }) => redsync.newMutex(name, { value, expiry }).extend(),
    close: () => redsync.close(),
  };
}

module.exports = { connect };

'use strict';

const { Redsync } = require('redsync');

const { urlOf } = require('../addresses.js');

/** This library, with these options. */
function connectWith(options, addresses) {
  const redsync = new Redsync(addresses.map(urlOf), {
    retryDelay: () => 5 + Math.random() * 15,
    ...options,
  });
  return {
    lock: async ({ name, expiry, tries }) =>
      (await redsync.newMutex(name, { expiry, tries }).lock()).value,
    unlock: ({ name, value }) => redsync.newMutex(name, { value }).unlock(),
    extend: ({ name, value, expiry }) => redsync.newMutex(name, { value, expiry }).extend(),
    tokenOf: ({ name, value }) => redsync.newMutex(name, { value }).token,
    close: () => redsync.close(),
  };
}

function connect(addresses) {
  return connectWith({}, addresses);
}

module.exports = { connect, connectWith };

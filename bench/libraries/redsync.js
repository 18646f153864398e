'use strict';

const { Redsync } = require('../../index.js');

const EXPIRY = 8000;

/** An adapter for redsync, whose mutexes get these options. */
function redsyncWith(options) {
  let redsync;
  return {
    async connect(urls) {
      redsync = new Redsync(urls);
      await redsync.health();
    },

    async cycle(key, whileHeld) {
      const lock = await redsync.newMutex(key, { expiry: EXPIRY, ...options }).lock();
      if (whileHeld) await whileHeld();
      await lock.unlock();
    },

    close: () => redsync.close(),
  };
}

module.exports = { ...redsyncWith({}), redsyncWith };

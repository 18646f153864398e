'use strict';

const { Redsync } = require('../../index.js');

/** An adapter for redsync with these options; they are the defaults of its mutexes. */
function redsyncWith(options) {
  let redsync;
  return {
    async connect(urls) {
      redsync = new Redsync(urls, options);
      await redsync.health();
    },

    async cycle(key, whileHeld) {
      const lock = await redsync.newMutex(key).lock();
      if (whileHeld) await whileHeld();
      await lock.unlock();
    },

    close: () => redsync.close(),
  };
}

module.exports = { ...redsyncWith({}), redsyncWith };

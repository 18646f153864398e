'use strict';

const { Redsync } = require('../../index.js');

const EXPIRY = 8000;
const nothing = async () => {};

let redsync;

module.exports = {
  async connect(urls) {
    redsync = new Redsync(urls);
    await redsync.health();
  },

  cycle: (key, whileHeld = nothing) => redsync.using(key, { expiry: EXPIRY }, () => whileHeld()),

  close: () => redsync.close(),
};

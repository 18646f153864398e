'use strict';

const { redlockOver } = require('./redlock.js');

module.exports = redlockOver({ enableAutoPipelining: true });

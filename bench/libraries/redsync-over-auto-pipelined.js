'use strict';

const { redsyncOver } = require('./redsync-over-ioredis.js');

module.exports = redsyncOver({ enableAutoPipelining: true });

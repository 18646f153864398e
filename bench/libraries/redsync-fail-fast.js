'use strict';

const { redsyncWith } = require('./redsync.js');

module.exports = redsyncWith({ failFast: true });

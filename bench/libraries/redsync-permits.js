'use strict';

const { redsyncWith } = require('./redsync.js');

module.exports = redsyncWith({ permits: 5 });

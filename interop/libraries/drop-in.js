'use strict';

const { default: Redlock, Lock } = require('redsync/redlock');

const { urlOf } = require('../addresses.js');
const { connectWith } = require('./redlock.js');

/** This library, as a drop-in for node-redlock. */
function connect(addresses) {
  return connectWith({ Redlock, Lock }, addresses.map(urlOf));
}

module.exports = { connect };

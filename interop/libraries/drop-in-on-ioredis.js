'use strict';

const { default: Redlock, Lock } = require('redsync/redlock');

const { clientsOf } = require('../addresses.js');
const { connectWith } = require('./redlock.js');

/** This library, as a drop-in for node-redlock, on the clients that node-redlock has. */
function connect(addresses) {
  return connectWith({ Redlock, Lock }, clientsOf(addresses));
}

module.exports = { connect };

'use strict';

const { connectWith } = require('./redsync.js');

/** This library, with a fencing token for each holder. */
function connect(addresses) {
  return connectWith({ fencing: true }, addresses);
}

module.exports = { connect };

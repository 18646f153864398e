'use strict';

const { poolOver } = require('./conn.js');
const { describe } = require('./ioredis.js');

function newPool(client) {
  return poolOver(client, 'redsync/iovalkey', describe('iovalkey'));
}

module.exports = { newPool };

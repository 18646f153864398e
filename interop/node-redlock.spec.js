'use strict';

const test = require('ava');

const { testPairing } = require('./pairing.js');
const { TAKES_IOREDIS_CLIENTS } = require('./to-come.js');

testPairing(test, 'redsync', 'redlock');
testPairing(test, 'drop-in', 'redlock');
if (TAKES_IOREDIS_CLIENTS) testPairing(test, 'drop-in-on-ioredis', 'redlock');

'use strict';

const test = require('ava');

const { testPairing } = require('./pairing.js');

testPairing(test, 'redsync', 'redlock');
testPairing(test, 'fenced', 'redlock');
testPairing(test, 'drop-in', 'redlock');
testPairing(test, 'drop-in-on-ioredis', 'redlock');

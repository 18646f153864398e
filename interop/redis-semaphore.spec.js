'use strict';

const test = require('ava');

const { testPairing } = require('./pairing.js');

testPairing(test, 'redsync', 'redis-semaphore');

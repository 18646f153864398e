'use strict';

// A drop-in for node-redlock 5: `const { default: Redlock } = require('redsync/redlock')`. What ESM
// imports is redlock.mjs, for there the default import of a CommonJS module is all of its exports.

const { ExecutionError, ResourceLockedError } = require('./lib/redlock/errors.js');
const { Lock } = require('./lib/redlock/lock.js');
const { Redlock } = require('./lib/redlock/redlock.js');

Object.defineProperty(exports, '__esModule', { __proto__: null, value: true });
exports.default = Redlock;
exports.Redlock = Redlock;
exports.Lock = Lock;
exports.ExecutionError = ExecutionError;
exports.ResourceLockedError = ResourceLockedError;

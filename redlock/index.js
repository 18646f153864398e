'use strict';

// A drop-in for node-redlock 5: `const { default: Redlock } = require('redsync/redlock')`. What ESM
// imports is index.mjs, for there the default import of a CommonJS module is all of its exports.

const { ExecutionError, ResourceLockedError } = require('./errors.js');
const { Lock } = require('./lock.js');
const { Redlock } = require('./redlock.js');

Object.defineProperty(exports, '__esModule', { __proto__: null, value: true });
exports.default = Redlock;
exports.Redlock = Redlock;
exports.Lock = Lock;
exports.ExecutionError = ExecutionError;
exports.ResourceLockedError = ResourceLockedError;

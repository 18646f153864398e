'use strict';

const { Redsync } = require('./lib/redsync.js');
const { Mutex } = require('./lib/mutex.js');
const {
  RedsyncError,
  FailedError,
  TakenError,
  NodeTakenError,
  RedisError,
  ExtendError,
  LockExpiredError,
  LockLostError,
  ModeError,
  DeadlockError,
  ClosedError,
} = require('./lib/errors.js');

module.exports = {
  Redsync,
  Mutex,
  RedsyncError,
  FailedError,
  TakenError,
  NodeTakenError,
  RedisError,
  ExtendError,
  LockExpiredError,
  LockLostError,
  ModeError,
  DeadlockError,
  ClosedError,
};

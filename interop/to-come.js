'use strict';

// What these tests wait for. Set to true when it is there, see the tests pass, delete the switch.

module.exports = {
  /**
   * Waiting without polling: a waiter then has a retryDelay that no scheduled retry could make up
   * for, and its commands are counted.
   */
  WAITS_WITHOUT_POLLING: false,

  /** redsync/ioredis: an ioredis client is a node of the engine, and of the drop-in. */
  TAKES_IOREDIS_CLIENTS: false,
};

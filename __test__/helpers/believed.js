'use strict';

/**
 * The health of a Redsync when its pools have been tried: those that are up are believed, and asked
 * with SET from now on. However long a busy machine takes for it.
 */
function believed(redsync) {
  return redsync.health({ timeout: 60_000 });
}

module.exports = { believed };

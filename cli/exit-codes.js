'use strict';

const os = require('node:os');

/** Those of the commands; a program that was run has its own. */
const EXIT = Object.freeze({
  OK: 0,
  FAILED: 1,
  USAGE: 2,
  LOST: 3,
  NOT_EXECUTABLE: 126,
  NOT_FOUND: 127,
});

/** As a shell tells that a signal has ended a program. */
function killedBy(signal) {
  return 128 + os.constants.signals[signal];
}

module.exports = { EXIT, killedBy };

'use strict';

// How the examples end before they are done: SIGTERM, and Ctrl-C on a terminal.

/** A signal that aborts when the process is to stop. */
function stopping() {
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT']) process.once(name, () => stop.abort(new Error(name)));
  return stop.signal;
}

module.exports = { stopping };

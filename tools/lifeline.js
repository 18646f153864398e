'use strict';

const { spawnSync } = require('node:child_process');

let hasSetpriv;

/**
 * What a program's command begins with so that Linux sends it `signal` when this process ends, however
 * that happens: an exit handler does not run when a process is killed. Elsewhere nothing.
 *
 * @param {string} [signal]
 * @returns {string[]}
 */
function lifeline(signal = 'KILL') {
  hasSetpriv ??= spawnSync('setpriv', ['--pdeathsig', signal, 'true']).status === 0;
  if (!hasSetpriv) return [];
  // Nobody tells of a parent that has ended before it was asked for: then another one has the program.
  const guarded = ['sh', '-c', '[ "$PPID" = "$0" ] && exec "$@"', String(process.pid)];
  return ['setpriv', '--pdeathsig', signal, ...guarded];
}

module.exports = { lifeline };

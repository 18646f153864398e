'use strict';

const { typeError } = require('./errors.js');

/**
 * Which options exclude each other, and why. Only merged options can tell: one may come from the Redsync, and
 * the other from the mutex.
 *
 * @type {[(settings: object) => boolean, string][]}
 */
const CONFLICTS = [
  [
    ({ fencing, setNXOnExtend }) => fencing && setNXOnExtend,
    'The "options.fencing" argument must not be true with setNXOnExtend: what an extension stores ' +
      'again no node has granted to its token',
  ],
  [
    ({ fencing, permits }) => fencing && permits > 1,
    'The "options.fencing" argument must not be true with permits: several hold it at once, ' +
      'so no token of one is the last',
  ],
  [
    ({ fencing, mode }) => fencing && mode === 'read',
    'The "options.fencing" argument must not be true with mode "read": several hold it at once, ' +
      'so no token of one is the last. It goes with mode "write"',
  ],
  [
    ({ permits, mode }) => permits > 1 && mode !== undefined,
    'The "options.permits" argument must not be greater than 1 with a mode: any number may read at once, ' +
      'and one alone may write',
  ],
  [
    ({ setNXOnExtend, mode }) => setNXOnExtend && mode === 'read',
    'The "options.setNXOnExtend" argument must not be true with mode "read": a reader that is stored ' +
      'again would get in before a writer who waits',
  ],
  [
    ({ holdAtLeast, mode }) => holdAtLeast > 0 && mode !== undefined,
    'The "options.holdAtLeast" argument must not be given with a mode: readers keep no reader off, and a ' +
      'writer may become one',
  ],
  [
    ({ holdAtLeast, value }) => holdAtLeast > 0 && value !== undefined,
    'The "options.holdAtLeast" argument must not be given with a value: when another process has acquired ' +
      'its lock is not known here. Give 0 to release it at once',
  ],
];

/**
 * @param {object} settings see lib/options.js
 * @throws {TypeError}
 */
function checkConflicts(settings) {
  const conflict = CONFLICTS.find(([isSo]) => isSo(settings));
  if (conflict !== undefined) throw typeError(conflict[1]);
}

/**
 * @param {readonly string[]} names
 * @param {object} settings
 * @throws {TypeError}
 */
function checkNames(names, { fencing, permits, mode }) {
  if (names.length === 1) return;
  if (permits > 1) {
    throw typeError(
      'The "name" argument must be one name with permits: whoever holds it has one permit, and each ' +
        'name would have its own',
    );
  }
  if (mode !== undefined) {
    throw typeError(
      'The "name" argument must be one name with a mode: a node keeps readers and a waiting writer ' +
        'beside each name by itself',
    );
  }
  if (fencing) requireNoFences(names);
}

/** The last fencing token of a name is kept under a key that cannot be another name of the same lock. */
function requireNoFences(names) {
  const fence = names.find((name) =>
    names.some((each) => [`${each}:fence`, `{${each}}:fence`].includes(name)),
  );
  if (fence === undefined) return;
  throw typeError(
    `The "name" argument must not have ${JSON.stringify(fence.slice(0, 80))} with fencing: the last token of another of ` +
      'its names is kept there',
  );
}

module.exports = { checkConflicts, checkNames };

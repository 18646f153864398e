'use strict';

// What is locked in which way.

const pick = (list) => list[Math.floor(Math.random() * list.length)];
const chance = (share) => Math.random() < share;

/** So many may hold the name at once: the greatest number that anybody gives. One, for other names. */
const LIMITS = { tickets: 3 };

/** The options that make the kind of a lock: those who contend for a name differ in some. */
const KINDS = {
  a: () => ({ fencing: chance(0.6) }),
  b: () => ({ fencing: chance(0.6) }),
  tickets: () => ({ permits: pick([1, 2, 3, 3, 3, 3]) }),
  catalogue: () =>
    pick([
      { mode: 'read' },
      { mode: 'read' },
      { mode: 'read' },
      { mode: 'write', fencing: chance(0.5) },
      {},
    ]),
};

module.exports = { KINDS, LIMITS, NAMES: Object.keys(KINDS) };

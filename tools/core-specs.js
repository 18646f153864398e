'use strict';

/** The specs that every runtime and every server must pass. */
const CORE_SPECS = [
  'lock',
  'unlock',
  'extend',
  'abort',
  'auto-extend',
  'lock-signal',
  'using',
  'errors',
  'redsync',
].map((name) => `__test__/${name}.spec.js`);

module.exports = { CORE_SPECS };

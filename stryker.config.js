'use strict';

// Mutation tests of the facade, by StrykerJS: `npm run mutants:js` says what of. StrykerJS 9 is the last that
// runs on Node.js 20, which the library supports and its developers may have.

const NEEDED = [
  '*.js',
  '*.node',
  'package.json',
  '__test__',
  'cli',
  'docs',
  'lib',
  'redlock',
  'tools',
];

module.exports = {
  testRunner: 'ava',
  plugins: ['./tools/stryker-ava.mjs'],
  coverageAnalysis: 'perTest',
  ignorePatterns: ['**', ...NEEDED.flatMap((name) => [`!${name}`, `!${name}/**`])],
  // On a machine with other work, a spec that takes thrice its time is slow, and not caught in a loop.
  timeoutFactor: 3,
  timeoutMS: 15_000,
  tempDirName: 'target/stryker',
  cleanTempDir: 'always',
  allowEmpty: true,
  reporters: ['progress-append-only'],
};

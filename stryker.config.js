'use strict';

// Mutation tests of the facade, by StrykerJS: `npm run mutants:js` says what of. StrykerJS 9 is the last that
// runs on Node.js 20, which the library supports and its developers may have.

module.exports = {
  testRunner: 'tap',
  plugins: ['@stryker-mutator/tap-runner'],
  tap: {
    // The last is where it must name its own hook; ava leaves that to the spec, which does not look.
    nodeArgs: [
      '-r',
      './tools/stryker-worker.js',
      'node_modules/ava/entrypoints/cli.mjs',
      '--tap',
      '{{testFile}}',
      '--',
      '{{hookFile}}',
    ],
  },
  coverageAnalysis: 'perTest', // a test is a spec here
  // What the specs need that are named in scripts/mutants-js.js.
  ignorePatterns: [
    '**',
    ...[
      '*.js',
      '*.node',
      'package.json',
      '__test__',
      'cli',
      'examples',
      'lib',
      'redlock',
      'tools',
    ].flatMap((name) => [`!${name}`, `!${name}/**`]),
  ],
  // A machine with other work: a spec that takes thrice its time is slow, and not caught in a loop.
  timeoutFactor: 3,
  timeoutMS: 15_000,
  concurrency: 2,
  tempDirName: 'target/stryker',
  cleanTempDir: 'always',
  allowEmpty: true,
  reporters: ['progress-append-only'],
};

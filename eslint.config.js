'use strict';

const js = require('@eslint/js');

const NODE = [
  'DOMException',
  'TextDecoder',
  'TextEncoder',
  'AbortController',
  'AbortSignal',
  'Buffer',
  'Event',
  'EventTarget',
  'FinalizationRegistry',
  'Request',
  'URL',
  'WeakRef',
  'clearImmediate',
  'clearInterval',
  'clearTimeout',
  'console',
  'fetch',
  'performance',
  'process',
  'queueMicrotask',
  'setImmediate',
  'setInterval',
  'setTimeout',
  'structuredClone',
];
const JEST = ['afterEach', 'beforeEach', 'describe', 'expect', 'jest', 'test'];

function readonly(names) {
  return Object.fromEntries(names.map((name) => [name, 'readonly']));
}

module.exports = [
  { ignores: ['native.js', '**/*.d.ts', '**/target/', 'docs/'] },
  js.configs.recommended,
  {
    rules: {
      'no-control-regex': 'off', // they are looked for on purpose
      'no-unexpected-multiline': 'off', // the formatter breaks chains in that way
      'no-unused-vars': ['error', { ignoreRestSiblings: true }],
    },
  },
  { languageOptions: { ecmaVersion: 'latest', sourceType: 'module', globals: readonly(NODE) } },
  {
    files: ['**/*.js', '**/*.cjs'],
    languageOptions: {
      sourceType: 'commonjs',
      globals: {
        __dirname: 'readonly',
        __filename: 'readonly',
        exports: 'writable',
        module: 'writable',
        require: 'readonly',
      },
    },
  },
  {
    // Programs with a package.json of their own, which makes them modules.
    files: ['bullmq', 'fastify', 'nextjs'].map((name) => `examples/${name}/**/*.js`),
    languageOptions: {
      sourceType: 'module',
      globals: { ...readonly(['Response']), require: 'off' },
    },
  },
  { files: ['**/*.jest.js', '**/jest.test.js'], languageOptions: { globals: readonly(JEST) } },
];

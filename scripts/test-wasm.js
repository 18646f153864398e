'use strict';

// `npm run test:wasm`: specs of pools, of nodes in memory and of its own, over the engine as WebAssembly.

const { bin, buildWasm, install, main, run } = require('../tools/setup.js');

const SPECS = ['event-loop', 'pools', 'testing', 'wasm'].map((name) => `__test__/${name}.spec.js`);

main(() => {
  install();
  buildWasm();
  run(bin('ava'), SPECS, { REDSYNC_ENGINE: 'wasm' });
});

'use strict';

// `npm run build`: installs what is missing, and builds the addon unless it is newer than its sources. With
// `--wasm`, the WebAssembly module instead.

const { build, buildWasm, install, main } = require('../tools/setup.js');

main(() => {
  install();
  if (process.argv.includes('--wasm')) buildWasm();
  else build({ debug: process.argv.includes('--debug') });
});

'use strict';

// `npm run build`: installs what is missing, and builds the addon unless it is newer than its sources.

const { build, install, main } = require('../tools/setup.js');

main(() => {
  install();
  build({ debug: process.argv.includes('--debug') });
});

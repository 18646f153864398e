'use strict';

const path = require('node:path');

const { build, install, main, root } = require('../tools/setup.js');

main(async () => {
  install();
  build();
  await require(path.join(root, 'examples', 'demo.js')).main();
});

'use strict';

module.exports = { files: ['examples/testing/*.ava.js'] };

'use strict';

const { parseArgs } = require('node:util');

const { SetupError } = require('./setup.js');

/**
 * The command line of a script that does something for each of its names, or for some of them.
 *
 * @param {string[]} known names
 * @param {object} options as of parseArgs()
 * @returns {{ values: object, names: string[] }} the options, and the names: all of them if none is given
 */
function readNames(known, options) {
  let parsed;
  try {
    parsed = parseArgs({ options, allowPositionals: true });
  } catch (error) {
    throw new SetupError(error.message);
  }
  const { values, positionals } = parsed;
  const unknown = positionals.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new SetupError(`unknown: ${unknown.join(', ')}; expected some of: ${known.join(', ')}`);
  }
  return { values, names: positionals.length > 0 ? positionals : known };
}

module.exports = { readNames };

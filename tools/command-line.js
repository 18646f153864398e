'use strict';

// The command lines of the tools; what is wrong with one is told in one line.

const { parseArgs } = require('node:util');

const { SetupError } = require('./setup.js');

const SEE_HELP = '; see --help';

function fail(message) {
  throw new SetupError(`${message}${SEE_HELP}`);
}

function parse(config, more = '') {
  try {
    return parseArgs(config);
  } catch (error) {
    throw new SetupError(`${error.message.split('. ', 1)[0]}${more}`);
  }
}

/** The values of these options, and of `--help`. */
function readOptions(args, options) {
  const help = { type: 'boolean', default: false };
  return parse({ args, options: { ...options, help } }, SEE_HELP).values;
}

/** A whole number from 1 to `limit`. */
function count(text, option, limit = Number.MAX_SAFE_INTEGER) {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > limit) {
    fail(`${option} takes whole numbers from 1 to ${limit}, not "${text}"`);
  }
  return number;
}

/** Options that are all numbers, with these defaults. */
function readNumbers(args, defaults) {
  const types = Object.keys(defaults).map((name) => [name, { type: 'string' }]);
  const { help, ...given } = readOptions(args, Object.fromEntries(types));
  const numbers = { ...defaults };
  for (const [name, text] of Object.entries(given)) numbers[name] = count(text, `--${name}`);
  return { help, ...numbers };
}

/**
 * The command line of a script that does something for each of its names, or for some of them.
 *
 * @param {string[]} known names
 * @param {object} options as of parseArgs()
 * @returns {{ values: object, names: string[] }} the options, and the names: all of them if none is given
 */
function readNames(known, options) {
  const { values, positionals } = parse({ options, allowPositionals: true });
  const unknown = positionals.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new SetupError(`unknown: ${unknown.join(', ')}; expected some of: ${known.join(', ')}`);
  }
  return { values, names: positionals.length > 0 ? positionals : known };
}

module.exports = { count, fail, readNames, readNumbers, readOptions };

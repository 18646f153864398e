'use strict';

const { RedsyncError } = require('../lib/errors.js');
const { EXIT } = require('./exit-codes.js');
const { HELP } = require('./help.js');
const { complain } = require('./messages.js');
const { UsageError, readUsage } = require('./usage.js');

const COMMANDS = {
  __proto__: null,
  run: () => require('./run.js').run,
  inspect: () => require('./inspect.js').inspect,
  list: () => require('./list.js').list,
  top: () => require('./top.js').top,
  unlock: () => require('./unlock.js').unlock,
};

const CHOICE = 'run, inspect, list, top or unlock';

/**
 * The command line.
 *
 * @param {readonly string[]} args without the program's name
 * @returns {Promise<number>} the exit code
 */
async function main([command, ...args]) {
  if (command === '--help' || command === '-h' || command === 'help') return say(helpOn(args[0]));
  if (command === '--version' || command === '-v') {
    return say(`${require('../package.json').version}\n`);
  }
  process.removeAllListeners('warning').on('warning', warn);
  // A terminal that has hung up, or a reader that has gone: what is to be done goes on without a word.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  try {
    if (command === undefined) throw new UsageError(`a command is missing: ${CHOICE}`);
    if (!(command in COMMANDS)) {
      throw new UsageError(`unknown command ${JSON.stringify(command)}: ${CHOICE}`);
    }
    const usage = readUsage(command, args, process.env);
    if (usage.help) return say(helpOn(command));
    return await COMMANDS[command]()(usage);
  } catch (error) {
    return explain(error, command);
  }
}

function helpOn(command) {
  return Object.hasOwn(HELP, command ?? '') ? HELP[command ?? ''] : HELP[''];
}

function say(text) {
  process.stdout.write(text);
  return EXIT.OK;
}

/** @returns {number} the exit code */
function explain(error, command) {
  if (error instanceof UsageError || isBadArgument(error)) {
    const more = command in COMMANDS ? `redsync ${command} --help` : 'redsync --help';
    complain(`${forPeople(error.message)}\nTry "${more}".`);
    return EXIT.USAGE;
  }
  if (!(error instanceof RedsyncError)) throw error;
  complain(error.message);
  return EXIT.FAILED;
}

/** Of the library too: without the pid and the hints of Node.js. */
function warn({ message }) {
  complain(forPeople(message));
}

/** The library says what is wrong with a URL or a name better than could be said here. */
function isBadArgument({ code }) {
  return code === 'ERR_INVALID_ARG_TYPE' || code === 'ERR_OUT_OF_RANGE';
}

/** Its arguments by their names on the command line. */
function forPeople(message) {
  return message
    .replace(/The "nodes\[(\d+)\](?:\.url)?" argument/, 'node $1')
    .replace(/The "options\.keyPrefix" argument/, '--prefix or REDSYNC_PREFIX')
    .replace(/(?:The )?"options\.(\w+)"(?: argument)?/, (_, option) => `--${kebab(option)}`)
    .replace(/The "name(?:\[0\])?" argument/, 'NAME')
    .replace('The "pattern" argument', 'PATTERN');
}

/** `holdAtLeast` as `hold-at-least`. */
function kebab(option) {
  return option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

module.exports = { main };

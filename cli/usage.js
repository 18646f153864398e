'use strict';

const { parseArgs } = require('node:util');

const { DAY } = require('../lib/fields.js');
const { MAX: MAX_PERMITS } = require('../lib/permits.js');

/** Something is wrong with the command line, or with the environment that stands for it. */
class UsageError extends Error {}

const TEXT = { type: 'string' };
const FLAG = { type: 'boolean' };
const COMMON = {
  node: { type: 'string', multiple: true },
  prefix: TEXT,
  help: { type: 'boolean', short: 'h' },
};

const OPTIONS = {
  run: {
    ...COMMON,
    wait: TEXT,
    'no-wait': FLAG,
    'conflict-exit-code': TEXT,
    expiry: TEXT,
    'hold-at-least': TEXT,
    'kill-after': TEXT,
    'pass-nodes': FLAG,
    fencing: FLAG,
    permits: TEXT,
    mode: TEXT,
  },
  inspect: { ...COMMON, timeout: TEXT, json: FLAG, permits: TEXT },
  list: { ...COMMON, timeout: TEXT, limit: TEXT, json: FLAG },
  top: { ...COMMON, timeout: TEXT, limit: TEXT, interval: TEXT },
  unlock: { ...COMMON, value: TEXT, permits: TEXT, mode: TEXT },
};

/** Commands that are about any names, or those of a PATTERN. */
const ABOUT_MANY = new Set(['list', 'top']);

/**
 * Reads what stands behind the command.
 *
 * @param {'run' | 'inspect' | 'list' | 'top' | 'unlock'} command
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @returns {object} the options by their names; name, nodes, and what stands behind `--` as program
 */
function readUsage(command, args, env) {
  const end = args.indexOf('--');
  const own = end === -1 ? args : args.slice(0, end);
  const { values, positionals } = parse(command, own);
  if (values.help) return { help: true };
  const [name, ...others] = positionals;
  if (name === undefined && !ABOUT_MANY.has(command))
    throw new UsageError('the NAME of the lock is missing');
  const program = end === -1 ? [] : args.slice(end + 1);
  if (others.length > 0) {
    const hint = command === 'run' ? '; the program goes behind "--"' : '';
    const noun = ABOUT_MANY.has(command) ? 'PATTERN' : 'NAME';
    throw new UsageError(`one ${noun} is expected, and ${quote(others[0])} is one more${hint}`);
  }
  if (command === 'run') {
    if (program.length === 0)
      throw new UsageError('the program to run is missing: it goes behind "--"');
  } else if (end !== -1) {
    throw new UsageError(`"${command}" runs no program: nothing may stand behind "--"`);
  }
  const prefix = values.prefix ?? env.REDSYNC_PREFIX;
  return { ...values, name, prefix, nodes: nodesOf(values.node, env), program };
}

function parse(command, args) {
  const options = OPTIONS[command];
  const { tokens } = parseArgs({
    args,
    options,
    tokens: true,
    strict: false,
    allowPositionals: true,
  });
  for (const token of tokens) if (token.kind === 'option') check(command, options, token);
  return parseArgs({ args, options, strict: true, allowPositionals: true });
}

/** What parseArgs() says of these is for those who write programs. */
function check(command, options, { name, rawName, value }) {
  if (!Object.hasOwn(options, name)) {
    const known = Object.keys(options)
      .map((each) => `--${each}`)
      .join(', ');
    throw new UsageError(`unknown option ${rawName}; "${command}" knows ${known}`);
  }
  const isFlag = options[name].type === 'boolean';
  if (isFlag && value !== undefined) throw new UsageError(`${rawName} takes no value`);
  // A value is never shown: it may have gone astray, and be a secret.
  if (!isFlag && (value === undefined || value.startsWith('--'))) {
    throw new UsageError(
      `${rawName} needs a value; one that begins with "-" goes as ${rawName}=VALUE`,
    );
  }
}

/** At commas before another URL: those of sentinels and clusters have commas of their own. */
const BETWEEN_URLS = /,(?=\s*(?:[a-z][a-z0-9+.-]*:\/\/|memory:))/i;

function nodesOf(given, { REDSYNC_NODES = '', REDSYNC_LOCK }) {
  const nodes =
    given ??
    REDSYNC_NODES.split(BETWEEN_URLS)
      .map((url) => url.trim())
      .filter(Boolean);
  if (nodes.length > 0) return nodes;
  const hint = REDSYNC_LOCK ? ' ("redsync run" passes it on with --pass-nodes)' : '';
  throw new UsageError(`no nodes: give --node URL once for each, or set REDSYNC_NODES${hint}`);
}

/** In milliseconds. */
const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/**
 * A duration: milliseconds, or so many of the unit behind the number, as in `500ms`, `5s`, `2m` and `1h`.
 *
 * @param {string} option
 * @param {string | undefined} text
 * @param {number} least in milliseconds
 * @returns {number | undefined} in milliseconds
 */
function milliseconds(option, text, least) {
  if (text === undefined) return undefined;
  const [, digits, unit = 'ms'] = /^(\d+)(ms|s|m|h)?$/.exec(text) ?? [];
  const time = Number(digits) * UNITS[unit];
  if (time >= least && time <= DAY) return time;
  throw new UsageError(
    `${option} must be whole milliseconds, or have a unit as in 500ms, 5s, 2m and 1h, ` +
      `from ${least} to ${DAY} milliseconds, not ${quote(text)}`,
  );
}

/**
 * @param {string | undefined} text of the option --permits
 * @returns {number | undefined}
 */
function permitCount(text) {
  return whole('--permits', text, 1, MAX_PERMITS);
}

/**
 * @param {string | undefined} text of the option --conflict-exit-code
 * @returns {number | undefined}
 */
function conflictExitCode(text) {
  return whole('--conflict-exit-code', text, 0, 255);
}

/** A number among those that are allowed, of an option that may be absent. */
function whole(option, text, least, most) {
  if (text === undefined) return undefined;
  const number = /^\d+$/.test(text) ? Number(text) : NaN;
  if (number >= least && number <= most) return number;
  throw new UsageError(
    `${option} must be a whole number from ${least} to ${most}, not ${quote(text)}`,
  );
}

function quote(text) {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}...` : text);
}

module.exports = { UsageError, readUsage, milliseconds, permitCount, conflictExitCode, whole };

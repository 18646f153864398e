'use strict';

const { validity } = require('../lib/auto-extend.js');
const { invalidType, outOfRange, typeError } = require('../lib/errors.js');
const { DAY, read } = require('../lib/fields.js');
const { settle } = require('../lib/options.js');
const { notInteger } = require('./errors.js');

/** node-redlock's. */
const DEFAULTS = Object.freeze({
  driftFactor: 0.01,
  retryCount: 10,
  retryDelay: 200,
  retryJitter: 100,
  automaticExtensionThreshold: 500,
});

/**
 * For how long the keys live at least and at most, in milliseconds: shorter, and no answer could be
 * there in time; longer, and no Date could tell the end.
 */
const SHORTEST = 20;
const LONGEST = 8e15;

/** How long a node may take to answer: a second, for long locks more, for short ones less. */
const PATIENCE = 1000;
const PATIENT_SHARE = 0.05;
const LONGEST_PATIENCE = 60_000;

/** By how much the duration has to exceed the threshold. */
const SLACK = 100;

const SHORTEST_INTERVAL = 10;

function number(min, max, expected) {
  return (argument, value) => {
    if (!(value >= min && value <= max)) throw outOfRange(argument, value, expected);
    return value;
  };
}

function driftFactor(argument, value) {
  const expected = 'a number from 0 to less than 1';
  number(0, 1, expected)(argument, value);
  if (value === 1) throw outOfRange(argument, value, expected);
  return value;
}

function retryCount(argument, value) {
  const expected = 'an integer from 0 on, or -1 or Infinity for no limit';
  const allowed = value === Infinity || (Number.isSafeInteger(value) && value >= -1);
  if (!allowed) throw outOfRange(argument, value, expected);
  return value;
}

const pause = number(0, DAY, `a number from 0 to ${DAY}`);

const RULES = {
  __proto__: null,
  driftFactor,
  retryCount,
  retryDelay: pause,
  retryJitter: pause,
  automaticExtensionThreshold: number(0, LONGEST, `a number from 0 to ${LONGEST}`),
};

/**
 * What is no setting or no number is ignored, as node-redlock does: programs that have some must go on
 * running.
 *
 * @param {unknown} input
 * @param {typeof DEFAULTS} [defaults]
 * @returns {typeof DEFAULTS}
 */
function readSettings(input, defaults = DEFAULTS) {
  if (input === undefined || input === null) return defaults;
  if (typeof input !== 'object') throw invalidType('settings', input, 'an object');
  const settings = { ...defaults };
  for (const [key, rule] of Object.entries(RULES)) {
    const value = read(input, key);
    if (typeof value === 'number') settings[key] = rule(`settings.${key}`, value);
  }
  return Object.freeze(settings);
}

/**
 * The engine's own scripts are part of what makes it right, so a function that would change one is not
 * dropped silently. What else is given node-redlock ignores, too.
 */
function refuseScripts(scripts) {
  if (scripts === undefined) return;
  if (typeof scripts !== 'object' || scripts === null) {
    throw invalidType('scripts', scripts, 'an object');
  }
  for (const key of ['acquireScript', 'extendScript', 'releaseScript']) {
    if (typeof read(scripts, key) === 'function') {
      throw typeError(`The "scripts.${key}" argument is not supported: the scripts are fixed`);
    }
  }
}

/**
 * The engine locks each name once; node-redlock could not release what it had locked twice.
 *
 * @param {string} argument
 * @param {unknown} resources
 * @returns {readonly string[]} the different ones; the engine checks them one by one
 */
function readResources(argument, resources) {
  const expected = 'a non-empty array of strings';
  if (!Array.isArray(resources)) throw invalidType(argument, resources, expected);
  if (resources.length === 0) throw outOfRange(argument, resources, expected);
  return [...new Set(resources)];
}

/** @returns {number} how long the keys live, in milliseconds */
function expiryOf(duration) {
  if (!Number.isInteger(duration)) throw notInteger(duration);
  if (duration < 1) throw outOfRange('duration', duration, 'at least 1');
  return Math.min(Math.max(duration, SHORTEST), LONGEST);
}

/** How much longer the keys live than they were wanted to, in milliseconds. */
function surplusOf(duration) {
  return Math.max(0, SHORTEST - duration);
}

/**
 * The settings of the engine for a lock of this duration.
 *
 * @param {unknown} duration
 * @param {typeof DEFAULTS} settings
 */
function mutexSettings(duration, settings) {
  return settle(mutexOptions(duration, settings));
}

function mutexOptions(duration, settings) {
  const expiry = expiryOf(duration);
  // The engine wants some drift; this much is none.
  const drift = Math.max(settings.driftFactor, Number.EPSILON);
  const patience = Math.min(Math.max(PATIENCE, PATIENT_SHARE * expiry), LONGEST_PATIENCE);
  const options = {
    expiry,
    tries: 1,
    driftFactor: drift,
    timeoutFactor: Math.min(patience / expiry, (1 - drift) / 2),
  };
  if (validity(options) <= 1) {
    const expected = `long enough for a driftFactor of ${settings.driftFactor} to leave some validity`;
    throw outOfRange('duration', duration, expected);
  }
  return options;
}

/**
 * The settings for a release. The engine asks nodes that do not answer again for as long as the key
 * may be there.
 *
 * @param {number} remaining milliseconds
 * @param {typeof DEFAULTS} settings
 */
function releaseSettings(remaining, settings) {
  const life = Math.min(Math.max(Math.ceil(remaining) || 0, 2 * PATIENCE), LONGEST);
  return mutexSettings(life, settings);
}

/**
 * The settings for a lock that is kept alive: extended when so much of it is left as the settings say,
 * or earlier if a node could otherwise take too long to answer.
 */
function extendedSettings(duration, settings) {
  const options = mutexOptions(duration, settings);
  const { automaticExtensionThreshold: threshold } = settings;
  if (threshold > duration - SLACK) {
    const expected = `at least ${SLACK} ms longer than the automaticExtensionThreshold of ${threshold} ms`;
    throw outOfRange('duration', duration, expected);
  }
  const wanted = validity({ ...options, timeoutFactor: 0 }) - threshold;
  const latest = 0.9 * validity(options);
  const interval = Math.floor(Math.min(Math.max(wanted, SHORTEST_INTERVAL), latest));
  return settle({ ...options, autoExtend: { interval: Math.max(1, interval) } });
}

module.exports = {
  extendedSettings,
  mutexSettings,
  readResources,
  readSettings,
  refuseScripts,
  releaseSettings,
  surplusOf,
};

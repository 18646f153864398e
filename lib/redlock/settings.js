'use strict';

const { validity } = require('../auto-extend.js');
const { invalidType, outOfRange, typeError } = require('../errors.js');
const { integer } = require('../fields.js');

const DAY = 86_400_000;

/** node-redlock's. */
const DEFAULTS = Object.freeze({
  driftFactor: 0.01,
  retryCount: 10,
  retryDelay: 200,
  retryJitter: 100,
  automaticExtensionThreshold: 500,
});

/** How long a node may take to answer: a second, for long locks more, for short ones less. */
const PATIENCE = 1000;
const PATIENT_SHARE = 0.05;

/** By how much the duration has to exceed the threshold. */
const SLACK = 100;

const SHORTEST_INTERVAL = 10;

function number(min, max, expected) {
  return (argument, value) => {
    if (typeof value !== 'number') throw invalidType(argument, value, expected);
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
  if (typeof value !== 'number') throw invalidType(argument, value, expected);
  const allowed = value === Infinity || (Number.isSafeInteger(value) && value >= -1);
  if (!allowed) throw outOfRange(argument, value, expected);
  return value;
}

const milliseconds = number(0, DAY, `a number from 0 to ${DAY}`);

const RULES = {
  __proto__: null,
  driftFactor,
  retryCount,
  retryDelay: milliseconds,
  retryJitter: milliseconds,
  automaticExtensionThreshold: milliseconds,
};

/**
 * Unknown settings are ignored, as node-redlock does: programs that have some must go on running.
 *
 * @param {unknown} input
 * @param {typeof DEFAULTS} [defaults]
 * @returns {typeof DEFAULTS}
 */
function readSettings(input, defaults = DEFAULTS) {
  if (input === undefined) return defaults;
  if (typeof input !== 'object' || input === null) {
    throw invalidType('settings', input, 'an object');
  }
  const settings = { ...defaults };
  for (const [key, rule] of Object.entries(RULES)) {
    const value = input[key];
    if (value !== undefined) settings[key] = rule(`settings.${key}`, value);
  }
  return Object.freeze(settings);
}

/** The engine's own scripts are part of what makes it right. A custom one is not dropped silently. */
function refuseScripts(scripts) {
  if (scripts === undefined) return;
  if (typeof scripts !== 'object' || scripts === null) {
    throw invalidType('scripts', scripts, 'an object');
  }
  for (const key of ['acquireScript', 'extendScript', 'releaseScript']) {
    if (scripts[key] !== undefined) {
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

const wholeDuration = integer(1, DAY);

/**
 * The options of the engine for a lock of this duration.
 *
 * @param {unknown} duration
 * @param {typeof DEFAULTS} settings
 */
function mutexOptions(duration, settings) {
  const expiry = wholeDuration('duration', duration);
  // The engine wants some drift; this much is none.
  const drift = Math.max(settings.driftFactor, Number.EPSILON);
  const patience = Math.max(PATIENCE / expiry, PATIENT_SHARE);
  const options = {
    expiry,
    tries: 1,
    driftFactor: drift,
    timeoutFactor: Math.min(patience, (1 - drift) / 2),
  };
  if (validity(options) <= 1) {
    const expected = `long enough for a driftFactor of ${settings.driftFactor} to leave some validity`;
    throw outOfRange('duration', duration, expected);
  }
  return options;
}

/**
 * The options for a release. The engine asks nodes that do not answer again for as long as the key
 * may be there.
 *
 * @param {number} remaining milliseconds
 * @param {typeof DEFAULTS} settings
 */
function releaseOptions(remaining, settings) {
  const expiry = Math.min(Math.max(Math.ceil(remaining) || 0, 2 * PATIENCE), DAY);
  return mutexOptions(expiry, settings);
}

/**
 * The options for a lock that is kept alive: extended when so much of it is left as the settings say,
 * or earlier if a node could otherwise take too long to answer.
 */
function extendedOptions(duration, settings) {
  const options = mutexOptions(duration, settings);
  const { automaticExtensionThreshold: threshold } = settings;
  if (threshold > duration - SLACK) {
    const expected = `at least ${SLACK} ms longer than the automaticExtensionThreshold of ${threshold} ms`;
    throw outOfRange('duration', duration, expected);
  }
  const wanted = validity({ ...options, timeoutFactor: 0 }) - threshold;
  const latest = 0.9 * validity(options);
  const interval = Math.floor(Math.min(Math.max(wanted, SHORTEST_INTERVAL), latest));
  return { ...options, autoExtend: { interval: Math.max(1, interval) } };
}

module.exports = {
  extendedOptions,
  mutexOptions,
  readResources,
  readSettings,
  refuseScripts,
  releaseOptions,
};

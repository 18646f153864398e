'use strict';

const { isUint8Array } = require('node:util/types');

const { matching, HOST_NAME } = require('./addresses.js');
const { typeError, invalidType, outOfRange } = require('./errors.js');
const { readFields } = require('./fields.js');

const MIB = 1024 * 1024;

/** @returns {string} whatever the caller does to the buffer later */
function pem(argument, value) {
  if (typeof value !== 'string' && !isUint8Array(value)) {
    throw invalidType(argument, value, 'PEM in a string or a Buffer', true);
  }
  // The length first: what is too large is turned down without being read.
  const content = value.length > MIB ? '' : toText(value);
  const fits = Buffer.byteLength(content) <= MIB && content.isWellFormed();
  if (!fits || !/^-----BEGIN /m.test(content)) {
    throw outOfRange(argument, value, 'PEM ("-----BEGIN ...") of at most 1 MiB', true);
  }
  return content;
}

function toText(value) {
  if (typeof value === 'string') return value;
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString();
}

function notSwitchable(argument) {
  throw typeError(
    `The "${argument}" argument is unknown: ` +
      'certificates are always verified; give the authority in tls.ca',
  );
}

const RULES = {
  __proto__: null,
  ca: pem,
  cert: pem,
  key: pem,
  servername: matching(HOST_NAME, 'a host name in ASCII'),
};

const ALL_RULES = { __proto__: null, ...RULES, rejectUnauthorized: notSwitchable };

const ALL_KEYS = Object.keys(ALL_RULES);
const SHOWING = { secret: true, listed: Object.keys(RULES) };

/** @typedef {{ ca?: string, cert?: string, key?: string, servername?: string }} Tls */

/** @type {Readonly<Tls>} the authorities of the system, the name of the host */
const TLS = Object.freeze({
  ca: undefined,
  cert: undefined,
  key: undefined,
  servername: undefined,
});

/**
 * The rule of the `tls` option.
 *
 * @returns {Readonly<Tls> | false}
 */
function tls(argument, value) {
  if (typeof value === 'boolean') return value && TLS;
  if (typeof value !== 'object' || value === null || isUint8Array(value) || Array.isArray(value)) {
    throw invalidType(argument, value, 'a boolean or an object', true);
  }
  const fields = readFields(argument, value, ALL_RULES, ALL_KEYS, SHOWING);
  const { ca, cert, key, servername } = fields;
  if ((cert === undefined) !== (key === undefined)) {
    throw typeError(`The "${argument}" argument must have both "cert" and "key", or neither`);
  }
  return Object.freeze({ ca, cert, key, servername });
}

module.exports = { TLS, tls };

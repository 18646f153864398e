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
    `The "${argument}" argument is unknown: certificates are always verified; ` +
      'give the authority in tls.ca, or pin the certificate by tls.fingerprint256',
  );
}

const MAX_PINS = 64;

const FINGERPRINT = /^(?:[\da-f]{2}(?::[\da-f]{2}){31}|[\da-f]{64})$/i;

/** @returns {readonly string[]} as Node.js prints them, in an order that does not depend on who gives them */
function fingerprints(argument, value) {
  if (!Array.isArray(value)) return Object.freeze([fingerprint(argument, value)]);
  const { length } = value;
  if (length < 1 || length > MAX_PINS) {
    throw typeError(
      `The "${argument}" argument must be one fingerprint or an array of 1 to ${MAX_PINS}. ` +
        `Received an array of ${length}`,
    );
  }
  const readOne = (_, i) => fingerprint(`${argument}[${i}]`, value[i]);
  const all = Array.from({ length }, readOne);
  return Object.freeze([...new Set(all)].sort());
}

/** What is no fingerprint may be anything, a key too: so its length is told, and nothing of its content. */
function fingerprint(argument, value) {
  const expected =
    'the SHA-256 of a certificate, 32 bytes in hexadecimal as "AA:BB:..." or without colons';
  if (typeof value !== 'string') throw invalidType(argument, value, expected, true);
  if (value.length > 95 || !FINGERPRINT.test(value)) {
    throw typeError(
      `The "${argument}" argument must be ${expected}. Received a string of ${value.length} characters`,
    );
  }
  return value.replaceAll(':', '').toUpperCase().match(/../g).join(':');
}

const RULES = {
  __proto__: null,
  ca: pem,
  fingerprint256: fingerprints,
  cert: pem,
  key: pem,
  servername: matching(HOST_NAME, 'a host name in ASCII'),
};

const ALL_RULES = { __proto__: null, ...RULES, rejectUnauthorized: notSwitchable };

const ALL_KEYS = Object.keys(ALL_RULES);
const SHOWING = { secret: true, listed: Object.keys(RULES) };

/** @typedef {{ ca?: string, fingerprint256?: readonly string[], cert?: string, key?: string, servername?: string }} Tls */

/** @type {Readonly<Tls>} the authorities of the system, the name of the host */
const TLS = Object.freeze({
  ca: undefined,
  fingerprint256: undefined,
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
  const { ca, fingerprint256, cert, key, servername } = fields;
  if ((cert === undefined) !== (key === undefined)) {
    throw typeError(`The "${argument}" argument must have both "cert" and "key", or neither`);
  }
  if (ca !== undefined && fingerprint256 !== undefined) {
    throw typeError(
      `The "${argument}" argument must have either "ca" or "fingerprint256": a pin asks no authority`,
    );
  }
  return Object.freeze({ ca, fingerprint256, cert, key, servername });
}

module.exports = { TLS, tls };

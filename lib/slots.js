'use strict';

const { typeError } = require('./errors.js');

const SLOTS = 16384;
const MAX_SHOWN = 40;

// CRC-16/XMODEM: polynomial x^16 + x^12 + x^5 + 1, the highest bit first.
const CRC_OF_BYTE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = (crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0);
  return crc;
});

/**
 * @param {string} key
 * @returns {number} the slot of a Redis Cluster that the key belongs to
 */
function slotOf(key) {
  let crc = 0;
  for (const byte of Buffer.from(hashed(key))) {
    crc = ((crc << 8) & 0xffff) ^ CRC_OF_BYTE[(crc >> 8) ^ byte];
  }
  return crc % SLOTS;
}

/** What is between the first { and the next }, unless that is nothing: then the whole key. */
function hashed(key) {
  const open = key.indexOf('{');
  const close = open < 0 ? -1 : key.indexOf('}', open);
  return close > open + 1 ? key.slice(open + 1, close) : key;
}

/**
 * A Redis Cluster can take several keys together only if they are in one slot.
 *
 * @param {readonly string[]} names
 * @param {readonly string[]} keys what the names are in Redis
 */
function requireOneSlot(names, keys) {
  const slot = slotOf(keys[0]);
  const other = keys.findIndex((key) => slotOf(key) !== slot);
  if (other < 0) return;
  const [one, two] = [names[0], names[other]];
  throw typeError(
    'The "name" argument must be names of one slot, since a node is a Redis Cluster: ' +
      `${quote(one)} and ${quote(two)} are in different ones. ` +
      `A common tag puts them together: ${quote(`{tag}${one}`)}, ${quote(`{tag}${two}`)}`,
  );
}

/** Is there a part in braces that alone decides about the slot? */
function hasTag(key) {
  return hashed(key) !== key;
}

/**
 * What a node keeps beside a name, such as its last fencing token or its readers, is in the slot of the name:
 * see src/node/side_keys.rs. What a client puts in front of all keys is not known there.
 *
 * @param {readonly string[]} names
 * @param {readonly string[]} keys what the names are in Redis
 * @param {boolean} isPrefixed does a client put something in front of them?
 */
function requireTags(names, keys, isPrefixed) {
  const bad = keys.findIndex((key) => (isPrefixed || key.includes('}')) && !hasTag(key));
  if (bad < 0) return;
  const name = quote(names[bad]);
  throw typeError(
    isPrefixed
      ? 'The "name" argument must have a tag, with fencing or a mode on a Redis Cluster over a client with a keyPrefix: ' +
          `${quote(`{tag}${names[bad]}`)}, and not ${name}. Or give the Redsync the keyPrefix instead`
      : `The "name" argument must have no "}", or a tag, with fencing or a mode on a Redis Cluster: ${name} ` +
          'has no slot that another key can be put in',
  );
}

function quote(name) {
  return JSON.stringify(name.slice(0, MAX_SHOWN)) + (name.length > MAX_SHOWN ? '...' : '');
}

module.exports = { slotOf, hasTag, requireOneSlot, requireTags };

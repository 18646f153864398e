'use strict';

// What the scripts answer, as clients hand it on: each has its own settings for that.

/** What inspect.lua tells: the milliseconds that are left, and the value. */
const INSPECTION = /^(-?\d{1,19}) (.*)$/s;

/** The integers of Redis may come as strings, or as bigints. */
function integer(reply) {
  if (typeof reply === 'number') return reply;
  if (typeof reply === 'bigint') return Number(reply);
  return typeof reply === 'string' && /^-?\d{1,16}$/.test(reply) ? Number(reply) : undefined;
}

/** Strings may come as buffers. `''` for anything else: no script answers that. */
function text(reply) {
  if (typeof reply === 'string') return reply;
  try {
    return Buffer.isBuffer(reply) ? Buffer.prototype.toString.call(reply) : '';
  } catch {
    return ''; // a proxy can refuse to say what it is
  }
}

module.exports = { INSPECTION, integer, text };

'use strict';

// Patterns as SCAN has them, byte by byte: `*`, `?`, `[a-z]`, `[^a]`, and `\` before any of these. Servers differ in
// how long they may take for one with many stars; this takes the length of the pattern times that of the name.

const STAR = Symbol('any number of bytes');

/**
 * A pattern that this text alone matches.
 *
 * @param {string} text
 */
function literal(text) {
  return text.replace(/[\\*?[]/g, '\\$&');
}

/**
 * @param {string} pattern
 * @returns {(name: string) => boolean}
 */
function matcher(pattern) {
  const parts = parse(Buffer.from(pattern));
  return (name) => matches(parts, Buffer.from(name));
}

/** @returns {(STAR | ((byte: number) => boolean))[]} */
function parse(pattern) {
  const parts = [];
  for (let at = 0; at < pattern.length; at++) {
    const char = charAt(pattern, at);
    if (char === '*') {
      if (parts.at(-1) !== STAR) parts.push(STAR);
    } else if (char === '?') {
      parts.push(() => true);
    } else if (char === '[') {
      const [part, end] = parseSet(pattern, at + 1);
      parts.push(part);
      at = end;
    } else {
      if (char === '\\' && at + 1 < pattern.length) at++;
      parts.push(oneOf([[pattern[at], pattern[at]]]));
    }
  }
  return parts;
}

/** A set from behind its bracket on, and where it ends; without an end it is all of the rest. */
function parseSet(pattern, start) {
  const isNegated = charAt(pattern, start) === '^';
  const ranges = [];
  let at = isNegated ? start + 1 : start;
  for (; at < pattern.length && charAt(pattern, at) !== ']'; at++) {
    if (charAt(pattern, at) === '\\' && at + 1 < pattern.length) {
      at++;
      ranges.push([pattern[at], pattern[at]]);
    } else if (at + 2 < pattern.length && charAt(pattern, at + 1) === '-') {
      ranges.push([pattern[at], pattern[at + 2]]);
      at += 2;
    } else {
      ranges.push([pattern[at], pattern[at]]);
    }
  }
  const isOne = oneOf(ranges);
  return [isNegated ? (byte) => !isOne(byte) : isOne, at];
}

function charAt(bytes, at) {
  return String.fromCharCode(bytes[at]);
}

function oneOf(ranges) {
  return (byte) =>
    ranges.some(([one, other]) => byte >= Math.min(one, other) && byte <= Math.max(one, other));
}

function matches(parts, name) {
  let part = 0;
  let at = 0;
  let star = -1; // the last one that was met, and what it takes of the name ends here
  let taken = 0;
  while (at < name.length) {
    if (parts[part] === STAR) {
      star = part++;
      taken = at;
    } else if (part < parts.length && parts[part](name[at])) {
      part++;
      at++;
    } else if (star >= 0) {
      part = star + 1;
      at = ++taken;
    } else {
      return false;
    }
  }
  while (parts[part] === STAR) part++;
  return part === parts.length;
}

module.exports = { literal, matcher };

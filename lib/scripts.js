'use strict';

const { createHash } = require('node:crypto');

const native = require('./addon.js');

/**
 * @param {string} source in Lua
 * @returns {Readonly<{ source: string, sha1: string }>}
 */
function newScript(source) {
  return Object.freeze({ source, sha1: createHash('sha1').update(source).digest('hex') });
}

/** The texts that the nodes of the addon run, so that the wire is the same over every client. */
const SCRIPTS = Object.freeze(
  Object.fromEntries(
    Object.entries(native.scripts()).map(([name, source]) => [name, newScript(source)]),
  ),
);

module.exports = { SCRIPTS, newScript };

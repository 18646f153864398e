'use strict';

/**
 * Rows of cells, the first of which are the titles, as lines of equal columns.
 *
 * @param {readonly (readonly string[])[]} rows
 * @returns {string[]}
 */
function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]))
      .join('  ')
      .trimEnd(),
  );
}

/** A name or a value may be anybody's, and a terminal obeys what it is told. */
function shown(value = '') {
  return /^[!-~]*$/.test(value) ? value : quoted(value);
}

function quoted(text) {
  return JSON.stringify(text).replace(/[^ -~]/g, escape);
}

function escape(character) {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** @param {number | undefined} remaining in milliseconds */
function left(remaining) {
  if (remaining === undefined) return '';
  return remaining === Infinity ? 'no expiry' : `${(remaining / 1000).toFixed(1)} s`;
}

module.exports = { left, quoted, shown, table };

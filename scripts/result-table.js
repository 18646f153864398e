'use strict';

// Tables of results in the README, between `<!-- name -->` and `<!-- /name -->`.

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');

const { SetupError } = require('./setup.js');

const README = path.join(__dirname, '..', 'README.md');

/** The command line of a script that makes a table: names of rows, all of them if none; `--write`. */
function readCommandLine(names, options = {}) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { write: { type: 'boolean', default: false }, ...options },
  });
  const unknown = positionals.filter((name) => !names.includes(name));
  if (unknown.length > 0) {
    throw new SetupError(`unknown: ${unknown.join(', ')}; expected some of: ${names.join(', ')}`);
  }
  return { ...values, names: positionals.length > 0 ? positionals : names };
}

function markdown(header, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(header), `|${'---|'.repeat(header.length)}`, ...rows.map(line)].join('\n');
}

/** Cells of the rows of a table, by the first of them. */
function rowsByName(table) {
  const rows = table.split('\n').slice(2).map((line) => line.split('|').slice(1, -1).map((cell) => cell.trim()));
  return new Map(rows.map((row) => [row[0], row]));
}

/** Prints the table. */
function print(header, rows) {
  console.log(`\n${markdown(header, rows)}`);
}

/** Puts rows into a table of the README; rows of other `names` are left as they were. */
function write(name, header, names, rows) {
  const readme = fs.readFileSync(README, 'utf8');
  const place = new RegExp(`(<!-- ${name} -->\n)([^]*?)(\n<!-- /${name} -->)`);
  if (!place.test(readme)) throw new Error(`the README has no place for the table "${name}"`);
  fs.writeFileSync(README, readme.replace(place, (_, start, table, end) => {
    const known = rowsByName(table);
    for (const row of rows) known.set(row[0], row);
    const all = names.filter((name) => known.has(name)).map((name) => known.get(name));
    return start + markdown(header, all) + end;
  }));
}

module.exports = { print, readCommandLine, write };

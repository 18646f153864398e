'use strict';

// Tables of results in docs/platforms.md, between `<!-- name -->` and `<!-- /name -->`.

const fs = require('node:fs');
const path = require('node:path');

const { render } = require('../tools/tables.js');

const PAGE = path.join(__dirname, '..', 'docs', 'platforms.md');

function markdown(header, rows) {
  return render(header, rows, { align: '---' });
}

/** Cells of the rows of a table, by the first of them. */
function rowsByName(table) {
  const rows = table
    .split('\n')
    .slice(2)
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  return new Map(rows.map((row) => [row[0], row]));
}

/** Puts rows into a table of the page; rows of other `names` are left as they were. */
function write(name, header, names, rows) {
  const page = fs.readFileSync(PAGE, 'utf8');
  const place = new RegExp(`(<!-- ${name} -->\n)([^]*?)(\n<!-- /${name} -->)`);
  if (!place.test(page)) throw new Error(`docs/platforms.md has no place for the table "${name}"`);
  fs.writeFileSync(
    PAGE,
    page.replace(place, (_, start, table, end) => {
      const known = rowsByName(table);
      for (const row of rows) known.set(row[0], row);
      const all = names.filter((name) => known.has(name)).map((name) => known.get(name));
      return start + markdown(header, all) + end;
    }),
  );
}

/**
 * Prints a table, and writes it if that is wanted; the program has failed if a row has.
 *
 * @param {string} name of the table in docs/platforms.md
 * @param {string[]} header
 * @param {string[]} names of all rows that it may have
 * @param {{ row: string[], succeeded: boolean }[]} results
 * @param {boolean} isWritten
 */
function publish(name, header, names, results, isWritten) {
  const rows = results.map(({ row }) => row);
  console.log(`\n${markdown(header, rows)}`);
  if (isWritten) write(name, header, names, rows);
  if (!results.every(({ succeeded }) => succeeded)) process.exitCode = 1;
}

module.exports = { publish };

'use strict';

// Tables of results in the README, between `<!-- name -->` and `<!-- /name -->`.

const fs = require('node:fs');
const path = require('node:path');

const README = path.join(__dirname, '..', 'README.md');

function markdown(header, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(header), `|${'---|'.repeat(header.length)}`, ...rows.map(line)].join('\n');
}

/** Prints the table; with `--write` on the command line it also goes into the README. */
function publish(name, header, rows) {
  const table = markdown(header, rows);
  console.log(`\n${table}`);
  if (!process.argv.includes('--write')) return;
  const readme = fs.readFileSync(README, 'utf8');
  const place = new RegExp(`(<!-- ${name} -->\n)[^]*?(\n<!-- /${name} -->)`);
  if (!place.test(readme)) throw new Error(`the README has no place for the table "${name}"`);
  fs.writeFileSync(README, readme.replace(place, (_, start, end) => start + table + end));
}

module.exports = { publish };

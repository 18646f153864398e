'use strict';

/** A table in Markdown. `align` is that of all columns but the first: figures stand to the right, texts do not. */
function render(head, rows, { align = '--:' } = {}) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const rule = `|---|${`${align}|`.repeat(head.length - 1)}`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

module.exports = { render };

'use strict';

// `npm run bench`: see HELP in arguments.js.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { announce, main, root } = require('../tools/setup.js');
const { drawCharts } = require('./charts.js');
const { AT_ONCE, compare } = require('./compare.js');
const { describeMachine } = require('./machine.js');
const { HELP, readOptions } = require('./arguments.js');
const { renderPage } = require('./page.js');
const { prepare } = require('./prepare.js');
const { pointTable, pointTitle } = require('./tables.js');

const PAGE = path.join(root, 'docs', 'benchmarks.md');
const BUSY = 0.3;

function warnIfBusy() {
  const [load] = os.loadavg();
  if (load < BUSY) return;
  announce(`warning: the machine is busy (load ${load.toFixed(1)}), which changes the figures`);
}

async function measureAll(options) {
  const points = [];
  const total = options.nodes.length * AT_ONCE.length;
  await compare({
    ...options,
    onPoint(point) {
      points.push(point);
      announce(`${points.length}/${total} ${pointTitle(point)}`);
      console.log(`\n${pointTable(point)}\n`);
    },
  });
  return points;
}

function write(file, text) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
  announce(`wrote ${path.relative(process.cwd(), file)}`);
}

function writePage(run) {
  const charts = drawCharts(run.points);
  for (const { file, svg } of charts) write(path.join(path.dirname(PAGE), file), svg);
  const old = fs.existsSync(PAGE) ? fs.readFileSync(PAGE, 'utf8') : '';
  write(PAGE, renderPage({ run, charts, old }));
}

main(async () => {
  const options = readOptions(process.argv.slice(2));
  if (options.help) return console.log(HELP);
  prepare({ withRust: options.contenders.some(({ isRust }) => isRust) });
  warnIfBusy();
  const { rounds, duration } = options;
  const machine = describeMachine();
  const points = await measureAll(options);
  const run = { date: new Date().toISOString(), machine, rounds, duration, points };
  if (options.json) write(path.resolve(options.json), `${JSON.stringify(run, null, 2)}\n`);
  if (options.write) writePage(run);
});

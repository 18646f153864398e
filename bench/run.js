'use strict';

// `npm run bench`: see HELP in options.js.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { SetupError, announce, main, root } = require('../scripts/setup.js');
const { AT_ONCE, compare } = require('./compare.js');
const { HELP, readOptions } = require('./options.js');
const { prepare } = require('./prepare.js');

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
  // They need what prepare() installs.
  const { pointTable, pointTitle } = require('./tables.js');
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
  announce(`wrote ${path.relative(root, file)}`);
}

function report(run, options) {
  const { charts } = require('./charts.js');
  const { page } = require('./page.js');
  if (options.json) write(path.resolve(options.json), `${JSON.stringify(run, null, 2)}\n`);
  if (!options.write) return;
  const drawn = charts(run.points);
  for (const { file, svg } of drawn) write(path.join(path.dirname(PAGE), file), svg);
  const old = fs.existsSync(PAGE) ? fs.readFileSync(PAGE, 'utf8') : '';
  write(PAGE, page({ run, charts: drawn, old }));
}

main(async () => {
  const options = readOptions(process.argv.slice(2));
  if (options.help) return console.log(HELP);
  if (process.platform === 'win32') throw new SetupError('the benchmark needs redis-server');
  prepare({ withRust: options.contenders.some(({ id }) => id.startsWith('rust')) });
  warnIfBusy();
  const { machine } = require('./machine.js');
  const { rounds, duration } = options;
  const points = await measureAll(options);
  report({ date: new Date().toISOString(), rounds, duration, machine: machine(), points }, options);
});

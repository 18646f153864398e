'use strict';

// `npm run bench:contended`: several processes want one key.

const { readNumbers } = require('../tools/command-line.js');
const { SetupError, main } = require('../tools/setup.js');
const { render } = require('../tools/tables.js');
const { CONTENDERS, contend, isOfGo } = require('./contention.js');
const { prepare } = require('./prepare.js');
const { shown } = require('./statistics.js');

const DEFAULTS = {
  nodes: 3,
  processes: 2,
  waiters: 8,
  hold: 1,
  think: 5,
  duration: 5000,
  rounds: 1,
};

const USUAL = ['redsync', 'redlock', 'redis-semaphore'];

const HELP = `Usage: npm run bench:contended -- [options] [LIBRARY…]

Several processes with several waiters each want one key, of each library in turn, so many rounds. Without
any: ${USUAL.join(', ')}. Others: ${CONTENDERS.filter((name) => !USUAL.includes(name)).join(', ')}; the last two
are Go, and for one node.

${Object.entries(DEFAULTS)
  .map(([name, value]) => `  --${name} N  (default ${value})`)
  .join('\n')}
`;

main(async () => {
  const args = process.argv.slice(2);
  const given = args.filter((arg) => CONTENDERS.includes(arg));
  const options = readNumbers(
    args.filter((arg) => !CONTENDERS.includes(arg)),
    DEFAULTS,
  );
  if (options.help) return console.log(HELP);
  const names = given.length > 0 ? given : USUAL;
  if (options.nodes > 1 && names.some(isOfGo)) {
    throw new SetupError('rueidislock is for one node: --nodes 1');
  }
  prepare({ withGo: names.some(isOfGo) });
  const all = names.map(() => []);
  for (let round = 0; round < options.rounds; round++) {
    for (const [i, name] of names.entries()) all[i].push(await contend(name, options));
  }
  const rows = Object.keys(all[0][0]).map((figure) => [
    figure,
    ...all.map((runs) => shown(runs.map((run) => run[figure]))),
  ]);
  console.log(
    `${options.processes} processes x ${options.waiters} waiters, ${options.nodes} nodes, ` +
      `held ${options.hold} ms, ${options.think} ms of thinking, for ${options.duration} ms\n`,
  );
  console.log(render(['', ...names], rows));
});

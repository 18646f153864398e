'use strict';

// `npm run bench:stages`: see HELP.

const { announce, main } = require('../tools/setup.js');
const { count, readOptions } = require('../tools/command-line.js');
const { startServers } = require('../tools/redis-servers.js');
const { render } = require('../tools/tables.js');
const { Contender } = require('./contender.js');
const { CONTENDERS, library } = require('./contenders.js');
const { prepare } = require('./prepare.js');
const { figure } = require('./tables.js');

const DURATION = 400;
const HELP = `Usage: npm run bench:stages -- [options]

Where the time of a lock and its release goes: programs that go less and less of its way, in turns, each in a process of
its own.

  --rounds N  (default 9)
  --nodes N   numbers of nodes, separated by commas (default 1,3)
`;

const known = (id) => CONTENDERS.find((contender) => contender.id === id);

/** From the whole way to its parts. */
const STAGES = [
  ['lock and release: JavaScript, engine, servers, and back', known('redsync')],
  ['the same, which goes on with the answers of a quorum', known('redsync-fail-fast')],
  [
    'JavaScript, engine, and back: nodes in memory',
    library('redsync-in-memory', 'redsync in memory'),
  ],
  ['servers, and back to a thread that waits: Rust alone', known('rust')],
  ['servers, and back to the event loop: ioredis by hand', known('ioredis')],
];
const AT_ONCE = { 1: 'p50, µs', 64: 'µs a cycle', 512: 'µs a cycle' };

/** Microseconds: of one cycle if there is one at a time, else from one to the next. */
const timeOf = ({ p50, elapsed, cycles }) => p50 ?? elapsed / cycles;

async function measure(nodes, rounds) {
  const servers = await startServers(nodes);
  const running = STAGES.map(([, contender]) => new Contender(contender));
  try {
    for (const contender of running) await contender.connect(servers.map(({ url }) => url));
    const cells = running.map(() => []);
    for (const atOnce of Object.keys(AT_ONCE)) {
      const times = running.map(() => []);
      for (let round = -1; round < rounds; round++) {
        for (const [i, contender] of running.entries()) {
          const time = timeOf(await contender.run(atOnce, DURATION));
          if (round >= 0) times[i].push(time);
        }
      }
      times.forEach((all, i) => cells[i].push(figure(all)));
    }
    return cells;
  } finally {
    running.forEach((contender) => contender.kill());
    await Promise.all(servers.map((server) => server.stop()));
  }
}

main(async () => {
  const text = (by) => ({ type: 'string', default: by });
  const options = { rounds: text('9'), nodes: text('1,3') };
  const { help, ...given } = readOptions(process.argv.slice(2), options);
  if (help) return console.log(HELP);
  const rounds = count(given.rounds, '--rounds', 1000);
  const sizes = given.nodes.split(',').map((size) => count(size, '--nodes', 64));
  prepare({ withRust: true });
  for (const nodes of sizes) {
    announce(nodes === 1 ? '1 node' : `${nodes} nodes`);
    const cells = await measure(nodes, rounds);
    const head = ['', ...Object.entries(AT_ONCE).map(([atOnce, unit]) => `${atOnce}: ${unit}`)];
    const rows = STAGES.map(([title], i) => [title, ...cells[i]]);
    console.log(render(head, rows));
  }
});

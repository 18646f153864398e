'use strict';

const { count, fail, readOptions: read } = require('../tools/command-line.js');
const { CONTENDERS } = require('./contenders.js');

const IDS = CONTENDERS.map(({ id }) => id);
const NODES = [1, 3, 5];

// Milliseconds. A warm-up comes before the first round, a short one before each.
const FULL = { rounds: 5, duration: 1000, warmUp: 100, firstWarmUp: 500 };
const QUICK = { rounds: 3, duration: 150, warmUp: 30, firstWarmUp: 100 };

const HELP = `Usage: npm run bench -- [options]

Compares redsync with other libraries, and writes docs/benchmarks.md and its charts.

  --quick        ${QUICK.rounds} short rounds: ends in under two minutes, for a first look
  --only LIST    only these, separated by commas:
                 ${IDS.slice(0, 5).join(', ')},
                 ${IDS.slice(5).join(', ')}
  --nodes LIST   numbers of Redis nodes, separated by commas (default ${NODES})
  --rounds N     rounds (default ${FULL.rounds}, with --quick ${QUICK.rounds})
  --json FILE    writes what was measured in every round
  --write        writes docs/benchmarks.md even though --quick, --only or --nodes is given;
                 without it, they only print
  --help         prints this
`;

function chosen(list = IDS.join()) {
  const ids = list.split(',');
  for (const id of ids) if (!IDS.includes(id)) fail(`--only: there is no "${id}"`);
  return CONTENDERS.filter(({ id }) => ids.includes(id));
}

/** What the command line asks for; throws a SetupError with one line for the user. */
function readOptions(args) {
  const { quick, only, nodes, rounds, json, write, help } = read(args, {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    nodes: { type: 'string' },
    rounds: { type: 'string' },
    json: { type: 'string' },
    write: { type: 'boolean', default: false },
  });
  const plan = quick ? QUICK : FULL;
  return {
    ...plan,
    help,
    json,
    // A page of half the figures, or of rough ones, must not replace a good one by accident.
    write: write || !(quick || only || nodes),
    contenders: chosen(only),
    nodes: nodes ? nodes.split(',').map((text) => count(text, '--nodes', 64)) : NODES,
    rounds: rounds ? count(rounds, '--rounds', 1000) : plan.rounds,
  };
}

module.exports = { HELP, readOptions };

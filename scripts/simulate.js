'use strict';

// `npm run simulate`: the engine under as many adversarial schedules as asked for.

const { readNumbers } = require('../tools/command-line.js');
const { main, requireCargo, run } = require('../tools/setup.js');

const DEFAULTS = { schedules: 1_000_000, first: undefined, seed: undefined };
const HELP = `Usage: npm run simulate -- [options]

Runs the engine under adversarial schedules: see docs/correctness.md. Prints schedules per second,
the faults injected, and the seed of any schedule that has violated an invariant.

  --schedules N  how many (default ${DEFAULTS.schedules})
  --first N      the seed of the first one (default 0); the others follow
  --seed N       runs only this one, and tells what happens in it
  --help         prints this
`;

main(() => {
  const { help, schedules, first, seed } = readNumbers(process.argv.slice(2), DEFAULTS);
  if (help) return console.log(HELP);
  requireCargo();
  run(
    'cargo',
    [
      'test',
      '--release',
      '--locked',
      '--package',
      'redsync-engine',
      '--test',
      'simulation',
      'no_schedule_violates_an_invariant',
      '--',
      '--exact',
      '--nocapture',
    ],
    {
      SCHEDULES: schedules,
      FIRST_SEED: first ?? 0,
      ...(seed === undefined ? {} : { SEED: seed }),
    },
  );
});

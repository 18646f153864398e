'use strict';

// The engine with all its mutants, and its tests.

const fs = require('node:fs');
const path = require('node:path');

const { MutatedCrate } = require('./mutated-crate.js');

/** Every state of small systems takes too long for each mutant; what these use of the engine, others use too. */
const TOO_LONG = ['model', 'permits', 'shared', 'tokens'];
/** The simulation's other tests are about the simulation. */
const OF_SIMULATION = [
  'no_schedule_violates_an_invariant',
  'seeds_that_have_found_something_find_it_no_more',
];
/** Schedules of the simulation for each mutant. */
const SCHEDULES = process.env.SCHEDULES ?? '2000';

const crate = new MutatedCrate({
  name: 'engine',
  folder: path.join('crates', 'engine'),
  mutated: '',
  beside: ['tests'],
  profiles: '\n[profile.test]\nopt-level = 3\ndebug = false\n',
});

/** The test programs of the copy. */
function build() {
  const names = fs
    .readdirSync(path.join(crate.folder, 'tests'))
    .map((file) => path.parse(file).name);
  const meant = names.filter((name) => name !== 'support' && !TOO_LONG.includes(name));
  const chosen = meant.flatMap((name) => ['--test', name]);
  const programs = crate.testPrograms(['--lib', ...chosen]);
  const simulation = programs.find(({ name }) => name === 'simulation');
  Object.assign(simulation, { chosen: OF_SIMULATION, env: { SCHEDULES } });
  return programs;
}

module.exports = { build, crate };

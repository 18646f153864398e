'use strict';

// The numbers of all that crosses are told once, by the addon. See src/binding/crossing.rs.

const fs = require('node:fs');
const path = require('node:path');

const test = require('ava');

const crossing = require('../lib/crossing.js');
const native = require('../native.js');
const { endedWell, runProcess } = require('./helpers/processes.js');

const LIB = path.join(__dirname, '..', 'lib');
const SETS = Object.entries(crossing);

/** The names of a set that the facade speaks of. */
function used(set) {
  const files = fs.readdirSync(LIB, { recursive: true }).filter((file) => file.endsWith('.js'));
  const text = files.map((file) => fs.readFileSync(path.join(LIB, file), 'utf8')).join('\n');
  // The reasons of the engine for a loss go by another name, too.
  const name = set === 'LOSS' ? '(?:LOSS|WHY)' : set;
  const names = text.matchAll(new RegExp(`\\b${name}\\.([A-Z_]+)`, 'g'));
  return new Set([...names].map((match) => match[1]));
}

test('every name that is used is one of the addon', (t) => {
  t.true(SETS.length > 5);
  for (const [set, numbers] of SETS) {
    const names = used(set);
    if (set === 'LOSS') t.true(names.delete('RELEASED')); // JavaScript's own
    for (const name of names) t.is(typeof numbers[name], 'number', `${set}.${name}`);
  }
});

test('what is asked for when the addon is loaded is what is used', (t) => {
  const text = fs.readFileSync(path.join(LIB, 'crossing.js'), 'utf8');
  for (const [set] of SETS) {
    const [, , list] = new RegExp(`\\b${set}: (['\`])([^'\`]+)\\1`).exec(text);
    const names = new Set(list.match(/\w+/g));
    for (const name of used(set))
      t.true(names.delete(name) || name === 'RELEASED', `${set}.${name}`);
    t.deepEqual([...names], [], set);
  }
});

test('no two names of a set are one number, and nobody can change them', (t) => {
  for (const [set, numbers] of SETS) {
    const values = Object.values(numbers);
    t.is(new Set(values).size, values.length, set);
    t.is(values.length, Object.keys(native.crossing()[set]).length, set);
    t.true(Object.isFrozen(numbers), set);
  }
});

for (const [what, change] of [
  ['knows no numbers', 'delete native.crossing;'],
  ['lacks a set', 'native.crossing = () => ({ ...sets, OUTCOME: undefined });'],
  ['lacks a name', 'delete sets.OUTCOME.AskAcquire; native.crossing = () => sets;'],
]) {
  test(`a binary that ${what} is refused when it is loaded`, async (t) => {
    const result = await runProcess((file, change) => {
      const native = require(`${file}/../lib/addon.js`);
      new Function('native', 'sets', change)(native, native.crossing());
      try {
        require(file);
      } catch ({ message }) {
        console.log(message);
      }
    }, change);
    endedWell(t, result);
    t.regex(
      result.stdout,
      /^redsync: the binary is of another version: it has no [A-Z]+\.[A-Z_]+$/m,
    );
  });
}

for (const [what, node, message] of [
  ['of no kind that is known', { kind: 'redsi', host: '127.0.0.1', port: 1 }, /kind of a node/],
  ['without a host', { kind: 'redis', port: 1 }, /no host/],
  ['without a port', { kind: 'redis', host: '127.0.0.1' }, /no port/],
  ['without the name of its master', { kind: 'sentinel', seeds: [] }, /no masterName/],
]) {
  test(`the addon opens no node ${what}`, (t) => {
    t.throws(() => new native.Engine(() => {}).open([node]), { message });
  });
}

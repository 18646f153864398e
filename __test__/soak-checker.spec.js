'use strict';

// What the soak finds wrong in the journals of its processes: a checker that finds nothing would prove nothing.

const test = require('ava');

const { crowds, errors, holds, most } = require('../soak/checker.js');

const hold = (number, from, to, name = 'name') => ({ number, name, from, to });

const CASES = [
  ['one after the other', [hold('1', 0, 4), hold('2', 4, 6)], 0],
  ['two at once', [hold('1', 0, 5), hold('2', 4, 6)], 1],
  ['two of different names', [hold('1', 0, 5, 'a'), hold('2', 4, 6, 'b')], 0],
  [
    'a short one inside a long one that is not the last before',
    [hold('1', 0, 9), hold('2', 9, 10), hold('3', 5, 6)],
    1,
  ],
  ['as many as may', [hold('1', 0, 9, 's'), hold('2', 1, 9, 's'), hold('3', 2, 9, 's')], 0],
  [
    'one too many',
    [hold('1', 0, 9, 's'), hold('2', 1, 9, 's'), hold('3', 2, 9, 's'), hold('4', 3, 4, 's')],
    1,
  ],
  ['readers beside readers', [hold('1/read', 0, 9), hold('2/read', 1, 9)], 0],
  ['a writer behind readers', [hold('1/read', 0, 9), hold('2/read', 1, 5), hold('3', 9, 12)], 0],
  ['a writer beside a reader', [hold('1/read', 0, 9), hold('2/read', 1, 3), hold('3', 5, 12)], 1],
  ['a reader beside a writer', [hold('1', 0, 9), hold('2/read', 1, 9)], 1],
];

for (const [title, all, expected] of CASES) {
  test(`finds what may not be: ${title}`, (t) => {
    t.is(crowds(all, { s: 3 }).length, expected);
  });
}

test('a writer who reads on is a reader from then on', (t) => {
  const all = holds([
    { at: 0, event: 'held', number: 'w', name: 'name', left: 10 },
    { at: 2, event: 'over', number: 'w', name: 'name', left: 0 },
    { at: 3, event: 'still', number: 'w/read', name: 'name', left: 10 },
    { at: 4, event: 'held', number: 'r/read', name: 'name', left: 10 },
  ]);
  t.is(crowds(all).length, 0);
  t.is(most(all, 'name'), 2);
});

test('tells how often nodes have failed in each way', (t) => {
  const all = ['OOM', 'MISCONF', 'OOM'].map((number) => ({
    at: 0,
    event: 'error',
    number,
    left: 0,
  }));
  t.deepEqual(errors([...all, { at: 1, event: 'over', number: 'v', left: 0 }]), [
    ['OOM', 2],
    ['MISCONF', 1],
  ]);
});

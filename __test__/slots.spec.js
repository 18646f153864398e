'use strict';

const test = require('ava');

const { Redsync } = require('../index.js');
const { requireOneSlot, slotOf } = require('../lib/slots.js');

const TYPE = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };

// key, slot as CLUSTER KEYSLOT tells it
const SLOTS = [
  ['', 0],
  ['foo', 12182],
  ['bar', 5061],
  ['123456789', 12739],
  ['{foo}', 12182],
  ['x{foo}y{bar}', 12182],
  ['x}{foo}', 12182],
  ['x{foo', slotOf('x{foo')],
];

for (const [key, slot] of SLOTS) {
  test(`${JSON.stringify(key)} is in slot ${slot}`, (t) => t.is(slotOf(key), slot));
}

// keys of one slot
const SAME = [
  ['{user1000}.following', '{user1000}.followers', 'user1000'],
  ['foo{{bar}}zap', '{bar', 'x{{bar}'],
  ['foo{bar}{zap}', 'bar'],
  ['ü{ü}', 'ü'],
];

for (const keys of SAME) {
  test(`${keys.join(' and ')} are in one slot`, (t) => {
    t.is(new Set(keys.map(slotOf)).size, 1);
    t.notThrows(() => requireOneSlot(keys, keys));
  });
}

test('an empty or open tag counts for nothing: the whole key is hashed', (t) => {
  for (const key of ['foo{}{bar}', 'foo{bar', 'foo}bar{']) {
    t.not(slotOf(key), slotOf('bar'));
    t.not(slotOf(key), slotOf(''));
  }
});

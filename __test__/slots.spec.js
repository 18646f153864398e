'use strict';

const test = require('ava');

const { Redsync } = require('../index.js');
const { requireOneSlot, slotOf } = require('../lib/slots.js');

const TYPE = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };

// key, what CLUSTER KEYSLOT of a Redis server says
const SLOTS = [
  ['', 0],
  ['foo', 12182],
  ['bar', 5061],
  ['123456789', 12739],
  ['ü😀', 7754],
  ['{foo}', 12182],
  ['x{foo}y{bar}', 12182],
  ['x}{foo}', 12182],
  ['{user1000}.following', 3443],
  ['{user1000}.followers', 3443],
  ['foo{}{bar}', 8363],
  ['foo{{bar}}zap', 4015],
  ['{bar', 4015],
  ['foo{bar', 15278],
  ['foo}bar{', 11073],
  ['{}', 15257],
];

for (const [key, slot] of SLOTS) {
  test(`${JSON.stringify(key)} is in slot ${slot}`, (t) => t.is(slotOf(key), slot));
}

test('names of one slot pass, and a single name does', (t) => {
  for (const names of [['a'], ['{a}1', '{a}2', 'a'], ['foo{bar}{zap}', 'bar']]) {
    t.notThrows(() => requireOneSlot(names, names));
  }
});

test('names of several slots are named, with a tag that puts them together', (t) => {
  const names = ['account:7', '{account:7}', 'account:9'];
  const { message } = t.throws(() => requireOneSlot(names, names), TYPE);
  t.regex(message, /^The "name" argument .*"account:7" and "account:9" are in different ones/);
  t.regex(message, /"{tag}account:7", "{tag}account:9"$/);
  const proposed = message.match(/{tag}account:\d/g);
  t.notThrows(() => requireOneSlot(proposed, proposed));
});

test('long names are cut', (t) => {
  const names = ['a'.repeat(1024), 'b'.repeat(1024)];
  t.true(t.throws(() => requireOneSlot(names, names), TYPE).message.length < 500);
});

const CLUSTER = 'redis+cluster://127.0.0.1:1';

// nodes, keyPrefix, names, whether they may be one mutex
const MUTEXES = [
  [CLUSTER, '', 'a', true],
  [CLUSTER, '', ['a', 'b'], false],
  [CLUSTER, '', ['{t}a', '{t}b'], true],
  [CLUSTER, '{p}', ['a', 'b'], true],
  [CLUSTER, '{}', ['{t}a', '{t}b'], false],
  [['memory:', { cluster: [{ host: 'a' }] }], '', ['a', 'b'], false],
  [['memory:', 'redis://127.0.0.1:1', 'redis+sentinel://127.0.0.1:1/m'], '', ['a', 'b'], true],
];

for (const [i, [nodes, keyPrefix, names, isAllowed]] of MUTEXES.entries()) {
  test(`a mutex ${isAllowed ? 'may' : 'must not'} have these names on these nodes (${i})`, (t) => {
    const redsync = new Redsync(nodes, { keyPrefix });
    const make = () => redsync.newMutex(names);
    if (isAllowed) t.deepEqual(make().names, [names].flat());
    else t.regex(t.throws(make, TYPE).message, /Redis Cluster: "(\{t\})?a" and "(\{t\})?b"/);
  });
}

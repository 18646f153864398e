'use strict';

// What console.log() and JSON.stringify() show: what people want to know, and no secret.

const { inspect } = require('node:util');

const test = require('ava');

const { Mutex, Redsync } = require('../index.js');
const { newClock } = require('../lib/testing.js');
const { overBackends } = require('./helpers/backends.js');

const eachBackend = overBackends(test, { sizes: [1, 3] });
const SECRET = 'hunter2';

/** On a clock that stands still, but for the time that the test takes. */
function useClock(t) {
  const clock = newClock();
  const redsync = new Redsync(clock.nodes(), { genValue: () => SECRET + Math.random() });
  t.teardown(() => redsync.close());
  return { clock, redsync };
}

/** All ways to look at it, which are to agree but for the milliseconds. */
function looks(thing) {
  return [
    inspect(thing, { breakLength: Infinity }).replace(/remaining: [1-9]\d*/, 'remaining: N'),
    JSON.stringify(thing).replace(/"remaining":[1-9]\d*/, '"remaining":N'),
  ];
}

eachBackend(
  'a lock and its mutex show names, the time left and whether it is held',
  async (t, backend) => {
    const redsync = backend.connect(t, { genValue: () => SECRET + Math.random() });
    const name = backend.name();
    const mutex = redsync.newMutex(name, { expiry: 60_000 });
    const shown = (Class, what, json) => [
      `${Class} { names: [ '${name}' ], ${what} }`,
      `{"names":["${name}"],${json}}`,
    ];
    const free = ['remaining: 0, held: false', '"remaining":0,"held":false'];
    const held = ['remaining: N, held: true', '"remaining":N,"held":true'];

    t.deepEqual(looks(mutex), shown('Mutex', ...free));
    const lock = await mutex.lock();
    t.deepEqual(looks(mutex), shown('Mutex', ...held));
    t.deepEqual(looks(lock), shown('Lock', ...held));
    const { remaining } = JSON.parse(JSON.stringify(lock));
    t.true(Number.isInteger(remaining) && remaining >= lock.remaining && remaining < 60_000);
    for (const thing of [lock, mutex, [lock], { deep: { mutex } }]) {
      for (const showHidden of [true, false]) {
        t.notRegex(inspect(thing, { depth: Infinity, showHidden }), /hunter2/);
      }
      t.notRegex(JSON.stringify(thing), /hunter2/);
    }

    await lock.unlock();
    t.deepEqual(looks(mutex), shown('Mutex', ...free));
    t.deepEqual(looks(lock), shown('Lock', ...free));
  },
);

test('several names, and a lock that has expired', async (t) => {
  const { clock, redsync } = useClock(t);
  const lock = await redsync.acquire(['a', 'b'], { expiry: 60_000 });
  t.is(looks(lock)[0], "Lock { names: [ 'a', 'b' ], remaining: N, held: true }");
  await clock.advance(60_000);
  t.is(looks(lock)[0], "Lock { names: [ 'a', 'b' ], remaining: 0, held: false }");
});

test('whether a lock is held that was acquired elsewhere is not known before it is extended', async (t) => {
  const { redsync } = useClock(t);
  const { value } = await redsync.acquire('a', { expiry: 60_000 });
  const mutex = redsync.newMutex('a', { value, expiry: 60_000 });
  t.deepEqual(looks(mutex), [
    "Mutex { names: [ 'a' ], remaining: 0, held: undefined }",
    '{"names":["a"],"remaining":0}',
  ]);
  await mutex.extend();
  t.is(looks(mutex)[0], "Mutex { names: [ 'a' ], remaining: N, held: true }");
});

test('a Redsync shows where its nodes are, without logins', async (t) => {
  const redsync = new Redsync([
    `redis://${SECRET}-user:${SECRET}@127.0.0.1:1/3`,
    { host: 'a', username: SECRET, password: SECRET },
    `redis+sentinel://${SECRET}:${SECRET}@b,c:7/mymaster`,
    'memory:',
  ]);
  const nodes = ['127.0.0.1:1', 'a:6379', 'b:26379,c:7/mymaster', 'memory'];
  t.deepEqual(JSON.parse(JSON.stringify(redsync)), { nodes, quorum: 3, closed: false });
  t.is(
    inspect(redsync, { breakLength: Infinity }),
    `Redsync ${inspect({ nodes, quorum: 3, closed: false }, { breakLength: Infinity })}`,
  );
  t.notRegex(inspect(redsync, { depth: Infinity, showHidden: true }), /hunter2/);
  await redsync.close();
  t.true(JSON.parse(JSON.stringify(redsync)).closed);
});

test('an object deep inside others is abbreviated as any is', async (t) => {
  const { redsync } = useClock(t);
  t.is(inspect({ a: { redsync } }, { depth: 0 }), '{ a: [Object] }');
  t.is(inspect({ redsync }, { depth: 0 }), '{ redsync: [Redsync] }');
  const abbreviated = inspect({ redsync }, { depth: 0, colors: true });
  t.is(abbreviated, '{ redsync: \x1b[36m[Redsync]\x1b[39m }');
  t.regex(inspect(redsync, { depth: 1 }), /^Redsync \{ nodes: \[Array\],/);
  t.regex(inspect({ redsync }, { depth: null }), /Redsync \{/);
});

test('a prototype, and what only looks like one of ours, are shown as any object', async (t) => {
  const { redsync } = useClock(t);
  const lock = await redsync.acquire('a');
  const prototypes = [Redsync.prototype, Mutex.prototype, Object.getPrototypeOf(lock)];
  for (const prototype of prototypes) {
    t.notThrows(() => inspect(prototype, { showHidden: true }));
    t.notRegex(inspect(Object.create(prototype)), /undefined/);
    t.like(Object.getOwnPropertyDescriptor(prototype, 'toJSON'), {
      writable: true,
      enumerable: false,
      configurable: true,
    });
    t.is(JSON.stringify(Object.assign(Object.create(prototype), { own: 1 })), '{"own":1}');
    for (const key in prototype) t.fail(key);
  }
});

'use strict';

// Who holds a lock: ownership values tell it, on every kind of node, and nothing goes by it.

const os = require('node:os');

const test = require('ava');

const { Redsync } = require('../index.js');
const { ownerOf, processName } = require('../lib/owner.js');
const { permitKey, permitOf } = require('../lib/permits.js');
const { tokenOf } = require('../lib/token.js');
const { until } = require('./helpers/async.js');
const { overBackends } = require('./helpers/backends.js');

const eachBackend = overBackends(test, { sizes: [1, 3] });

const LONG = 60_000;

const RANDOM = '[A-Za-z0-9+/]{22}==';
const SINCE = '[0-9a-z]{8}';

/** A random value with these marks, behind which it says since when. */
const valueWith = (marks) => new RegExp(`^${RANDOM}${marks}@${SINCE}$`);

eachBackend('a random value names the owner behind its other marks', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { owner: 'worker-7:eu/1' });
  const plain = await redsync.acquire(name);
  t.regex(plain.value, valueWith('#o=worker-7:eu/1'));
  t.true(await backend.isHeldByQuorum(name, plain.value));
  t.true(await plain.unlock());

  const fenced = await redsync.acquire(name, { fencing: true });
  t.regex(fenced.value, valueWith(`#t=${fenced.token}#o=worker-7:eu/1`));
  t.is(tokenOf(fenced.value), fenced.token);
  t.true(await fenced.unlock());

  const permits = [];
  for (let i = 0; i < 3; i++) permits.push(await redsync.newSemaphore(name, 3).tryLock());
  permits.sort((a, b) => permitOf(a.value) - permitOf(b.value));
  t.regex(permits[0].value, valueWith('#o=worker-7:eu/1'));
  t.regex(permits[2].value, valueWith('#p=3#o=worker-7:eu/1'));
  t.true(await backend.isHeldByQuorum(permitKey(name, 3), permits[2].value));
  for (const lock of permits) t.true(await lock.unlock());
});

eachBackend('by default it names the process, and with false nobody', async (t, backend) => {
  const name = backend.name();
  const lock = await backend.connect(t).acquire(name);
  t.is(ownerOf(lock.value).owner, processName(os.hostname(), process.pid));
  t.true(await lock.unlock());
  const nameless = await backend.connect(t, { owner: false }).acquire(name);
  t.regex(nameless.value, new RegExp(`^${RANDOM}$`));
  t.true(await nameless.unlock());
});

eachBackend('inspect() tells who holds it, and since when', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { owner: 'billing/3' });
  const lock = await redsync.acquire(name, { fencing: true, expiry: LONG });
  const { since } = ownerOf(lock.value);
  t.true(since instanceof Date);
  await until(() => backend.isHeldEverywhere(name, lock.value));
  const found = await redsync.inspect(name);
  t.is(found.length, backend.size);
  for (const node of found) t.like(node, { value: lock.value, owner: 'billing/3', since });
  t.true(await lock.unlock());

  await backend.plantEverywhere(name, 'v#o=\u001b[31mred', LONG);
  for (const { status, value, ...node } of await redsync.inspect(name)) {
    t.deepEqual([status, value], ['held', 'v#o=\u001b[31mred']);
    t.false('owner' in node || 'since' in node);
  }
});

eachBackend('a value of one’s own stays as it is', async (t, backend) => {
  const name = backend.name();
  const redsync = backend.connect(t, { owner: 'me', genValue: () => `mine:${name}` });
  const lock = await redsync.acquire(name);
  t.is(lock.value, `mine:${name}`);
  t.true(await lock.unlock());
});

eachBackend('whoever knows the value has the lock, whatever it names', async (t, backend) => {
  const [one, other] = ['one', 'other'].map((owner) => backend.connect(t, { owner }));
  for (const options of [{}, { fencing: true }, { permits: 2 }, { mode: 'write' }]) {
    const name = backend.name();
    const taken = options.permits && (await one.acquire(name, options));
    const { value, token } = await one.acquire(name, options);
    const mutex = other.newMutex(name, { ...options, value });
    t.true(await mutex.valid());
    t.true(await mutex.extend());
    t.is(mutex.token, token);
    t.true(await mutex.unlock());
    const next = await other.acquire(name, options);
    t.not(next.value, value);
    t.is(ownerOf(next.value).owner, 'other');
    t.true(await next.unlock());
    await taken?.unlock();
    await until(() => backend.isFreeEverywhere(name));
  }
});

test('the time in a value is that of its attempt', async (t) => {
  const redsync = new Redsync('memory:', { owner: 'me' });
  t.teardown(() => redsync.close());
  const locks = [];
  for (const name of ['a', 'b', 'c']) locks.push(await redsync.acquire(name));
  const times = locks.map(({ value }) => ownerOf(value).since.getTime());
  const year = 365 * 86_400_000;
  for (const time of times) t.true(Math.abs(time - Date.now()) < year, `${time}`);
  for (const [i, { value }] of locks.entries()) t.true(value.endsWith(`@${times[i].toString(36)}`));
});

// --- the default

const PROCESSES = [
  ['web-1.example.com', 4711, 'web-1.example.com:4711'],
  ['web_1', 1, 'web_1:1'],
  ['Büro PC #1@home', 22, 'B-ro-PC--1-home:22'],
  ['a\nb\0c\u{1f512}', 3, 'a-b-c-:3'],
  ['', 5, ':5'],
  ['x'.repeat(300), 4_194_304, `${'x'.repeat(56)}:4194304`],
];

for (const [host, pid, expected] of PROCESSES) {
  test(`the default: ${expected}`, (t) => {
    const name = processName(host, pid);
    t.is(name, expected);
    t.is(ownerOf(`v#o=${name}`).owner, name);
    t.notThrows(() => new Redsync('memory:', { owner: name }));
  });
}

// --- what is read from anybody's value

const date = (digits) => new Date(parseInt(digits, 36));

const READ = [
  ['koTMG+2KhAPWA46OuAl+qw==#o=web-1:4711@mg1x0k2a', 'web-1:4711', date('mg1x0k2a')],
  ['v#t=5#o=web-1:1@mg1x0k2a', 'web-1:1', date('mg1x0k2a')],
  ['v#p=3#o=web-1:1@mg1x0k2a', 'web-1:1', date('mg1x0k2a')],
  ['v#o=me', 'me', undefined],
  ['v#o=me@0', 'me', new Date(0)],
  ['v#o=me@zzzzzzzzz', 'me', date('zzzzzzzzz')],
  ['v#o=me@zzzzzzzzzz', undefined, undefined],
  ['v#o=me@', undefined, undefined],
  ['v#o=me@MG1X0K2A', undefined, undefined],
  ['v#o=me@-1', undefined, undefined],
  [`v#o=${'x'.repeat(64)}`, 'x'.repeat(64), undefined],
  [`v#o=${'x'.repeat(65)}`, undefined, undefined],
  ['v#o=', undefined, undefined],
  ['v#o=me\n', undefined, undefined],
  ['v#o=\u001b[31mme', undefined, undefined],
  ['v#o=me you', undefined, undefined],
  ['v#o=you#o=me', undefined, undefined],
  ['v#o=me#t=5', undefined, undefined],
  ['v#x=1#o=me', undefined, undefined],
  ['v#t=5#p=3#o=me', undefined, undefined],
  [`v#t=${'9'.repeat(17)}#o=me`, undefined, undefined],
  ['#o=me', undefined, undefined],
  ['#readers', undefined, undefined],
  ['koTMG+2KhAPWA46OuAl+qw==', undefined, undefined],
  ['', undefined, undefined],
  ['#o='.repeat(5000), undefined, undefined],
  [`${'v'.repeat(16_000)}#o=me`, 'me', undefined],
];

for (const [value, owner, since] of READ) {
  test(`the owner in ${JSON.stringify(value.slice(0, 40))} (${value.length})`, (t) => {
    const expected = {};
    if (owner !== undefined) expected.owner = owner;
    if (since !== undefined) expected.since = since;
    t.deepEqual(ownerOf(value), expected);
  });
}

test('a year that no Date can show is in no value', (t) => {
  const { since } = ownerOf('v#o=me@zzzzzzzzz');
  t.false(Number.isNaN(since.getTime()));
});

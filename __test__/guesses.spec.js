'use strict';

// What people write who know other lock libraries is answered with what to write here.

const test = require('ava');

const { Redsync } = require('../index.js');

const TYPE = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };

function connect(t, nodes = 'memory:') {
  const redsync = new Redsync(nodes);
  t.teardown(() => redsync.close());
  return redsync;
}

// option, what newMutex() says to it, what lock() says
const OPTIONS = [
  ['ttl', '"expiry"', '"expiry" of newMutex()'],
  ['TTL', '"expiry"', '"expiry" of newMutex()'],
  ['duration', '"expiry"', '"expiry" of newMutex()'],
  ['lockTimeout', '"expiry"', '"expiry" of newMutex()'],
  ['retries', '"tries"', '"tries" of newMutex()'],
  ['retryCount', '"tries"', '"tries" of newMutex()'],
  ['retryJitter', '"retryDelay"', '"retryDelay" of newMutex()'],
  ['driftTime', '"driftFactor"', '"driftFactor" of newMutex()'],
  ['automaticExtensionThreshold', '"autoExtend"', '"autoExtend" of newMutex()'],
  ['genValueFunc', '"genValue"', '"genValue" of newMutex()'],
  ['identifier', '"value"', '"value" of newMutex()'],
  ['token', '"fencing"', '"fencing" of newMutex()'],
  ['cooldown', '"holdAtLeast"', '"holdAtLeast" of newMutex()'],
  ['readOnly', '"mode"', '"mode" of newMutex()'],
  ['limit', '"permits"', '"permits" of newMutex()'],
  ['prefix', '"keyPrefix" of new Redsync()', '"keyPrefix" of new Redsync()'],
  ['keyPrefix', '"keyPrefix" of new Redsync()', '"keyPrefix" of new Redsync()'],
  ['quarantine', '"quarantine" of new Redsync()', '"quarantine" of new Redsync()'],
  ['abortSignal', '"signal" of lock()', '"signal"'],
];

for (const [option, ofMutex, ofLock] of OPTIONS) {
  test(`option ${option}`, async (t) => {
    const redsync = connect(t);
    const input = { [option]: 5 };
    const first = `The "options" argument has an unknown option "${option}". Did you mean`;
    const { message } = t.throws(() => redsync.newMutex('a', input), TYPE);
    t.true(message.startsWith(`${first} ${ofMutex}? Known: expiry, `), message);
    const mutex = redsync.newMutex('a');
    for (const method of ['lock', 'tryLock', 'unlock', 'extend', 'valid']) {
      const expected = { ...TYPE, message: `${first} ${ofLock}? Known: signal` };
      await t.throwsAsync(mutex[method](input), expected);
    }
  });
}

test('option timeout: a signal, or how long to wait', async (t) => {
  const redsync = connect(t);
  await t.throwsAsync(redsync.newMutex('a').lock({ timeout: 5 }), {
    ...TYPE,
    message: /unknown option "timeout"\. Did you mean "signal".*\? Known: signal$/,
  });
  t.throws(() => redsync.newMutex('a', { timeout: 5 }), {
    ...TYPE,
    message: /unknown option "timeout"\. Did you mean .*"signal" of lock\(\)\? Known: /,
  });
  await t.throwsAsync(redsync.acquire('a', { timeout: 5 }), {
    ...TYPE,
    message: /unknown option "timeout"\. Did you mean "signal".*\? Known: /,
  });
});

test('options of the Redsync and of its mutexes are known to each other', (t) => {
  t.throws(() => new Redsync('memory:', { prefix: 'k' }), {
    ...TYPE,
    message: /Did you mean "keyPrefix"\? Known: /,
  });
  t.throws(() => new Redsync('memory:', { signal: 1 }), {
    ...TYPE,
    message: /unknown option "signal"\. Did you mean "signal" of lock\(\)\? Known: /,
  });
});

// option of a node, what is meant
const OF_A_NODE = [
  ['user', 'username'],
  ['pass', 'password'],
  ['database', 'db'],
  ['uri', 'url'],
  ['connectionString', 'url'],
  ['hostname', 'host'],
  ['ssl', 'tls'],
  ['name', 'masterName'],
  ['timeout', 'connectTimeout'],
  ['socket', 'host'],
  ['socketPath', 'path'],
];

for (const [option, meant] of OF_A_NODE) {
  test(`option ${option} of a node`, (t) => {
    const { message } = t.throws(() => new Redsync({ host: 'a', [option]: 'hunter2' }), TYPE);
    const start = `The "nodes" argument has an unknown option "${option}". Did you mean "${meant}"?`;
    t.true(message.startsWith(start), message);
    t.notRegex(message, /hunter2/);
  });
}

for (const option of ['nodes', 'servers', 'rootNodes']) {
  test(`option ${option} of a node: they are an array`, (t) => {
    const { message } = t.throws(() => new Redsync({ [option]: ['redis://:hunter2@a'] }), TYPE);
    t.regex(message, /Did you mean an array of nodes, .* or "cluster" if they are one\? Known: /);
    t.notRegex(message, /hunter2/);
  });
}

test('a second node where the options are is told to be one, and not shown', (t) => {
  for (const second of ['redis://:hunter2@b', ['redis://:hunter2@b']]) {
    const { message } = t.throws(() => new Redsync('redis://a', second), TYPE);
    t.regex(message, /several nodes are an array: new Redsync\(\[url, url\]\)/);
    t.notRegex(message, /hunter2/);
  }
});

test('two letters may be wrong, but not half of a short word', (t) => {
  for (const [wrong, meant] of [
    ['treis', 'tries'],
    ['expyri', 'expiry'],
    ['modes', 'mode'],
    ['ode', 'mode'],
  ]) {
    const { message } = t.throws(() => connect(t).newMutex('a', { [wrong]: 1 }), TYPE);
    t.true(message.includes(`"${wrong}". Did you mean "${meant}"? Known: `), message);
  }
  for (const wrong of ['nope', 'tr', 'exp']) {
    const { message } = t.throws(() => connect(t).newMutex('a', { [wrong]: 1 }), TYPE);
    t.true(message.includes(`"${wrong}". Known: `), message);
  }
});

test('what is no option of anything is not guessed', (t) => {
  for (const key of ['nonsense', 'constructor', '__proto__', 'toString', 'hasOwnProperty']) {
    const input = Object.fromEntries([[key, 1]]);
    const { message } = t.throws(() => connect(t).newMutex('a', input), TYPE);
    t.regex(message, /unknown option "\w+"\. Known: /);
  }
});

const METHODS = {
  redsync: ['lock', 'tryLock', 'unlock', 'release', 'extend'],
  mutex: ['acquire', 'tryAcquire', 'release'],
  lock: ['release'],
};

// What they say is in misuse.spec.js.
for (const [whose, methods] of Object.entries(METHODS)) {
  for (const method of methods) {
    test(`${whose}.${method}() is in nobody's way`, async (t) => {
      const redsync = connect(t);
      const lock = await redsync.acquire('a');
      const object = { redsync, mutex: lock.mutex, lock }[whose];
      t.throws(() => object[method]('a', { expiry: 5 }), TYPE);
      const seen = [];
      for (const key in object) seen.push(key);
      t.false(seen.includes(method));
      const prototype = Object.getPrototypeOf(object);
      t.true(Object.getOwnPropertyDescriptor(prototype, method).configurable, 'for a spy');
      object[method] = () => 'of a mock';
      t.is(object[method](), 'of a mock');
      t.true(await lock.unlock());
    });
  }
}

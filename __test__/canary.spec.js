'use strict';

// No error, in whatever way it is looked at, tells a secret: neither a login, nor an ownership
// value, nor what a server said.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { text } = require('node:stream/consumers');
const { inspect } = require('node:util');

const test = require('ava');

const { RedsyncError } = require('../index.js');
const { untilSteady } = require('./helpers/async.js');
const {
  LIES,
  LOGIN,
  MISHAPS,
  PASSWORD,
  SECRET,
  USER,
  VALUE,
  closeAll,
  open,
} = require('./helpers/mishaps.js');
const { LOCKING, only, useProxy } = require('./helpers/proxy.js');
const { deadUrl, useServers } = require('./helpers/servers.js');

const CHILD = require.resolve('./helpers/mishaps.js');
const CHILDREN = 4; // at a time
const INSPECT = { depth: 10, showHidden: true };

function withLogin(url, login = LOGIN) {
  return url.replace('redis://', `redis://${login}`);
}

/** The servers that the mishaps happen with. */
async function useWorld(t) {
  const [up, taken, closed] = await useServers(t, 3);
  for (const server of [up, taken, closed]) {
    await server.command('ACL', 'SETUSER', USER, 'on', `>${PASSWORD}`, '~*', '&*', '+@all');
    await server.command('ACL', 'SETUSER', `${USER}-nobody`, 'on', `>${PASSWORD}`, '-@all');
  }
  await taken.command('SET', 'name', `${VALUE}-of-somebody-else`);
  await closed.command('CONFIG', 'SET', 'requirepass', `${SECRET}-required`);
  const silent = await useProxy(t, up);
  silent.swallow();
  const lying = async (answer) => {
    const proxy = await useProxy(t, up);
    proxy.answerWith(answer);
    return withLogin(proxy.url);
  };
  return {
    up: withLogin(up.url),
    taken: withLogin(taken.url),
    takenToo: withLogin((await useProxy(t, taken)).url),
    anonymous: closed.url,
    wrong: withLogin(up.url, `${USER}:${SECRET}-wrong@`),
    forbidden: withLogin(up.url, LOGIN.replace(':', '-nobody:')),
    dead: withLogin(await deadUrl()),
    silent: withLogin(silent.url),
    lies: await Promise.all(LIES.map((lie) => lying(only(`${LOCKING} SENTINEL`, lie)))),
    greetings: await Promise.all(LIES.map(lying)),
    servers: { up },
  };
}

/** All that can be got out of an error, or of anything else, as one text. */
function told(thing, seen = new Set()) {
  if (typeof thing === 'function' || seen.has(thing)) return '';
  if (typeof thing !== 'object' || thing === null) return String(thing);
  seen.add(thing);
  const inside = Reflect.ownKeys(thing).map((key) => `${String(key)} ${told(thing[key], seen)}`);
  const whole = thing instanceof Error ? [`${thing}`, thing.message, thing.stack] : [];
  return [...whole, inspect(thing, INSPECT), JSON.stringify(thing), ...inside].join('\n');
}

function keepsQuiet(t, title, text) {
  const at = text.toLowerCase().indexOf(SECRET);
  t.is(at, -1, `${title}: ${text.slice(Math.max(0, at - 200), at + 200)}`);
}

async function mishap(title, world) {
  try {
    await MISHAPS[title](world);
  } catch (error) {
    return error;
  } finally {
    await closeAll();
  }
  return new Error(`${title}: nothing has happened`);
}

test('what is searched includes all there is to an error', (t) => {
  const errors = [
    new Error(SECRET),
    new Error('m', { cause: new Error('m', { cause: SECRET }) }),
    Object.assign(new Error('m'), { errors: [new Error(SECRET)] }),
    Object.defineProperty(new Error('m'), 'hidden', { value: { deep: SECRET } }),
    Object.assign(new Error('m'), { input: `redis://${LOGIN}host` }),
    Object.assign(new Error('m'), { [SECRET]: 1 }),
  ];
  for (const error of errors) t.true(told(error).includes(SECRET), inspect(error));
});

test.serial('no error tells a secret', async (t) => {
  const world = await useWorld(t);
  const kinds = new Set();
  for (const title of Object.keys(MISHAPS)) {
    const error = await mishap(title, world);
    kinds.add(error.code);
    for (const each of error.errors ?? []) kinds.add(each.code).add(each.cause?.code);
    t.true(
      error instanceof RedsyncError || error instanceof TypeError || error instanceof RangeError,
      `${title}: ${error.stack}`,
    );
    keepsQuiet(t, title, told(error));
  }
  // As many kinds of errors as there are, or this test does not see what it is for.
  for (const kind of [
    'ERR_INVALID_ARG_TYPE',
    'ERR_OUT_OF_RANGE',
    'ERR_LOCK_FAILED',
    'ERR_LOCK_TAKEN',
    'ERR_NODE_TAKEN',
    'ERR_REDIS',
    'ERR_EXTEND_FAILED',
    'ERR_LOCK_EXPIRED',
    'ERR_CLOSED',
    'ERR_TLS',
    'ERR',
    'OOM',
    'READONLY',
    'NOAUTH',
    'WRONGPASS',
    'NOPERM',
    'WRONGTYPE',
    'NOSCRIPT',
    'MOVED',
    'EPROTO',
    'ECONNREFUSED',
    'ETIMEDOUT',
  ]) {
    t.true(kinds.has(kind), `${kind} is missing among ${[...kinds].join(' ')}`);
  }
  await untilSteady(async () => (await world.servers.up.command('DBSIZE')) === 0, { period: 300 });
});

test.serial('health() and the objects of the API tell no secret', async (t) => {
  const world = await useWorld(t);
  const { lies, greetings, servers, ...others } = world;
  let down = 0;
  for (const url of [...Object.values(others), ...lies, ...greetings]) {
    const redsync = open(url, { keyPrefix: 'prefix:' });
    const [health] = await redsync.health({ timeout: 200 });
    keepsQuiet(t, health.endpoint, told(health));
    keepsQuiet(t, 'inspect', inspect(redsync, INSPECT));
    if (health.error) down++;
    await closeAll();
  }
  t.true(down > greetings.length / 2);

  const mutex = open(world.up).newMutex('held', { genValue: () => VALUE });
  const lock = await mutex.lock();
  for (const thing of [mutex, lock]) keepsQuiet(t, 'inspect', inspect(thing, INSPECT));
  t.true(await lock.unlock());
  await closeAll();
});

/** What a process says that leaves an error uncaught. */
async function lastWords(title, world) {
  const child = spawn(process.execPath, [CHILD, JSON.stringify(world), title]);
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ]);
  return { code, output: stdout + stderr };
}

test.serial('nor does a process that ends by one', async (t) => {
  t.timeout(180_000);
  const { servers, ...world } = await useWorld(t);
  const titles = Object.keys(MISHAPS);
  const work = async () => {
    for (let title; (title = titles.shift()) !== undefined;) {
      const { code, output } = await lastWords(title, world);
      t.is(code, 1, `${title}: ${output}`);
      t.regex(output, /Error: /, title);
      keepsQuiet(t, title, output);
    }
  };
  await Promise.all(Array.from({ length: CHILDREN }, work));
});

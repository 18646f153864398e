'use strict';

// A pool is not believed before it was seen to store with NX and PX: what becomes of one that does
// not, and of one that does.

const test = require('ava');
const { Redis } = require('ioredis');

const { FailedError, Redsync } = require('../index.js');
const { newPool } = require('../lib/adapters/ioredis.js');
const { rejection, until } = require('./helpers/async.js');
const { believed } = require('./helpers/believed.js');
const { HandWrittenPool } = require('./helpers/hand-written-pool.js');
const { useProxy } = require('./helpers/proxy.js');
const { monitor, useServers } = require('./helpers/servers.js');

const HOST = '127.0.0.1';
const EXPIRY = 20_000;
const OPTIONS = { expiry: EXPIRY, timeoutFactor: 0.25, tries: 1 };

function open(t, nodes, options = OPTIONS) {
  const redsync = new Redsync(nodes, options);
  t.teardown(() => redsync.close());
  return redsync;
}

/** A pool over a server whose `setNX` is `change(send, name, value, expiry)`. */
function usePool(t, server, setNX) {
  const pool = new HandWrittenPool({ host: HOST, port: server.port });
  t.teardown(() => pool.end());
  if (setNX === undefined) return pool;
  return {
    async get(signal) {
      const conn = await pool.get(signal);
      const send = (...words) => conn.client.command(...words);
      return {
        setNX: (name, value, expiry) => setNX(send, name, value, expiry, conn),
        eval: (...args) => conn.eval(...args),
        pttl: (name) => conn.pttl(name),
        close: () => conn.close(),
      };
    },
  };
}

const isOk = async (reply) => (await reply) === 'OK';
const honest = (send, name, value, expiry) => isOk(send('SET', name, value, 'NX', 'PX', expiry));

const LIARS = {
  'leaves NX and PX out': [
    (send, name, value) => isOk(send('SET', name, value)),
    'takes a name that is taken',
  ],
  'leaves NX out': [
    (send, name, value, expiry) => isOk(send('SET', name, value, 'PX', expiry)),
    'takes a name that is taken',
  ],
  'leaves PX out': [
    (send, name, value) => isOk(send('SET', name, value, 'NX')),
    'stores without an expiry',
  ],
  'takes milliseconds for seconds': [
    (send, name, value, expiry) => isOk(send('SET', name, value, 'NX', 'EX', expiry)),
    'stores with another expiry than it is given',
  ],
  'counts in whole seconds': [
    (send, ...args) => honest(send, ...args.with(2, Math.floor(args[2] / 1000) * 1000)),
    'stores with another expiry than it is given',
  ],
  'stores for a third of the time': [
    (send, ...args) => honest(send, ...args.with(2, Math.ceil(args[2] / 3))),
    'stores with another expiry than it is given',
  ],
  'stores for a moment': [
    (send, ...args) => honest(send, ...args.with(2, 1)),
    /takes a name that is taken|stores nothing, or not for as long|stores with another expiry/,
  ],
  'stores another value': [
    (send, name, value, expiry) => honest(send, name, `"${value}"`, expiry),
    'stores another value than it is given',
  ],
  'stores under another name': [
    (send, name, ...args) => honest(send, `"${name}"`, ...args),
    'stores nothing',
  ],
  'stores nothing': [
    (() => {
      const taken = new Set();
      return async (send, name) => !taken.has(name) && Boolean(taken.add(name));
    })(),
    'stores nothing',
  ],
  'says OK': [async (...args) => ((await honest(...args)) ? 'OK' : null), 'makes no sense'],
};

for (const [title, [setNX, reason]] of Object.entries(LIARS)) {
  test(`a pool whose setNX() ${title} never grants a lock that is none`, async (t) => {
    const [server] = await useServers(t, 1);
    const pool = usePool(t, server, setNX);
    const others = [open(t, pool), open(t, pool), open(t, server.url)];
    const lock = await others[0].newMutex('name').lock().catch(failed);
    t.truthy(lock, 'the first is taken by a script');
    // For as long as the pool is looked at, and when it was found out.
    await until(async () => {
      const found = await Promise.all(
        others.map((redsync) => redsync.newMutex('name').lock().catch(failed)),
      );
      t.deepEqual(found, [undefined, undefined, undefined]);
      const left = await server.command('PTTL', 'name');
      t.true(left > 0 && left <= EXPIRY, `${left}`);
      return (await believed(others[0]))[0].status === 'down';
    });
    t.true(await lock.unlock());

    const error = await rejection(others[1].newMutex('name').lock());
    const several = await rejection(others[1].newMutex(['one', 'two']).lock());
    const [health] = await believed(others[1]);
    for (const { cause } of [error.errors[0], several.errors[0], health.error]) {
      t.regex(cause.code, /^(EPOOL|EPROTO)$/);
      t.regex(cause.message, new RegExp(`setNX\\(\\).*(${reason.source ?? reason})`));
    }
    await rejection(others[0].ready({ timeout: 100 }));
    if (title !== 'stores under another name') await until(() => isEmpty(server));
  });
}

function failed(error) {
  if (!(error instanceof FailedError)) throw error;
}

async function isEmpty(server) {
  return (await server.command('DBSIZE')) === 0;
}

/** What was sent about one name. */
function verbsOf(commands, name) {
  return commands.filter((words) => words.includes(name)).map(([verb]) => verb.toLowerCase());
}

test('a pool that does as it says is believed once it was seen, by all who use it', async (t) => {
  const [server] = await useServers(t, 1);
  const pool = usePool(t, server, honest);
  const { settle } = await monitor(t, server);
  await (await open(t, pool).newMutex('first').lock()).unlock();
  t.false(verbsOf(await settle(), 'first').includes('set'), 'by a script');
  await believed(open(t, pool));
  await (await open(t, pool).newMutex('second').lock()).unlock();
  const commands = await settle();
  t.is(verbsOf(commands, 'second')[0], 'set');

  const probed = commands.filter(([verb, name]) => verb === 'SET' && name !== 'second');
  t.is(probed.length, 2, 'looked at once');
  t.is(new Set(probed.map(([, name]) => name)).size, 1);
  t.true(await isEmpty(server), 'and nothing is left of it');
});

test('what setNX() is tried on has the prefix of the keys', async (t) => {
  const [server] = await useServers(t, 1);
  const { settle } = await monitor(t, server);
  await open(t, usePool(t, server), { ...OPTIONS, keyPrefix: 'app:' }).ready();
  const probed = (await settle()).filter(([verb]) => verb === 'SET');
  t.is(probed.length, 2);
  t.true(probed.every(([, name]) => name.startsWith('app:')));
});

test('a pool that could not be looked at is looked at again when its health is asked for', async (t) => {
  const [server] = await useServers(t, 1);
  const proxy = await useProxy(t, server);
  const redsync = open(t, usePool(t, proxy));
  proxy.answerWith('-LOADING Redis is loading the dataset in memory\r\n');
  for (let i = 0; i < 3; i++) {
    const error = await rejection(redsync.newMutex('name').lock());
    t.is(error.errors[0].cause.code, 'LOADING');
  }
  await proxy.heal();
  await (await redsync.newMutex('name').lock()).unlock();
  await believed(redsync);
  const { settle } = await monitor(t, server);
  await (await redsync.newMutex('name').lock()).unlock();
  t.is(verbsOf(await settle(), 'name')[0], 'set', 'believed');
});

test('a pool that may not be looked at is not looked at with every lock', async (t) => {
  const [server] = await useServers(t, 1);
  const allowed = [
    '+set',
    '+eval',
    '+evalsha',
    '+get',
    '+del',
    '+exists',
    '+pttl',
    '+pexpire',
    '+info',
  ];
  await server.command(
    'ACL',
    'SETUSER',
    'default',
    'resetkeys',
    '~lock:*',
    '-@all',
    '+acl',
    ...allowed,
  );
  const redsync = open(t, usePool(t, server));
  for (let i = 0; i < 50; i++) await (await redsync.newMutex(`lock:${i}`).lock()).unlock();
  const refused = await server.command('ACL', 'LOG', 1000);
  t.true(refused.length >= 1 && refused.length < 40, `${refused.length}`);
});

test('what came between once is not held against a pool', async (t) => {
  const [server] = await useServers(t, 1);
  let flushes = 0;
  const redsync = open(
    t,
    usePool(t, server, async (send, ...args) => {
      const isSet = await honest(send, ...args);
      if (flushes++ === 0) await send('FLUSHALL');
      return isSet;
    }),
  );
  t.is((await believed(redsync))[0].status, 'up');
  t.true(await (await redsync.newMutex('name').lock()).unlock());
});

test('a pool that was found out is believed when it has changed', async (t) => {
  const [server] = await useServers(t, 1);
  let isHonest = false;
  const redsync = open(
    t,
    usePool(t, server, (send, name, value, expiry) =>
      isHonest ? honest(send, name, value, expiry) : isOk(send('SET', name, value)),
    ),
  );
  t.is((await believed(redsync))[0].status, 'down');
  isHonest = true;
  await until(async () => {
    const lock = await redsync.newMutex('name').lock().catch(failed);
    return lock?.unlock();
  });
  t.is((await believed(redsync))[0].status, 'up');
});

test('a pool whose scripts are refused is not believed, and stores nothing', async (t) => {
  const [server] = await useServers(t, 1);
  await server.command('ACL', 'SETUSER', 'default', '-eval', '-evalsha');
  const redsync = open(
    t,
    usePool(t, server, (send, name, value) => isOk(send('SET', name, value))),
  );
  for (let i = 0; i < 3; i++) {
    const error = await rejection(redsync.newMutex('name').lock());
    t.is(error.errors[0].cause.code, 'NOPERM');
    await believed(redsync);
  }
  t.true(await isEmpty(server));
});

test('a pool whose setNX() always fails is not believed, and locks by a script', async (t) => {
  const [server] = await useServers(t, 1);
  for (const setNX of [
    () => {
      throw new Error('sync');
    },
    async () => {
      throw new Error('async');
    },
    async () => false,
    () => new Promise(() => {}),
  ]) {
    const redsync = open(t, usePool(t, server, setNX));
    for (let i = 0; i < 3; i++) {
      const lock = await redsync.newMutex('name').lock();
      t.is(await redsync.newMutex('name').tryLock(), null);
      t.true(await lock.unlock());
    }
  }
});

test('a client that does not say what became of a SET is found out', async (t) => {
  for (const reply of [undefined, 'QUEUED', 'PONG', 1, true, {}]) {
    const client = {
      options: {},
      set: async () => reply,
      evalsha: async () => null,
      pttl() {},
      defineCommand() {},
    };
    const [{ status, error }] = await believed(open(t, newPool(client)));
    t.is(status, 'down', String(reply));
    t.is(error.cause.message, 'the answer of setNX() makes no sense');
  }
});

const EVALS = {
  'passes arguments as names': (run, script, keys, args) =>
    run(script, [...args.slice(0, 1), ...keys], args.slice(1)),
  'gives the value for the name': (run, script, [key], args) =>
    args.length === 0 ? run(script, [key], []) : run(script, [args[0]], [key, ...args.slice(1)]),
  'always says 1': async () => 1,
  'says 1 for all but nil': async (run, ...args) => ((await run(...args)) === null ? null : 1),
  'says 1 for every integer': async (run, ...args) => {
    const reply = await run(...args);
    return typeof reply === 'number' ? 1 : reply;
  },
  'leaves the arguments out': (run, script, keys) => run(script, keys, []),
};

for (const [title, change] of Object.entries(EVALS)) {
  test(`a pool whose eval() ${title} has no two holders, and is found out`, async (t) => {
    const [server] = await useServers(t, 1);
    const honestPool = usePool(t, server);
    const pool = {
      async get(signal) {
        const conn = await honestPool.get(signal);
        const run = (...args) => conn.eval(...args);
        return {
          setNX: (...args) => conn.setNX(...args),
          eval: (...args) => change(run, ...args),
          pttl: (name) => conn.pttl(name),
          close: () => conn.close(),
        };
      },
    };
    const both = [open(t, pool), open(t, pool)];
    const lock = (redsync) => redsync.newMutex('name').lock().catch(failed);
    const locks = (await Promise.all(both.map(lock))).filter(Boolean);
    t.true(locks.length <= 1, `${locks.length} holders`);
    for (const { value } of locks) t.is(await server.command('GET', 'name'), value);
    const [{ status, error }] = await both[0].health();
    t.is(status, 'down');
    t.regex(error.cause.message, /eval\(\)/);
  });
}

test('a pool with one connection is looked at between its questions', async (t) => {
  const [server] = await useServers(t, 1);
  const one = usePool(t, server);
  let last = Promise.resolve();
  const redsync = open(t, {
    async get() {
      const before = last;
      let giveBack;
      last = new Promise((resolve) => {
        giveBack = resolve;
      });
      await before;
      const conn = await one.get();
      return {
        setNX: (...args) => conn.setNX(...args),
        eval: (...args) => conn.eval(...args),
        pttl: (name) => conn.pttl(name),
        close() {
          conn.close();
          giveBack();
        },
      };
    },
  });
  t.is((await believed(redsync))[0].status, 'up');
  const locks = await Promise.all(['a', 'b', 'c'].map((name) => redsync.newMutex(name).lock()));
  for (const lock of locks) t.true(await lock.unlock());
  t.true(await isEmpty(server));
});

test('a late answer of setNX() leaves nothing behind', async (t) => {
  const [server] = await useServers(t, 1);
  let letGo;
  const gate = new Promise((resolve) => {
    letGo = resolve;
  });
  let asked = 0;
  const redsync = open(
    t,
    usePool(t, server, async (...args) => {
      asked++;
      await gate;
      return honest(...args);
    }),
  );
  await (await redsync.newMutex('name').lock()).unlock();
  await until(() => asked === 1);
  letGo();
  await believed(redsync);
  t.is(asked, 2);
  t.true(await isEmpty(server));
});

test('a look that took too long changes nothing any more', async (t) => {
  const [server] = await useServers(t, 1);
  let letGo;
  const gate = new Promise((resolve) => {
    letGo = resolve;
  });
  let probes = 0;
  let isOver = false;
  const redsync = open(
    t,
    usePool(t, server, async (send, name, ...rest) => {
      const isProbe = name.startsWith('redsync:probe:');
      if (isProbe && ++probes === 1) await gate;
      return isProbe && isOver ? 'OK' : honest(send, name, ...rest);
    }),
  );
  const works = async () => (await redsync.newMutex('name').lock()).unlock();
  await until(async () => {
    await works();
    return probes > 1; // by another look
  });
  t.is((await believed(redsync))[0].status, 'up');
  const before = probes;
  isOver = true;
  letGo();
  await until(() => probes > before); // it tries again
  for (let i = 0; i < 20; i++) {
    t.true(await works());
    t.is((await believed(redsync))[0].status, 'up');
  }
  t.is(probes, before + 1, 'nor is it looked at again');
});

test('nothing is left of it when the client is closed behind the Redsync', async (t) => {
  const [server] = await useServers(t, 1);
  const proxy = await useProxy(t, server);
  proxy.delay(5);
  for (const change of [
    (conn) => conn,
    (conn, client) => ({
      eval: (...args) => conn.eval(...args),
      setNX: async (name, value) => (await client.set(name, value)) === 'OK',
      pttl: (name) => conn.pttl(name),
      close() {},
    }),
  ]) {
    const client = new Redis({ host: HOST, port: proxy.port, protocol: 2 });
    client.on('error', () => {});
    const conn = newPool(client).get();
    const redsync = new Redsync({ get: () => change(conn, client) });
    await (await redsync.newMutex('name').lock()).unlock();
    await redsync.close();
    client.disconnect();
    await until(async () => !(await server.command('CLIENT', 'LIST')).includes('lib-name=ioredis'));
    t.deepEqual(await server.command('KEYS', '*'), []);
  }
});

test('names that are taken in one tick are looked at one by one until the client is believed', async (t) => {
  const [server] = await useServers(t, 1);
  const client = new Redis({ host: HOST, port: server.port });
  t.teardown(() => client.disconnect());
  // Its scripts are given another value than it is.
  for (const method of ['eval', 'evalsha']) {
    const run = client[method];
    client[method] = (script, ...words) =>
      run.call(client, script, ...words.map((word) => (isValue(word) ? `"${word}"` : word)));
  }
  const redsync = open(t, newPool(client));
  const names = Array.from({ length: 20 }, (_, i) => `name ${i}`);
  const errors = await Promise.all(names.map((name) => rejection(redsync.acquire(name))));
  for (const error of errors) t.true(error instanceof FailedError, error?.stack);
});

/** Is it a random ownership value, with its owner? */
function isValue(word) {
  return typeof word === 'string' && /^[\w+/]{22}==/.test(word);
}

'use strict';

// Pools of one's own: what they may do wrong, and what comes of it.

const test = require('ava');

const { FailedError, RedisError, Redsync, TakenError } = require('../index.js');
const { delay, rejection, until, untilSteady } = require('./helpers/async.js');
const { believed } = require('./helpers/believed.js');
const { HandWrittenPool } = require('./helpers/hand-written-pool.js');
const { monitor, startServer, useServers } = require('./helpers/servers.js');

const HOST = '127.0.0.1';
const SECRET = 'xyzzy';
const OPTIONS = { expiry: 20_000, timeoutFactor: 0.25, tries: 1 };
const HASTY = { expiry: 20_000, timeoutFactor: 0.01, tries: 1 };

function open(t, nodes, options = OPTIONS) {
  const redsync = new Redsync(nodes, options);
  t.teardown(() => redsync.close());
  return redsync;
}

function usePool(t, server) {
  const pool = new HandWrittenPool({ host: HOST, port: server.port });
  t.teardown(() => pool.end());
  return pool;
}

/** The pool, but for what `change(conn)` puts in the place of a connection's methods. */
function changed(pool, change) {
  return {
    async get(signal) {
      const conn = await pool.get(signal);
      const own = change(conn);
      return {
        setNX: (...args) => conn.setNX(...args),
        eval: (...args) => conn.eval(...args),
        pttl: (...args) => conn.pttl(...args),
        close: () => conn.close(),
        ...own,
      };
    },
  };
}

/** A pool that does all as it should, and from `turn()` on is another one. */
function useTurning(t, server, other) {
  let pool = usePool(t, server);
  return {
    get: (signal) => pool.get(signal),
    turn() {
      pool = other;
    },
  };
}

const never = () => new Promise(() => {});
const secretError = () =>
  Object.assign(new Error(`redis://user:${SECRET}@host`), {
    command: { args: [SECRET] },
  });
const coded = (code) => Object.assign(new Error(SECRET), { code });
const getter = {
  get message() {
    throw new Error(SECRET);
  },
};

const conn = (methods) => ({ get: () => ({ close() {}, pttl: never, eval: never, ...methods }) });

// The pool, the code and the message of the node's error, and whether it takes its whole time.
const BAD_POOLS = {
  'get throws': [
    {
      get() {
        throw secretError();
      },
    },
    'EPOOL',
    'get() of the pool failed: Error',
  ],
  'get rejects': [
    {
      get: async () => {
        throw coded('ECONNREFUSED');
      },
    },
    'ECONNREFUSED',
    'get() of the pool failed: ECONNREFUSED',
  ],
  'get gives nothing': [{ get: () => undefined }, 'EPOOL', 'setNX() of the pool failed: TypeError'],
  'get never answers': [{ get: never }, 'ETIMEDOUT', 'no answer within the node timeout', true],
  'no such method': [conn({}), 'EPOOL', 'setNX() of the pool failed: TypeError'],
  'setNX throws': [
    conn({
      setNX() {
        throw secretError();
      },
    }),
    'EPOOL',
    'setNX() of the pool failed: Error',
  ],
  'setNX rejects': [
    conn({
      setNX: async () => {
        throw secretError();
      },
    }),
    'EPOOL',
    'setNX() of the pool failed: Error',
  ],
  'setNX rejects with a code of the server': [
    conn({
      setNX: async () => {
        throw new Error(`NOPERM ${SECRET}`);
      },
    }),
    'NOPERM',
    'setNX() of the pool failed: NOPERM',
  ],
  ...Object.fromEntries(
    [
      `ERR The user executing the script can't run this command script: ${SECRET}`,
      `ERR ACL failure in script: User ${SECRET} has no permissions to run the 'set' command`,
      'An error was signalled by the server: - ResponseError: ACL failure in script: No permissions',
    ].map((message, i) => [
      `setNX rejects with a rule that forbids it, in words ${i + 1}`,
      [
        conn({
          setNX: async () => {
            throw new Error(message);
          },
        }),
        'NOPERM',
        'setNX() of the pool failed: NOPERM',
      ],
    ]),
  ),
  'setNX rejects with a word in capitals': [
    conn({
      setNX: async () => {
        throw new Error('XYZZY is no code');
      },
    }),
    'EPOOL',
    'setNX() of the pool failed: Error',
  ],
  'setNX rejects with a bad code': [
    conn({
      setNX: async () => {
        throw coded(`E ${SECRET}`);
      },
    }),
    'EPOOL',
    'setNX() of the pool failed: Error',
  ],
  'setNX rejects with nothing': [
    conn({ setNX: () => Promise.reject() }),
    'EPOOL',
    'setNX() of the pool failed: an error',
  ],
  'setNX rejects with a trap': [
    conn({
      setNX: async () => {
        throw getter;
      },
    }),
    'EPOOL',
    'setNX() of the pool failed: an error',
  ],
  'setNX never answers': [
    conn({ setNX: never }),
    'ETIMEDOUT',
    'no answer within the node timeout',
    true,
  ],
  ...Object.fromEntries(
    [undefined, null, 1, 'OK', SECRET, {}, Infinity].map((answer) => [
      `setNX answers ${typeof answer} ${String(answer)}`,
      [conn({ setNX: async () => answer }), 'EPROTO', 'the answer of setNX() makes no sense'],
    ]),
  ),
};

let server;
test.before(async () => {
  server = await startServer();
});
test.after.always(() => server.stop());

for (const [title, [pool, code, message, isSlow]] of Object.entries(BAD_POOLS)) {
  test(`a pool is a node that fails: ${title}`, async (t) => {
    const turning = useTurning(t, server, pool);
    const alone = open(t, turning, isSlow ? HASTY : OPTIONS);
    await believed(alone); // it is believed now
    turning.turn();
    const error = await rejection(alone.newMutex('name').lock());
    t.true(error instanceof FailedError);
    t.false(error instanceof TakenError);
    const [nodeError] = error.errors;
    t.true(nodeError instanceof RedisError);
    t.is(nodeError.cause.code, code);
    t.is(nodeError.cause.message, message);
    t.false(require('node:util').inspect(error, { depth: 9 }).toLowerCase().includes(SECRET));

    const among = open(t, ['memory:', 'memory:', turning], isSlow ? HASTY : OPTIONS);
    const lock = await among.newMutex('name').lock();
    t.true(await lock.unlock());
  });
}

test('a pool is asked for as many milliseconds as were wanted', async (t) => {
  const asked = [];
  const [server] = await useServers(t, 1);
  const redsync = open(
    t,
    changed(usePool(t, server), (conn) => ({
      setNX: (name, value, expiry) => asked.push(expiry) && conn.setNX(name, value, expiry),
      eval(script, keys, args) {
        if (args[1] !== undefined) asked.push(args[1]);
        return conn.eval(script, keys, args);
      },
    })),
  );
  await redsync.health();
  asked.splice(0);
  // Seconds and back again, in floating point, is not the same for some of them.
  const wanted = Array.from({ length: 10_000 }, (_, i) => 60_000 + i).filter(
    (ms) => (Math.floor(ms / 1000) + (ms % 1000) / 1000) * 1000 !== ms,
  );
  t.true(wanted.length > 10);
  for (const expiry of [...wanted.slice(0, 100), 86_399_999]) {
    const lock = await redsync.newMutex('name', { expiry }).lock();
    await lock.extend();
    await lock.unlock();
    t.deepEqual(asked.splice(0), [expiry, expiry]);
  }
});

test('what a pool threw itself is there for those who ask', async (t) => {
  const mine = () => Object.assign(new Error(`redis://user:${SECRET}@host`), { mine: true });
  const thrown = new Map();
  const throwing = (node, name) => () => {
    const error = mine();
    thrown.set(node, [...(thrown.get(node) ?? []), error]);
    throw new Map([[name, error]]).get(name);
  };
  const pools = [0, 1, 2].map((node) =>
    conn({
      setNX: throwing(node, 'setNX'),
      eval: throwing(node, 'eval'),
      pttl: throwing(node, 'pttl'),
    }),
  );
  const redsync = open(t, [...pools, { get: throwing(3, 'get') }, 'memory:'], {
    ...OPTIONS,
    tries: 2,
    retryDelay: 1,
  });
  const mutex = redsync.newMutex('name', { value: 'value' });
  for (const call of ['lock', 'extend', 'unlock', 'valid']) {
    const { errors } = await rejection(mutex[call]());
    for (const error of errors.filter(({ node }) => node < 4)) {
      t.true(thrown.get(error.node).includes(error.thrown), `${call} ${error.node}`);
    }
    t.is(new Set(errors.map((error) => error.thrown)).size, errors.length);
  }
  const told = [...(await redsync.health()), ...(await redsync.inspect('name'))];
  for (const { node, error } of told.filter(({ node }) => node < 4)) {
    t.true(thrown.get(node).includes(error.thrown), `${node}`);
  }
});

// By itself: others could not find theirs among so many.
test.serial('what pools threw is kept for a bounded number of calls only', async (t) => {
  let count = 0;
  const turning = useTurning(
    t,
    server,
    conn({
      setNX: async () => {
        throw new Error(`the ${count++}th`);
      },
      eval: async () => -1,
    }),
  );
  const redsync = open(t, turning);
  await believed(redsync);
  turning.turn();
  const calls = Array.from({ length: 1500 }, (_, i) => redsync.newMutex(`name:${i}`).lock());
  const errors = (await Promise.allSettled(calls)).map(({ reason }) => reason.errors[0]);
  t.true(errors.every(({ cause }) => cause.code === 'EPOOL'));
  const kept = errors.map(({ thrown }) => thrown).filter((thrown) => thrown !== undefined);
  t.is(new Set(kept).size, kept.length);
  t.true(kept.length > 0);
  const [{ thrown }] = (await rejection(redsync.newMutex('name').lock())).errors;
  t.is(thrown.message, 'the 1500th');
});

test('answers that are no votes do not count as such', async (t) => {
  for (const answer of [2, -2, NaN, 1.5, '1.0', 'OK', null, true, [1]]) {
    const turning = useTurning(t, server, conn({ eval: async () => answer }));
    const redsync = open(t, turning);
    const lock = await redsync.newMutex(`no votes ${String(answer)}`).lock();
    turning.turn();
    for (const call of [() => lock.extend(), () => lock.unlock()]) {
      const error = await rejection(call());
      t.is(error.errors[0].cause.message, 'the answer of eval() makes no sense', String(answer));
    }
  }
  // Of several names, there is nothing that an acquisition could find absent.
  const redsync = open(t, conn({ eval: async () => -1 }));
  t.is((await rejection(redsync.newMutex(['a', 'b']).lock())).errors[0].cause.code, 'EPROTO');
});

test('integers may be strings or bigints', async (t) => {
  const [server] = await useServers(t, 1);
  for (const turn of [String, BigInt]) {
    const redsync = open(
      t,
      changed(usePool(t, server), (conn) => ({
        async eval(...args) {
          const reply = await conn.eval(...args);
          return typeof reply === 'number' ? turn(reply) : reply;
        },
        pttl: async (name) => turn(await conn.pttl(name)),
      })),
    );
    const lock = await redsync.newMutex(['a', 'b']).lock();
    t.true(await lock.extend());
    t.true(await lock.mutex.valid());
    t.true(await lock.unlock());
    t.is((await believed(redsync))[0].status, 'up');
  }
});

test('a late success is released', async (t) => {
  const [server] = await useServers(t, 1);
  let letGo;
  const gate = new Promise((resolve) => {
    letGo = resolve;
  });
  const pool = changed(usePool(t, server), (conn) => ({
    setNX: async (...args) => {
      if (args[0] === 'late') await gate;
      return conn.setNX(...args);
    },
  }));
  const redsync = open(t, pool, HASTY);
  await believed(redsync);
  const { settle, commands } = await monitor(t, server);
  const error = await rejection(redsync.newMutex('late').lock());
  t.is(error.errors[0].cause.code, 'ETIMEDOUT');
  t.is((await settle()).length, 0);
  await delay(2000); // again and again it is to be released

  letGo();
  await until(() => commands.some(([command]) => /^eval/i.test(command)));
  await untilSteady(async () => (await server.command('EXISTS', 'late')) === 0);
  const verbs = commands.map(([command]) => command.toLowerCase());
  t.is(verbs[0], 'set', 'it was set');
  t.regex(verbs[1], /^eval/, 'and released behind that');
  const scripts = verbs.filter((verb) => verb.startsWith('eval'));
  t.true(scripts.length <= 2, 'once, or twice if nobody was left to hear of it');
});

test('a connection that comes too late is given back unused', async (t) => {
  const [server] = await useServers(t, 1);
  const pool = usePool(t, server);
  let letGo;
  let aborted = 0;
  let closed = 0;
  let gate;
  const redsync = open(
    t,
    {
      async get(signal) {
        if (gate === undefined) return pool.get(signal);
        signal.addEventListener('abort', () => aborted++);
        await gate;
        const conn = await pool.get();
        return {
          ...conn,
          eval: (...args) => conn.eval(...args),
          setNX: () => t.fail(),
          close() {
            closed++;
            conn.close();
          },
        };
      },
    },
    HASTY,
  );
  await believed(redsync);
  gate = new Promise((resolve) => {
    letGo = resolve;
  });
  await rejection(redsync.newMutex('late').lock());
  await until(() => aborted > 0);
  letGo();
  await until(() => closed > 0);
  await untilSteady(() => pool.out === 0);
  t.is(await server.command('EXISTS', 'late'), 0);
});

test('many may listen to the signal of a get()', async (t) => {
  const warnings = [];
  const listen = (warning) => warnings.push(warning.name);
  process.on('warning', listen);
  t.teardown(() => process.off('warning', listen));
  const [server] = await useServers(t, 1);
  const redsync = open(t, usePool(t, server));
  // Far more than the connections of the pool: the others wait for one.
  const locks = await Promise.all(
    Array.from({ length: 100 }, (_, i) => redsync.newMutex(`name ${i}`).lock()),
  );
  await Promise.all(locks.map((lock) => lock.unlock()));
  await new Promise(setImmediate);
  t.false(warnings.includes('MaxListenersExceededWarning'));
});

test('every connection is given back, whatever becomes of the question', async (t) => {
  const [server] = await useServers(t, 1);
  const pool = usePool(t, server);
  const redsync = open(t, pool);
  await Promise.all(
    Array.from({ length: 100 }, async (_, i) => {
      const lock = await redsync.newMutex(`name ${i % 10}`).tryLock();
      await lock?.extend();
      await lock?.unlock();
    }),
  );
  await server.command('CONFIG', 'SET', 'maxmemory', 1);
  await rejection(redsync.newMutex('oom').lock());
  await until(() => pool.out === 0);
  await server.command('CONFIG', 'SET', 'maxmemory', 0);

  for (const close of [
    () => {
      throw new Error(SECRET);
    },
    async () => {
      throw new Error(SECRET);
    },
  ]) {
    const bad = open(
      t,
      changed(pool, (conn) => ({
        close() {
          conn.close();
          return close();
        },
      })),
    );
    t.true(await (await bad.newMutex('name').lock()).unlock());
  }
});

test('questions about a key are asked one after the other, others side by side', async (t) => {
  const [server] = await useServers(t, 1);
  const busy = new Map();
  let most = 0;
  const track = async (keys, ask) => {
    for (const key of keys) {
      t.false(busy.has(key), `${key} twice`);
      busy.set(key, true);
    }
    most = Math.max(most, busy.size);
    try {
      await new Promise(setImmediate);
      return await ask();
    } finally {
      for (const key of keys) busy.delete(key);
    }
  };
  const pool = changed(usePool(t, server), (conn) => ({
    setNX: (...args) => track([args[0]], () => conn.setNX(...args)),
    eval: (...args) => track(args[1], () => conn.eval(...args)),
  }));
  const redsync = open(t, pool);
  await believed(redsync);
  const names = ['a', 'b', 'c', ['a', 'b'], ['b', 'c'], ['c', 'a'], ['c', 'b', 'a']];
  await Promise.all(
    Array.from({ length: 140 }, async (_, i) => {
      const mutex = redsync.newMutex(names[i % names.length]);
      const lock = await mutex.tryLock();
      await Promise.all([lock?.unlock(), mutex.valid()]);
    }),
  );
  await redsync.close(); // behind what is released in the background
  t.true(most > 1, 'side by side');
  t.is(await server.command('DBSIZE'), 0);
});

test('a pool that owes an answer is asked no more than now and then, until it answers', async (t) => {
  const answers = [];
  let asked = 0;
  let isBack = false;
  const pool = conn({
    setNX: () =>
      new Promise((resolve) => {
        asked++;
        if (isBack) resolve(true);
        else answers.push(() => resolve(true));
      }),
    eval: async () => 1,
  });
  const turning = useTurning(t, server, pool);
  const redsync = open(t, ['memory:', 'memory:', turning], HASTY);
  await believed(redsync);
  turning.turn();
  await (await redsync.newMutex('first').lock()).unlock(); // waits for its whole time
  const before = asked;
  for (let i = 0; i < 200; i++) await (await redsync.newMutex(`name ${i}`).lock()).unlock();
  t.true(asked - before < 20, `${asked - before} of 200`);
  for (const answer of answers.splice(0)) answer();
  await until(async () => {
    const after = asked;
    const locking = redsync.newMutex('again').lock();
    await until(() => answers.length > 0 || asked === after);
    for (const answer of answers.splice(0)) answer();
    await (await locking).unlock();
    return asked > after;
  });
  isBack = true;
  for (const answer of answers.splice(0)) answer();
  await until(async () => {
    const after = asked;
    for (let i = 0; i < 20; i++) await (await redsync.newMutex(`back ${i}`).lock()).unlock();
    return asked - after === 20;
  });
});

test.serial('a pool that never answers is asked so many questions, and no more', async (t) => {
  const redsync = open(t, { get: never });
  const asking = Array.from({ length: 10_050 }, () => redsync.health({ timeout: 1000 }));
  const codes = (await Promise.all(asking)).map(([{ error }]) => error.cause.code);
  t.is(codes.filter((code) => code === 'ETIMEDOUT').length, 10_000);
  t.is(codes.filter((code) => code === 'ENOBUFS').length, 50);
});

test('close() does not wait for a pool that never answers, and asks it no more', async (t) => {
  let asked = 0;
  const pool = {
    get() {
      asked++;
      return new Promise(() => {});
    },
  };
  const redsync = open(t, pool, HASTY);
  await rejection(redsync.newMutex('name').lock());
  await redsync.close();
  const before = asked;
  t.is((await rejection(redsync.newMutex('name').lock())).code, 'ERR_CLOSED');
  t.is(asked, before);
});

test('health() tells of a pool what is known', async (t) => {
  const [server] = await useServers(t, 1);
  const good = usePool(t, server);
  const bad = {
    get: () => {
      throw coded('ECONNREFUSED');
    },
  };
  const redsync = open(t, [good, bad, { get: never }]);
  await believed(open(t, good));
  const [up, down, silent] = await redsync.health({ timeout: 200 });
  t.is(up.status, 'up');
  t.is(up.endpoint, `${HOST}:${server.port}`);
  t.true(up.latency > 0);
  t.is(down.status, 'down');
  t.is(down.endpoint, 'pool');
  t.is(down.error.cause.code, 'ECONNREFUSED');
  t.is(silent.error.cause.code, 'ETIMEDOUT');
  const error = await rejection(redsync.ready({ timeout: 300 }));
  t.is(error.errors.length, 2);
});

test('a held lock is kept alive over pools', async (t) => {
  const [server] = await useServers(t, 1);
  const redsync = open(t, usePool(t, server), {
    expiry: 1000,
    timeoutFactor: 0.4,
    autoExtend: true,
  });
  const lock = await redsync.newMutex('kept').lock();
  const { until: first } = lock;
  await until(() => lock.until - first > 1000);
  t.is(await server.command('GET', 'kept'), lock.value);
  t.true(await lock.unlock());
});

test('what a pool says of itself is checked', (t) => {
  const get = never;
  for (const endpoint of ['redis://user:xyzzy@host', '', 'a\nb', 'x'.repeat(300)]) {
    const error = t.throws(() => new Redsync({ get, endpoint }), { instanceOf: RangeError });
    t.regex(error.message, /"nodes\.endpoint" argument must be /);
    t.notRegex(error.message, /xyzzy/);
  }
  t.throws(() => new Redsync({ get, endpoint: 7 }), { instanceOf: TypeError });
  t.throws(() => new Redsync([{ get, isCluster: 1 }]), {
    instanceOf: TypeError,
    message: /"nodes\[0\]\.isCluster" argument must be a boolean/,
  });
  const pool = { get };
  t.throws(() => new Redsync([pool, 'memory:', pool]), {
    instanceOf: RangeError,
    message: 'nodes[2] is the same node as nodes[0]',
  });
  t.notThrows(() => new Redsync([{ get }, { get }]));
  const redsync = new Redsync({ get, isCluster: true });
  t.throws(() => redsync.newMutex(['a', 'b']), { message: /one slot/ });
});

/** As loggers and error trackers write errors: they follow `cause` and `errors`, getters or not. */
function log(error) {
  const { message, stack, cause, errors = [] } = error;
  return [message, stack, ...errors.map(log), ...(cause instanceof Error ? [log(cause)] : [])].join(
    '\n',
  );
}

test('what a pool threw itself is in no log that follows the causes', async (t) => {
  const fail = async () => {
    throw secretError();
  };
  const redsync = open(t, conn({ setNX: fail, eval: fail, pttl: fail }));
  const error = await rejection(redsync.newMutex('name').lock());
  t.false(log(error).includes(SECRET));
  const [health] = await redsync.health();
  t.false(log(health.error).includes(SECRET));
});

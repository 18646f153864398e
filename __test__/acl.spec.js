'use strict';

const fs = require('node:fs');
const path = require('node:path');

const test = require('ava');

const { FailedError, Redsync, RedisError } = require('../index.js');
const { rejection, until } = require('./helpers/async.js');
const { useCluster } = require('./helpers/cluster.js');
const { useServers } = require('./helpers/servers.js');

const OPTIONS = { expiry: 20_000, tries: 1, keyPrefix: 'lock:' };

// The rule that people copy is the rule that is tested.
const OPERATIONS = fs.readFileSync(path.join(__dirname, '..', 'docs', 'operations.md'), 'utf8');
const [, USER, PASSWORD, RULE] =
  /^ACL SETUSER (\S+) on >(\S+) (~lock:\* resetchannels -@all .*)$/m.exec(OPERATIONS);
const COMMANDS = [...RULE.matchAll(/\+(\S+)/g)].map(([, command]) => command);

// Tried on every connection, and done without where it is refused.
const COURTESIES = /^(client|delex|delifeq|hello|info|role)\b/;

/** A server that lets a user of that name in, by the rule. */
async function useServerWith(t, rule = RULE.split(' '), options) {
  const [server] = await useServers(t, 1, options);
  await server.command('ACL', 'SETUSER', USER, 'reset', 'on', `>${PASSWORD}`, ...rule);
  return server;
}

function urlOf(server) {
  return server.url.replace('redis://', `redis://${USER}:${PASSWORD}@`);
}

function connect(t, nodes, options) {
  const redsync = new Redsync(nodes, { ...OPTIONS, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

// What can be asked of a mutex. Each takes and releases its own lock, as far as it gets.
const BEHAVIOURS = {
  async 'one name'(t, redsync) {
    const lock = await redsync.newMutex('one').lock();
    const held = redsync.newMutex('one');
    t.is(await held.tryLock(), null);
    t.true(await lock.mutex.valid());
    t.true(await lock.extend());
    t.true(await lock.unlock());
    const again = await rejection(lock.unlock());
    if (again.code !== 'ERR_LOCK_EXPIRED') throw again;
  },

  async 'a rest'(t, redsync) {
    const lock = await redsync.acquire('rest', { holdAtLeast: 10_000 });
    t.true(await lock.unlock());
    t.is(await redsync.newMutex('rest').tryLock(), null);
    t.true(await redsync.newMutex('rest', { value: lock.value }).unlock());
  },

  async 'several names'(t, redsync) {
    const lock = await redsync.newMutex(['one', 'two']).lock();
    t.is(await redsync.newMutex(['two', 'three']).tryLock(), null);
    t.true(await lock.mutex.valid());
    t.true(await lock.extend());
    t.true(await lock.unlock());
  },

  async 'a longer life'(t, redsync) {
    const lock = await redsync.newMutex('longer', { expiry: 10_000 }).lock();
    const { value } = lock;
    const longer = redsync.newMutex('longer', { value, expiry: 60_000 });
    t.true(await longer.extend());
    t.true(await longer.unlock());
  },

  async 'a key that vanished'(t, redsync, server) {
    const mutex = redsync.newMutex('gone', { setNXOnExtend: true });
    const lock = await mutex.lock();
    await server.command('DEL', 'lock:gone');
    t.true(await lock.extend());
    t.is(await server.command('GET', 'lock:gone'), lock.value);
    t.true(await lock.unlock());
  },

  async health(t, redsync) {
    await redsync.ready({ timeout: 2000 });
    const [health] = await redsync.health();
    t.is(health.status, 'up');
    t.is(health.error, undefined);
  },
};

async function refusals(server) {
  const entries = await server.command('ACL', 'LOG');
  return entries
    .filter((entry) => entry.includes(USER))
    .map((entry) => entry[entry.indexOf('object') + 1])
    .filter((object) => !COURTESIES.test(object));
}

test.serial(
  'the rule of the operations page allows everything, and lets nothing be refused',
  async (t) => {
    const server = await useServerWith(t);
    const redsync = connect(t, urlOf(server));
    for (const behaviour of Object.values(BEHAVIOURS)) await behaviour(t, redsync, server);
    await server.command('SCRIPT', 'FLUSH');
    for (const behaviour of Object.values(BEHAVIOURS)) await behaviour(t, redsync, server);
    t.deepEqual(await refusals(server), []);
    t.is(await server.command('DBSIZE'), 0);
  },
);

test.serial('the rule of the operations page allows everything on a quorum of nodes', async (t) => {
  const servers = await Promise.all([1, 2, 3].map(() => useServerWith(t)));
  const redsync = connect(t, servers.map(urlOf), { failFast: true });
  for (const name of ['one name', 'several names', 'health']) {
    await BEHAVIOURS[name](t, redsync, servers[0]);
  }
});

/** The node's error within whatever a behaviour failed with. */
function nodeErrorOf(error) {
  if (!(error instanceof FailedError)) throw error;
  const [nodeError] = error.errors;
  if (!(nodeError instanceof RedisError)) throw error;
  return nodeError;
}

/** What went wrong when all behaviours were tried one after the other. */
async function failures(t, redsync, server) {
  const errors = [];
  for (const behaviour of Object.values(BEHAVIOURS)) {
    await server.command('FLUSHALL');
    try {
      await behaviour(t, redsync, server);
    } catch (error) {
      errors.push(nodeErrorOf(error));
    }
  }
  return errors;
}

for (const command of COMMANDS) {
  test.serial(`nothing is spare in the rule: without +${command} it is missed`, async (t) => {
    const server = await useServerWith(t, [...RULE.split(' '), `-${command}`]);
    const redsync = connect(t, urlOf(server));
    const errors = await failures(t, redsync, server);
    t.true(errors.length > 0);
    for (const { cause } of errors) {
      t.is(cause.code, 'NOPERM', cause.message);
      t.regex(cause.message, new RegExp(`\\b${command}\\b`, 'i'));
    }
  });
}

test.serial('a name beyond the pattern of the user is refused', async (t) => {
  const server = await useServerWith(t);
  const redsync = connect(t, urlOf(server), { keyPrefix: '' });
  for (const names of ['elsewhere', ['lock:here', 'elsewhere']]) {
    const { cause } = nodeErrorOf(await rejection(redsync.newMutex(names).lock()));
    t.is(cause.code, 'NOPERM');
  }
  t.is(await server.command('DBSIZE'), 0);
});

/** What the table of the operations page says to bring something. */
function rightFor(what) {
  return new RegExp(`^\\| \`(\\+\\w+)\` \\| \`${what}\``, 'm').exec(OPERATIONS)[1];
}

test.serial('fencing needs the right that the operations page names, and no other', async (t) => {
  const fencing = async (redsync) => {
    for (const names of ['one', ['one', 'two']]) {
      const lock = await redsync.newMutex(names, { fencing: true }).lock();
      t.true(lock.token > 0);
      t.true(await lock.extend());
      t.true(await lock.unlock());
    }
  };
  const without = await useServerWith(t);
  const { cause } = nodeErrorOf(await rejection(fencing(connect(t, urlOf(without)))));
  t.is(cause.code, 'NOPERM');
  t.regex(cause.message, /TIME/);

  const server = await useServerWith(t, [...RULE.split(' '), rightFor('fencing')]);
  await fencing(connect(t, urlOf(server)));
  t.deepEqual(await refusals(server), []);
});

test.serial('fencing needs one pattern more in a cluster, or tags', async (t) => {
  const cluster = await useCluster(t);
  const rule = [...RULE.split(' '), rightFor('fencing')];
  const admit = (...more) => {
    const user = ['ACL', 'SETUSER', USER, 'reset', 'on', `>${PASSWORD}`, ...rule, ...more];
    return Promise.all(cluster.servers.map((server) => server.command(...user)));
  };
  await admit();
  const url = cluster.url().replace('//', `//${USER}:${PASSWORD}@`);
  const redsync = connect(t, url, { fencing: true, tries: 5 });
  const { cause } = nodeErrorOf(await rejection(redsync.newMutex('one').lock()));
  t.is(cause.code, 'NOPERM');
  const tagged = await redsync.newMutex('{one}').lock();
  t.true(await tagged.unlock());

  const [, pattern] = /^\| `\+time` .*`(~\S+)`/m.exec(OPERATIONS);
  await admit(pattern);
  const lock = await redsync.newMutex('one').lock();
  t.true(lock.token > 0);
  t.true(await lock.unlock());
});

/** A reader, a writer who waits for him and becomes one, and the next; `redsync` waits patiently. */
async function readAndWrite(t, redsync) {
  const reader = await redsync.newMutex('one', { mode: 'read' }).lock();
  t.true(await reader.extend());
  const options = { mode: 'write', tries: Infinity, retryDelay: 20 };
  const waiting = redsync.newMutex('one', options).lock();
  await until(async () => {
    const second = await redsync.newMutex('one', { mode: 'read' }).tryLock();
    await second?.unlock();
    return second === null;
  });
  t.true(await reader.unlock());
  const writer = await waiting;
  t.true(await writer.extend());
  await writer.downgrade();
  t.true(await writer.mutex.valid());
  t.true(await writer.unlock());
}

const READERS_RULE = /^\| `([^`]+)` \| `mode: 'read'`/m.exec(OPERATIONS)[1].split(' ');

test.serial('readers need the rights that the operations page names, and no other', async (t) => {
  const server = await useServerWith(t, [...RULE.split(' '), ...READERS_RULE]);
  const redsync = connect(t, urlOf(server));
  await readAndWrite(t, redsync);
  await server.command('SCRIPT', 'FLUSH');
  await readAndWrite(t, redsync);
  t.deepEqual(await refusals(server), []);
  t.is(await server.command('DBSIZE'), 0);
  const writer = await useServerWith(t);
  const lock = await connect(t, urlOf(writer)).newMutex('one', { mode: 'write' }).lock();
  t.true(await lock.extend());
  t.true(await lock.unlock());
  t.deepEqual(await refusals(writer), []);
});

for (const right of READERS_RULE) {
  test.serial(
    `nothing is spare in the rights of readers: without ${right} it is missed`,
    async (t) => {
      const rights = READERS_RULE.filter((other) => other !== right);
      const server = await useServerWith(t, [...RULE.split(' '), ...rights]);
      const redsync = connect(t, urlOf(server));
      const read = async () => {
        const one = await redsync.newMutex('one', { mode: 'read' }).lock();
        const two = await redsync.newMutex('one', { mode: 'read', expiry: 10_000 }).lock();
        await one.mutex.valid();
        await one.unlock();
        await two.unlock();
      };
      const { cause } = nodeErrorOf(await rejection(read()));
      t.is(cause.code, 'NOPERM', cause.message);
      t.regex(cause.message, new RegExp(`\\b${right.slice(1)}\\b`, 'i'));
    },
  );
}

test.serial('readers and writers need one pattern more in a cluster', async (t) => {
  const cluster = await useCluster(t);
  const rights = [...RULE.split(' '), ...READERS_RULE];
  const [, pattern] = /^\| `\+time \+zadd.*`(~\S+)`/m.exec(OPERATIONS);
  const admit = (...more) => {
    const user = ['ACL', 'SETUSER', USER, 'reset', 'on', `>${PASSWORD}`, ...rights, ...more];
    return Promise.all(cluster.servers.map((server) => server.command(...user)));
  };
  await admit();
  const url = cluster.url().replace('//', `//${USER}:${PASSWORD}@`);
  const redsync = connect(t, url, { tries: 5 });
  for (const mode of ['read', 'write']) {
    const { cause } = nodeErrorOf(await rejection(redsync.newMutex('one', { mode }).lock()));
    t.is(cause.code, 'NOPERM');
  }
  await admit(pattern);
  await readAndWrite(t, redsync);
});

test.serial(
  'quarantine needs the right that the operations page names, or it is told',
  async (t) => {
    const quarantine = 3_600_000;
    const without = await useServerWith(t);
    const careless = connect(t, urlOf(without), { quarantine });
    t.true(await (await careless.newMutex('one').lock()).unlock());
    const [{ status, error, abstains }] = await careless.health();
    t.deepEqual([status, error.cause.code, abstains], ['up', 'NOPERM', undefined]);
    t.regex(error.message, /votes without quarantine.*INFO/);

    const server = await useServerWith(t, [...RULE.split(' '), rightFor('quarantine')]);
    const redsync = connect(t, urlOf(server), { quarantine });
    const { cause } = nodeErrorOf(await rejection(redsync.newMutex('one').lock()));
    t.is(cause.code, 'EABSTAINED');
    const [health] = await redsync.health();
    t.like(health, { status: 'up', error: undefined });
    t.true(health.abstains > quarantine / 2, `${health.abstains}`);
    t.deepEqual(await refusals(server), []);
  },
);

test.serial('a rule that becomes enough heals without a new Redsync', async (t) => {
  const server = await useServerWith(t, [...RULE.split(' '), '-set']);
  const redsync = connect(t, urlOf(server));
  const { cause } = nodeErrorOf(await rejection(redsync.newMutex('healed').lock()));
  t.is(cause.code, 'NOPERM');
  await server.command('ACL', 'SETUSER', USER, '+set');
  const lock = await redsync.newMutex('healed').lock();
  t.true(await lock.unlock());
});

test.serial('a user that is switched off is told, and heals when it is back', async (t) => {
  const server = await useServerWith(t);
  const redsync = connect(t, urlOf(server));
  await BEHAVIOURS['one name'](t, redsync, server);
  await server.command('ACL', 'SETUSER', USER, 'off');
  await server.command('CLIENT', 'KILL', 'USER', USER);
  await until(async () => {
    const error = await rejection(redsync.newMutex('off').lock());
    return nodeErrorOf(error).cause.code === 'WRONGPASS';
  });
  await server.command('ACL', 'SETUSER', USER, 'on');
  const lock = await until(() =>
    redsync
      .newMutex('off')
      .lock()
      .catch(() => null),
  );
  t.true(await lock.unlock());
});

test.serial('user, database and keyPrefix go together', async (t) => {
  const server = await useServerWith(t, [...RULE.split(' '), '+select']);
  const redsync = connect(t, `${urlOf(server)}/5`);
  const lock = await redsync.newMutex('in-5').lock();
  const client = await server.connect();
  t.teardown(() => client.close());
  t.is(await client.command('EXISTS', 'lock:in-5'), 0);
  await client.command('SELECT', 5);
  t.is(await client.command('GET', 'lock:in-5'), lock.value);
  t.true(await lock.extend());
  t.true(await lock.unlock());
  t.is(await client.command('DBSIZE'), 0);
});

test.serial('a database that must not be selected is told', async (t) => {
  const server = await useServerWith(t);
  const redsync = connect(t, `${urlOf(server)}/5`);
  const { cause } = nodeErrorOf(await rejection(redsync.newMutex('in-5').lock()));
  t.is(cause.code, 'NOPERM');
  t.regex(cause.message, /SELECT/);
  t.is(await server.command('DBSIZE'), 0);
});

test.serial('a user without a password logs in', async (t) => {
  const server = await useServerWith(t, [...RULE.split(' '), 'nopass']);
  const redsync = connect(t, server.url.replace('redis://', `redis://${USER}@`));
  await BEHAVIOURS['one name'](t, redsync, server);
  t.deepEqual(await refusals(server), []);
});

test.serial(
  'a unix socket takes a password, or a user with the rule of the operations page',
  async (t) => {
    const options = { unixSocket: true, password: 'hunter2' };
    const server = await useServerWith(t, RULE.split(' '), options);
    const path = server.socket;
    for (const node of [
      `redis+unix://:hunter2@${path}`,
      { path, password: 'hunter2' },
      { path, username: USER, password: PASSWORD },
    ]) {
      await BEHAVIOURS['one name'](t, connect(t, node), server);
    }
    const missing = await rejection(connect(t, { path }).newMutex('refused').lock());
    t.is(nodeErrorOf(missing).cause.code, 'NOAUTH');
    const wrong = await rejection(connect(t, { path, password: 'x' }).newMutex('refused').lock());
    t.is(nodeErrorOf(wrong).cause.code, 'WRONGPASS');
    t.is(await server.command('DBSIZE'), 0);
  },
);

'use strict';

// What no server should say, said by a proxy: it is never a vote, it costs bounded time and memory,
// and the node is used again as soon as it talks sense.

const test = require('ava');

const { FailedError, Redsync, RedisError, TakenError } = require('../index.js');
const { delay, elapsed, rejection, until, untilSteady } = require('./helpers/async.js');
const { HOLDING, LOCKING, only, useProxy } = require('./helpers/proxy.js');
const { useServers } = require('./helpers/servers.js');

const EXPIRY = 120_000;
const NODE_TIMEOUT = 250;
const OPTIONS = { expiry: EXPIRY, timeoutFactor: NODE_TIMEOUT / EXPIRY, tries: 1 };
const BOUND = 10 * NODE_TIMEOUT;
const HEALED_WITHIN = 3000;

const MIB = 1024 * 1024;
const MAX_GROWTH = 32 * MIB;

/** One node whose server stores somebody else's lock under `taken`, behind a proxy. */
async function useNode(t) {
  const [server] = await useServers(t, 1);
  await server.command('SET', 'taken', 'foreign');
  const proxy = await useProxy(t, server);
  const redsync = new Redsync(proxy.url, OPTIONS);
  t.teardown(() => redsync.close());
  await redsync.ready();
  return { server, proxy, redsync };
}

/** Locks a name that must not be granted; gives the error. */
async function refusal(t, redsync, name = 'taken') {
  const call = redsync.newMutex(name).lock();
  const took = await elapsed(call);
  t.true(took < BOUND, `took ${took} ms`);
  const error = await rejection(call);
  t.true(error instanceof FailedError, error.stack);
  return error;
}

function isNodeError(t, error, codes) {
  t.is(error.constructor, FailedError, error.stack);
  t.is(error.errors.length, 1);
  const [node] = error.errors;
  t.true(node instanceof RedisError);
  t.is(node.node, 0);
  t.true(codes.includes(node.cause.code), node.message);
}

/** The node talks sense again: it is used, it was never overwritten, nothing is left on it. */
async function recovers(t, { server, proxy, redsync }) {
  await proxy.heal();
  const start = performance.now();
  await until(async () => {
    const lock = await redsync
      .newMutex('free')
      .lock()
      .catch(() => null);
    return lock && (await lock.unlock());
  });
  const took = performance.now() - start;
  t.true(took < HEALED_WITHIN, `recovered after ${took} ms`);
  t.true((await refusal(t, redsync)) instanceof TakenError);
  t.is(await server.command('GET', 'taken'), 'foreign');
  await untilSteady(async () => (await server.command('DBSIZE')) === 1, { period: 100 });
}

function repeat(count, text) {
  return text.repeat(count);
}

/** The same bytes every time, so that a failure can be had again. (mulberry32) */
function noise(seed, length) {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    bytes[i] = mixed >>> 24;
  }
  return bytes;
}

// Followed by nothing, some of these are the beginning of a reply that never ends.
const GARBAGE = [
  ['HTTP', 'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n'],
  ['a page', '<html><body>login</body></html>\n'],
  ['an empty line', '\r\n'],
  ['a line that ends with LF', '+OK\n'],
  ['a line with a CR', '+O\rK\r\n'],
  ['a negative length of a verbatim string', '=-1\r\n'],
  ['a negative length of a map', '%-1\r\n'],
  ['a negative length of an array', '*-2\r\n'],
  ['a negative length of a string', '$-2\r\n'],
  ['a length that is no number', '$OK\r\n'],
  ['a length beyond 64 bits', '$99999999999999999999\r\n'],
  ['a string of 2 GB', '$2000000000\r\nx'],
  ['an array of 1,000,000,000', '*1000000000\r\n'],
  ['deep nesting', `${repeat(100_000, '*1\r\n')}:1\r\n`],
  ['a string without its end', '$3\r\nfooXX'],
  ['a number that is none', ':1x\r\n'],
  ['a second answer in the same packet', '+OK\r\n+OK\r\n'],
  ['OK before the real answer, in the same packet', '+OK\r\n$-1\r\n'],
  ['OK after the real answer, in the same packet', '$-1\r\n+OK\r\n'],
  ['1000 answers', repeat(1000, '+OK\r\n')],
  ['a push message in the middle of nothing', '>2\r\n+invalidate\r\n*-2\r\n'],
  ['noise', noise(1, 4096)],
  ['noise behind the head of a string', Buffer.concat([Buffer.from('$8\r\n'), noise(2, 4096)])],
];

for (const [title, bytes] of GARBAGE) {
  test.serial(`garbage for an answer: ${title}`, async (t) => {
    const node = await useNode(t);
    node.proxy.answerWith(only(LOCKING, bytes));
    const before = node.proxy.accepted;
    isNodeError(t, await refusal(t, node.redsync), ['EPROTO', 'ECONNRESET']);
    // The link is closed for it, and a new one does not believe it either.
    await until(() => node.proxy.accepted > before);
    for (let i = 0; i < 3; i++) {
      isNodeError(t, await refusal(t, node.redsync), ['EPROTO', 'ECONNRESET']);
    }
    await recovers(t, node);
  });

  test.serial(`garbage while idle: ${title}`, async (t) => {
    const node = await useNode(t);
    const before = node.proxy.accepted;
    node.proxy.forge(bytes);
    await refusal(t, node.redsync);
    await until(() => node.proxy.accepted > before);
    await recovers(t, node);
  });

  test.serial(`garbage for a greeting: ${title}`, async (t) => {
    const node = await useNode(t);
    node.proxy.answerWith(bytes);
    node.proxy.reset();
    await until(async () => {
      const [{ cause }] = (await refusal(t, node.redsync)).errors;
      return cause?.code === 'EPROTO';
    });
    const [health] = await node.redsync.health();
    t.is(health.status, 'down');
    await recovers(t, node);
  });
}

// Every one of them is a reply, but none of them is what the command can answer.
const MISFITS = [
  '+QUEUED\r\n',
  '+PONG\r\n',
  ':7\r\n',
  ':1\r\n',
  ':-2\r\n',
  '$3\r\nfoo\r\n',
  '$2\r\nOK\r\n',
  '*0\r\n',
  '*1\r\n+OK\r\n',
  '*2\r\n:1\r\n:1\r\n',
  '%1\r\n+a\r\n+b\r\n',
  '#t\r\n',
];

for (const reply of MISFITS) {
  test.serial(`no vote for a lock: ${JSON.stringify(reply)}`, async (t) => {
    const node = await useNode(t);
    node.proxy.answerWith(only('SET', reply));
    for (const name of ['taken', 'not taken']) {
      isNodeError(t, await refusal(t, node.redsync, name), ['EPROTO']);
    }
    await recovers(t, node);
  });
}

const MISFITS_OF_SCRIPTS = [
  '+OK\r\n',
  '+QUEUED\r\n',
  ':7\r\n',
  '$-1\r\n',
  '$1\r\n1\r\n',
  '*1\r\n:1\r\n',
];

for (const reply of MISFITS_OF_SCRIPTS) {
  test.serial(`no vote for a holder: ${JSON.stringify(reply)}`, async (t) => {
    const node = await useNode(t);
    const lock = await node.redsync.newMutex('held').lock();
    node.proxy.answerWith(only(HOLDING, reply));
    for (const [action, code] of [
      [() => lock.extend(), 'ERR_EXTEND_FAILED'],
      [() => lock.mutex.valid(), 'ERR_LOCK_FAILED'],
      [() => lock.unlock(), 'ERR_LOCK_FAILED'],
    ]) {
      const call = action();
      t.true((await elapsed(call)) < BOUND);
      const error = await rejection(call);
      t.is(error.code, code);
      t.is(error.errors[0].cause.code, 'EPROTO', error.message);
    }
    await recovers(t, node);
  });
}

for (const [title, bytes] of [
  ['nothing', ''],
  ['half a reply', '+O'],
  ['a CR', '+OK\r'],
]) {
  test.serial(`${title}, then silence`, async (t) => {
    const node = await useNode(t);
    const before = node.proxy.accepted;
    node.proxy.answerWith(only(LOCKING, bytes));
    isNodeError(t, await refusal(t, node.redsync), ['ETIMEDOUT']);
    // What was not answered is not answered by what comes later: the link is given up.
    await until(() => node.proxy.accepted > before);
    await recovers(t, node);
  });
}

// An answer too few puts every later one in the wrong place, until the first that does not fit.
test.serial('a reply left out grants nothing in its place', async (t) => {
  const node = await useNode(t);
  const lock = await node.redsync.newMutex('held').lock();
  const seen = [];
  node.proxy.answerWith(([verb]) => {
    const isSkipped = verb === 'SET' && !seen.includes('SET');
    seen.push(verb);
    return isSkipped ? '' : undefined;
  });
  const calls = [refusal(t, node.redsync, 'skipped')];
  await until(() => seen.includes('SET'));
  // The reply to this comes in the place of the one that is missing; without it, the lock on a free
  // name would be granted to whoever asked for the taken one.
  calls.push(lock.unlock().catch(() => {}));
  await until(() => seen.length > 1);
  for (let i = 0; i < 20; i++) {
    const free = node.redsync.newMutex(`free ${i}`).lock();
    calls.push(
      free.then((granted) => granted.unlock()).catch(() => {}),
      refusal(t, node.redsync),
    );
    await delay(2);
  }
  await Promise.all(calls);
  await recovers(t, node);
});

/** A link of its own for each round: one that was lost comes back after a pause only. */
async function surplus(t, rounds, body) {
  const node = await useNode(t);
  for (let round = 0; round < rounds; round++) {
    const redsync = new Redsync(node.proxy.url, OPTIONS);
    await redsync.ready();
    await body(node.proxy, redsync, round);
    await redsync.close();
  }
  await recovers(t, node);
}

// When forge() returns, the answer is in the client's socket. Whether the client has read it before
// it asks the next question is another matter.
test.serial('a surplus answer while idle grants nothing', async (t) => {
  await surplus(t, 100, async (proxy, redsync, round) => {
    proxy.forge('+OK\r\n');
    if (round % 2 === 1) await delay(round % 8);
    await refusal(t, redsync);
  });
});

test.serial('a surplus answer behind a real one grants nothing', async (t) => {
  await surplus(t, 200, async (proxy, redsync) => {
    t.true((await refusal(t, redsync)) instanceof TakenError);
    proxy.forge('+OK\r\n');
    await refusal(t, redsync);
  });
});

test.serial('a surplus answer in front of a burst grants nothing', async (t) => {
  await surplus(t, 20, async (proxy, redsync) => {
    proxy.forge('+OK\r\n');
    await Promise.all(Array.from({ length: 100 }, () => refusal(t, redsync)));
  });
});

/** 64 MB of it, as long as somebody reads it; counts what was read. The same bytes each time, which nobody copies. */
function* flood(head, chunk, sent) {
  const bytes = Buffer.from(chunk);
  yield head;
  while (sent.bytes < 64 * MIB) {
    yield bytes;
    sent.bytes += bytes.length;
  }
}

const FLOODS = [
  ['an endless line', '+', repeat(64 * 1024, 'x')],
  ['an endless error', '-', repeat(64 * 1024, 'x')],
  ['an endless string', '$2000000000\r\n', repeat(64 * 1024, 'x')],
  ['endless nulls', '*1000000000\r\n', repeat(16 * 1024, '_\r\n')],
  ['endless old nulls', '*1000000000\r\n', repeat(16 * 1024, '$-1\r\n')],
  ['endless nulls that are announced in parts', '', `*60000\r\n${repeat(60_000, '_\r\n')}`],
  ['endless nesting', '', repeat(16 * 1024, '*1\r\n')],
  ['endless answers', '', repeat(16 * 1024, '+OK\r\n')],
  ['endless push messages', '', repeat(4096, '>2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n')],
];

/** How much greater the process became at most. Other specs run in it, too. */
async function growth(act) {
  global.gc?.();
  const { rss } = process.memoryUsage();
  let highest = rss;
  const look = () => {
    highest = Math.max(highest, process.memoryUsage.rss());
  };
  const watch = setInterval(look, 2);
  await act();
  clearInterval(watch);
  look();
  return highest - rss;
}

for (const [title, head, chunk] of FLOODS) {
  for (const when of ['for an answer', 'while idle']) {
    test.serial(`${title}, ${when}`, async (t) => {
      const measure = async () => {
        const node = await useNode(t);
        const sent = { bytes: 0 };
        const more = await growth(async () => {
          if (when === 'while idle') node.proxy.forge(flood(head, chunk, sent));
          else node.proxy.answerWith(only(LOCKING, flood(head, chunk, sent)));
          await refusal(t, node.redsync);
          await recovers(t, node);
        });
        t.log(`${(more / MIB).toFixed(1)} MiB more, ${(sent.bytes / MIB).toFixed(1)} MiB read`);
        return more;
      };
      // What comes from another spec comes by chance.
      let isBounded = false;
      for (let i = 0; i < 3 && !isBounded; i++) isBounded = (await measure()) < MAX_GROWTH;
      t.true(isBounded);
    });
  }
}

test.serial('a minority that talks garbage has no say', async (t) => {
  const servers = await useServers(t, 3);
  const proxies = await Promise.all(servers.map((server) => useProxy(t, server)));
  const redsync = new Redsync(
    proxies.map(({ url }) => url),
    OPTIONS,
  );
  t.teardown(() => redsync.close());
  await redsync.ready();
  proxies[1].answerWith(noise(3, 512));
  proxies[1].forge(noise(4, 512));
  for (let i = 0; i < 10; i++) {
    const lock = await redsync.newMutex('name').lock();
    t.true(await lock.extend());
    t.true(await lock.unlock());
  }
  // Two liars out of three are a quorum, but liars that are not believed are none.
  await servers[0].command('SET', 'taken', 'foreign');
  proxies[2].answerWith(only('SET', ':7\r\n'));
  const error = await rejection(redsync.newMutex('taken').lock());
  t.is(error.constructor, FailedError);
  t.deepEqual(
    error.errors.map(({ node }) => node),
    [0, 1, 2],
  );
  await Promise.all(proxies.map((proxy) => proxy.heal()));
  await servers[0].command('DEL', 'taken');
  await untilSteady(
    async () => {
      const sizes = await Promise.all(servers.map((server) => server.command('DBSIZE')));
      return sizes.every((size) => size === 0);
    },
    { period: 300 },
  );
});

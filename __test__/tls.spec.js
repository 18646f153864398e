'use strict';

const { execFile } = require('node:child_process');
const { inspect, promisify } = require('node:util');

const test = require('ava');

const { FailedError, Redsync, RedisError } = require('../index.js');
const { elapsed, rejection, until } = require('./helpers/async.js');
const { createAuthority, fingerprintOf, signItself } = require('./helpers/certificates.js');
const { startServer, useServers } = require('./helpers/servers.js');

const run = promisify(execFile);

// Far longer than a handshake takes, and far shorter than anybody should wait for a refusal.
const BOUND = 5000;
const OPTIONS = { expiry: 20_000, tries: 1 };

const HERE = { names: ['localhost'], addresses: ['127.0.0.1'] };
const ELSEWHERE = { names: ['redis.example'] };

let authority;
let stranger;
let identity;

test.before('make the certificates', async () => {
  [authority, stranger] = await Promise.all([createAuthority(), createAuthority('stranger')]);
  identity = await authority.issue(HERE);
});

function connect(t, nodes, options) {
  const redsync = new Redsync(nodes, { ...OPTIONS, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

/** A server with the certificate that fits it, unless another one is given. */
async function useServer(t, tls) {
  const [server] = await useServers(t, 1, { tls: { ...identity, ...tls } });
  return server;
}

async function useServerWith(t, certificate) {
  return useServer(t, await authority.issue(certificate));
}

async function works(t, redsync, server) {
  const lock = await redsync.newMutex('secure').lock();
  t.is(await server.command('GET', 'secure'), lock.value);
  t.true(await lock.extend());
  t.true(await lock.mutex.valid());
  t.true(await lock.unlock());
  const pair = await redsync.newMutex(['secure-1', 'secure-2']).lock();
  t.true(await pair.extend());
  t.true(await pair.unlock());
  t.is(await server.command('DBSIZE'), 0);
  const [health] = await redsync.health();
  t.is(health.status, 'up');
}

/** A secret is whatever is in a PEM; its base64 is told from any other text by one line of it. */
function tellsNoPem(t, shown, pems) {
  const told = inspect(shown, { depth: Infinity, showHidden: true });
  t.false(told.includes('-----BEGIN'));
  for (const pem of pems) t.false(told.includes(pem.split('\n')[1]));
}

/** Every way to lock is refused in bounded time, and leaves nothing; gives the reason. */
async function refused(t, node, server, code = 'ERR_TLS') {
  const redsync = connect(t, node);
  const call = redsync.newMutex('secure').lock();
  t.true((await elapsed(call)) < BOUND);
  const error = await rejection(call);
  t.true(error instanceof FailedError, error.stack);
  const [nodeError] = error.errors;
  t.true(nodeError instanceof RedisError);
  t.is(nodeError.cause.code, code, nodeError.message);

  const [health] = await redsync.health();
  t.is(health.status, 'down');
  t.is(health.error.cause.code, code);
  t.is(await server.command('DBSIZE'), 0);
  const { ca, cert, key } = node.tls ?? {};
  for (const shown of [error, health, redsync, redsync.newMutex('secure')]) {
    tellsNoPem(t, shown, [ca, cert, key].filter(Boolean));
  }
  return nodeError.cause.message;
}

test.serial('rediss: is TLS, verified by the authority in tls.ca', async (t) => {
  const server = await useServer(t);
  const tls = { ca: authority.cert };
  await works(t, connect(t, { url: server.url, tls }), server);
  await works(t, connect(t, { url: server.url, tls: { ca: Buffer.from(tls.ca) } }), server);
  await works(t, connect(t, { host: '127.0.0.1', port: server.port, tls }), server);
  await works(t, connect(t, { host: 'localhost', port: server.port, tls }), server);
});

test.serial('one authority of several in tls.ca is enough', async (t) => {
  const server = await useServer(t);
  const ca = `${stranger.cert}\n${authority.cert}`;
  await works(t, connect(t, { url: server.url, tls: { ca } }), server);
});

test.serial('user, password and database go through TLS', async (t) => {
  const server = await useServer(t);
  await server.command('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '+@all');
  const url = server.url.replace('rediss://', 'rediss://app:secret@');
  const redsync = connect(t, { url: `${url}/2`, tls: { ca: authority.cert } });
  const lock = await redsync.newMutex('in-2').lock();
  const client = await server.connect();
  t.teardown(() => client.close());
  await client.command('SELECT', 2);
  t.is(await client.command('GET', 'in-2'), lock.value);
  t.true(await lock.unlock());
});

test.serial('without tls.ca the system says who is trusted', async (t) => {
  const server = await useServer(t);
  await refused(t, server.url, server);
  await refused(t, { url: server.url, tls: true }, server);

  // What the system trusts is read by the process that connects: this one has done so already.
  const script = `
    const { Redsync } = require(${JSON.stringify(require.resolve('../index.js'))});
    const redsync = new Redsync(${JSON.stringify(server.url)}, ${JSON.stringify(OPTIONS)});
    redsync.newMutex('secure').lock().then((lock) => lock.unlock()).then(console.log)
      .finally(() => redsync.close());
  `;
  const env = { ...process.env, SSL_CERT_FILE: server.file('system.pem', authority.cert) };
  delete env.SSL_CERT_DIR;
  const { stdout } = await run(process.execPath, ['-e', script], { env });
  t.is(stdout.trim(), 'true');
});

test.serial('a client certificate that is required is shown', async (t) => {
  const server = await useServer(t, { authClients: 'yes' });
  const { ca, cert, key } = await authority.issue();
  await works(t, connect(t, { url: server.url, tls: { ca, cert, key } }), server);
});

test.serial('a client certificate that is optional may be shown', async (t) => {
  const server = await useServer(t, { authClients: 'optional' });
  const { ca, cert, key } = await authority.issue();
  await works(t, connect(t, { url: server.url, tls: { ca } }), server);
  await works(t, connect(t, { url: server.url, tls: { ca, cert, key } }), server);
  const foreign = await stranger.issue();
  await refused(t, { url: server.url, tls: { ...foreign, ca } }, server);
});

// With TLS 1.3 the client's handshake is over before the server looks at its certificate: the
// refusal comes as the answer to the first command.
for (const protocols of ['TLSv1.2', 'TLSv1.3']) {
  test.serial(`a missing or foreign client certificate is told (${protocols})`, async (t) => {
    const server = await useServer(t, { authClients: 'yes' });
    await server.command('CONFIG', 'SET', 'tls-protocols', protocols);
    const ca = authority.cert;
    const missing = await refused(t, { url: server.url, tls: { ca } }, server);
    t.regex(missing, /requires a client certificate|refused the handshake/);
    const foreign = await stranger.issue();
    const message = await refused(t, { url: server.url, tls: { ...foreign, ca } }, server);
    t.regex(message, /does not accept the client certificate/);
    const own = await authority.issue();
    await works(t, connect(t, { url: server.url, tls: own }), server);
  });
}

test.serial('a certificate of another authority is refused', async (t) => {
  const server = await useServer(t);
  const tls = { ca: stranger.cert };
  t.regex(await refused(t, { url: server.url, tls }, server), /authority that is not trusted/);
});

test.serial('a certificate that a server has made for itself is refused, and why', async (t) => {
  const own = await signItself();
  const server = await useServer(t, own);
  const tls = { ca: own.cert };
  t.regex(
    await refused(t, { url: server.url, tls }, server),
    /^the server's certificate is an authority's own: the server needs one that the authority has issued, or pin this one by tls\.fingerprint256$/,
  );
});

test.serial(
  'a certificate that a server has made for itself is trusted when it is pinned',
  async (t) => {
    const own = await signItself();
    const server = await useServer(t, own);
    const pin = fingerprintOf(own.cert);
    const bare = pin.replaceAll(':', '');
    for (const fingerprint256 of [pin, pin.toLowerCase(), bare, bare.toLowerCase(), [pin]]) {
      const tls = { fingerprint256 };
      await works(t, connect(t, { url: server.url, tls }), server);
      await works(t, connect(t, { host: 'localhost', port: server.port, tls }), server);
    }
  },
);

test.serial('a pinned certificate may be for another host, over, and not begun', async (t) => {
  const certificates = [
    ELSEWHERE,
    {},
    { ...HERE, fromDay: -3, toDay: -1 },
    { ...HERE, fromDay: 1, toDay: 3 },
  ];
  for (const certificate of certificates) {
    const issued = await authority.issue(certificate);
    const server = await useServer(t, issued);
    const tls = { fingerprint256: fingerprintOf(issued.cert) };
    await works(t, connect(t, { url: server.url, tls }), server);
  }
});

for (const protocols of ['TLSv1.2', 'TLSv1.3']) {
  test.serial(
    `a server with another certificate than the pinned one is refused (${protocols})`,
    async (t) => {
      const server = await useServer(t);
      await server.command('CONFIG', 'SET', 'tls-protocols', protocols);
      const found = fingerprintOf(identity.cert);
      // One that the same authority has issued for the same host, and the authority itself.
      const other = await authority.issue(HERE);
      for (const cert of [other.cert, authority.cert]) {
        const tls = { fingerprint256: fingerprintOf(cert) };
        t.is(
          await refused(t, { url: server.url, tls }, server),
          `the server's certificate is not the pinned one: its fingerprint256 is ${found}`,
        );
      }
      // What the message tells is what to pin.
      await works(t, connect(t, { url: server.url, tls: { fingerprint256: found } }), server);
    },
  );
}

test.serial(
  'one pin of several is enough, before and after the certificate is renewed',
  async (t) => {
    const server = await useServer(t);
    const next = await signItself();
    const fingerprint256 = [fingerprintOf(next.cert), fingerprintOf(identity.cert)];
    await works(t, connect(t, { url: server.url, tls: { fingerprint256 } }), server);
    await server.useCertificate(next);
    await works(t, connect(t, { url: server.url, tls: { fingerprint256 } }), server);
    const old = { fingerprint256: fingerprint256[1] };
    t.regex(await refused(t, { url: server.url, tls: old }, server), /is not the pinned one/);
  },
);

test.serial('a client certificate goes with a pin', async (t) => {
  const server = await useServer(t, { authClients: 'yes' });
  const { cert, key } = await authority.issue();
  const fingerprint256 = fingerprintOf(identity.cert);
  await works(t, connect(t, { url: server.url, tls: { fingerprint256, cert, key } }), server);
  t.regex(
    await refused(t, { url: server.url, tls: { fingerprint256 } }, server),
    /requires a client certificate|refused the handshake/,
  );
});

test.serial('a certificate for another name is refused, an address in it or not', async (t) => {
  const tls = { ca: authority.cert };
  const elsewhere = await useServerWith(t, ELSEWHERE);
  t.regex(await refused(t, { url: elsewhere.url, tls }, elsewhere), /for another name/);
  const byName = await useServerWith(t, { names: ['localhost'] });
  t.regex(await refused(t, { url: byName.url, tls }, byName), /for another name/);
  const nameless = await useServerWith(t, {});
  t.regex(await refused(t, { url: nameless.url, tls }, nameless), /for another name/);
});

test.serial('tls.servername is verified instead of the host', async (t) => {
  const ca = authority.cert;
  const server = await useServerWith(t, ELSEWHERE);
  const node = { url: server.url, tls: { ca, servername: 'redis.example' } };
  await works(t, connect(t, node), server);
  const here = await useServer(t);
  const other = { url: here.url, tls: { ca, servername: 'redis.example' } };
  t.regex(await refused(t, other, here), /for another name/);
});

test.serial('a certificate that has expired, or is not valid yet, is refused', async (t) => {
  const tls = { ca: authority.cert };
  const expired = await useServerWith(t, { ...HERE, fromDay: -3, toDay: -1 });
  t.regex(await refused(t, { url: expired.url, tls }, expired), /has expired/);
  const early = await useServerWith(t, { ...HERE, fromDay: 1, toDay: 3 });
  t.regex(await refused(t, { url: early.url, tls }, early), /not valid/);
});

test.serial('PEM that is none of what it is given for is told', async (t) => {
  const server = await useServer(t);
  const own = await authority.issue();
  const foreign = await stranger.issue();
  const cases = [
    [{ ca: own.key }, /tls\.ca cannot be read/],
    [{ ca: '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n' }, /tls\.ca has no/],
    [{ ca: own.ca, cert: own.key, key: own.key }, /tls\.cert cannot be read/],
    [{ ca: own.ca, cert: own.cert, key: own.cert }, /tls\.key cannot be read/],
    [{ ca: own.ca, cert: own.cert, key: foreign.key }, /tls\.cert and tls\.key do not fit/],
  ];
  for (const [tls, pattern] of cases) {
    t.regex(await refused(t, { url: server.url, tls }, server), pattern);
  }
});

test.serial('a plain client gets nothing from a TLS port', async (t) => {
  const server = await useServer(t);
  const plain = server.url.replace('rediss:', 'redis:');
  const message = await refused(t, plain, server, 'ECONNRESET');
  t.regex(message, /^the connection was lost before the login: the server may speak TLS only$/);
});

test.serial('TLS is not given up for a server without it', async (t) => {
  const server = await startServer({ password: 'hunter2' });
  t.teardown(() => server.stop());
  const node = {
    url: server.url.replace('redis://', 'rediss://:hunter2@'),
    tls: { ca: authority.cert },
    connectTimeout: 200,
  };
  // The server waits for the end of what it takes for a command. So does the client, not for long.
  t.regex(await refused(t, node, server), /no answer to the TLS handshake/);
  t.notRegex(await server.command('CLIENT', 'LIST'), /name=redsync/);
});

test.serial('a node that TLS refuses is a node that is down', async (t) => {
  const servers = [await useServer(t), await useServerWith(t, ELSEWHERE), await useServer(t)];
  const tls = { ca: authority.cert };
  const redsync = connect(
    t,
    servers.map(({ url }) => ({ url, tls })),
  );
  const lock = await redsync.newMutex('most').lock();
  const found = await Promise.all(servers.map((server) => server.command('GET', 'most')));
  t.deepEqual(found, [lock.value, null, lock.value]);
  t.true(await lock.unlock());
});

test.serial('a certificate that is renewed heals without a new Redsync', async (t) => {
  const server = await useServerWith(t, { ...HERE, fromDay: -3, toDay: -1 });
  const redsync = connect(t, { url: server.url, tls: { ca: authority.cert } });
  const error = await rejection(redsync.newMutex('renewed').lock());
  t.is(error.errors[0].cause.code, 'ERR_TLS');
  await server.useCertificate(identity);
  const lock = await until(() =>
    redsync
      .newMutex('renewed')
      .lock()
      .catch(() => null),
  );
  t.true(await lock.unlock());
});

test.serial('a server that restarts is trusted no more than the first time', async (t) => {
  const server = await useServer(t);
  const redsync = connect(t, { url: server.url, tls: { ca: authority.cert } });
  await (await redsync.newMutex('again').lock()).unlock();
  await server.restart();
  await until(() =>
    redsync
      .newMutex('again')
      .lock()
      .then(
        (lock) => lock.unlock(),
        () => false,
      ),
  );

  const other = await stranger.issue(HERE);
  server.file('cert.pem', other.cert);
  server.file('key.pem', other.key);
  await server.restart();
  await until(async () => {
    const outcome = await redsync
      .newMutex('again')
      .lock()
      .then(
        () => t.fail(),
        (error) => error,
      );
    return outcome.errors[0].cause.code === 'ERR_TLS';
  });
  t.is(await server.command('DBSIZE'), 0);
});

'use strict';

// Every way to get an error out of redsync, with secrets wherever there can be one. A test looks at
// the errors; run as a program, `node mishaps.js <world> <mishap>` leaves one of them uncaught.

const { Redsync } = require('../../index.js');

/** In every secret, and nowhere else. */
const SECRET = 'xyzzy';

const USER = `${SECRET}-user`;
const PASSWORD = `${SECRET}-p@ss:w/rd`;
const VALUE = `${SECRET}-value`;
const LOGIN = `${USER}:${encodeURIComponent(PASSWORD)}@`;

const OPTIONS = { expiry: 20_000, timeoutFactor: 0.01, tries: 1 };
const PEM = `-----BEGIN CERTIFICATE-----\n${SECRET}\n-----END CERTIFICATE-----\n`;

/** What a server says to a lock, a holder, or to everything: one proxy each, in this order. */
const LIES = [
  `-ERR ${SECRET}\r\n`,
  `-${SECRET} ${SECRET}\r\n`,
  `-OOM ${SECRET}\r\n`,
  `-READONLY ${SECRET}\r\n`,
  `-NOAUTH ${SECRET}\r\n`,
  `-WRONGPASS ${SECRET}\r\n`,
  `-NOPERM ${SECRET} has no permissions to run the '${SECRET}' command\r\n`,
  `-WRONGTYPE ${SECRET}\r\n`,
  `-NOSCRIPT ${SECRET}\r\n`,
  `-MOVED 1 ${SECRET}.invalid:1\r\n`,
  `-ASK 1 ${SECRET}.invalid:1\r\n`,
  `-ERR max number of clients reached ${SECRET}\r\n`,
  `-ERR Error running script (call to f_${SECRET}): @user_script:4: -${SECRET} ${SECRET}\r\n`,
  `+${SECRET}\r\n`,
  `$5\r\n${SECRET}\r\n`,
  `*1\r\n$5\r\n${SECRET}\r\n`,
  `%1\r\n+${SECRET}\r\n+${SECRET}\r\n`,
  `${SECRET}\r\n`,
  `$${SECRET}\r\n`,
  `+OK\r\n+${SECRET}\r\n`,
  '',
];

const opened = [];

function open(nodes, options) {
  const redsync = new Redsync(nodes, { ...OPTIONS, ...options });
  opened.push(redsync);
  return redsync;
}

/** Closes what was opened for mishaps. */
async function closeAll() {
  await Promise.all(opened.splice(0).map((redsync) => redsync.close()));
}

function lock(nodes, options) {
  return open(nodes, options)
    .newMutex('name', { genValue: () => VALUE })
    .lock();
}

function holding(nodes) {
  return open(nodes).newMutex('name', { value: VALUE });
}

// Each takes the world, URLs with secrets of all kinds of servers, and throws, or gives a promise
// that rejects.
const MISHAPS = {
  'a URL of another kind': () => open(`http://${LOGIN}host`),
  'a URL without a host': () => open(`redis://${LOGIN}`),
  'a URL with a bad port': () => open(`redis://${LOGIN}host:${SECRET}`),
  'a URL with a bad database': () => open(`redis://${LOGIN}host/${SECRET}`),
  'a URL with a query': () => open(`redis://${LOGIN}host?password=${SECRET}`),
  'a URL with a bad escape': () => open(`redis://${USER}:${SECRET}%zz@host`),
  'a password in the wrong place': () => open(PASSWORD),
  'a URL that is too long': () => open(`redis://${LOGIN}${'x'.repeat(20_000)}`),
  'a list with a bad URL': () => open(['redis://host', `redis://${LOGIN}host:x`]),
  'a host and a socket': () => open({ host: 'host', path: `/${SECRET}`, password: PASSWORD }),
  'a password that is no string': () => open({ host: 'host', password: [SECRET] }),
  'a user name that is no string': () => open({ host: 'host', username: { SECRET } }),
  'a host that is a URL': () => open({ host: `redis://${LOGIN}host` }),
  'a bad CLIENT SETNAME': () => open({ host: 'host', clientName: `${PASSWORD} with a space` }),
  'a bad list of sentinels': () => open(`redis+sentinel://${LOGIN}host,:x/master`),
  'a bad sentinel password': () =>
    open({
      sentinels: [{ host: 'host' }],
      masterName: 'master',
      sentinelPassword: [SECRET],
    }),
  'a bad list of servers of a cluster': () => open(`redis+cluster://${LOGIN}host,:x`),
  'a value that is too long': ({ up }) => open(up).newMutex('name', { value: SECRET.repeat(9999) }),
  'a value that is no string': ({ up }) => open(up).newMutex('name', { value: [SECRET] }),
  'a value that is not well-formed': ({ up }) =>
    open(up).newMutex('name', { value: `${SECRET}\ud800` }),
  'a made value that is no string': ({ up }) =>
    open(up)
      .newMutex('name', { genValue: () => ({ SECRET, toString: () => SECRET }) })
      .lock(),
  'a made value that is too long': ({ up }) =>
    open(up)
      .newMutex('name', { genValue: () => SECRET.repeat(9999) })
      .lock(),
  'an authority that cannot be read': ({ up }) => lock({ url: up, tls: { ca: PEM } }),
  'a key that cannot be read': ({ up }) =>
    lock({ url: up, tls: { cert: PEM, key: PEM.replaceAll('CERTIFICATE', 'PRIVATE KEY') } }),
  'TLS without a certificate': ({ dead }) => open({ url: dead, tls: { key: PEM } }),
  'TLS to a server without': ({ up }) => lock(up.replace('redis:', 'rediss:')),

  'a lock that is taken': ({ taken }) => lock(taken),
  'a lock that is taken on every node': ({ taken, takenToo }) => lock([taken, takenToo]),
  'a lock of somebody else': ({ taken }) => holding(taken).unlock(),
  'extending a lock of somebody else': ({ taken }) => holding(taken).extend(),
  'a lock that is over': ({ up }) => holding(up).unlock(),
  'extending a lock that is over': ({ up }) => holding(up).extend(),
  'a wrong password': ({ wrong }) => lock(wrong),
  'a wrong password, to a holder': ({ wrong }) => holding(wrong).unlock(),
  'no password': ({ anonymous }) => lock(anonymous),
  'a user who may do nothing': ({ forbidden }) => lock(forbidden),
  'a user who may do nothing, to a holder': ({ forbidden }) => holding(forbidden).valid(),
  'a server that is not there': ({ dead }) => lock(dead),
  'a server that is silent': ({ silent }) => lock(silent),
  'a server that is silent, to a holder': ({ silent }) => holding(silent).unlock(),
  'not ready': ({ dead, wrong }) => open([dead, wrong]).ready({ timeout: 300 }),
  'sentinels that are not there': ({ dead }) =>
    lock({
      sentinels: [{ host: '127.0.0.1', port: Number(new URL(dead).port) }],
      masterName: 'master',
      sentinelUsername: USER,
      sentinelPassword: PASSWORD,
      password: PASSWORD,
    }),
  'sentinels that are none': ({ up }) =>
    lock({
      sentinels: [{ host: '127.0.0.1', port: Number(new URL(up).port) }],
      masterName: 'master',
      sentinelUsername: USER,
      sentinelPassword: PASSWORD,
      password: PASSWORD,
    }),
  'a cluster that is not there': ({ dead }) => lock(dead.replace('redis:', 'redis+cluster:')),
  async 'a Redsync that was closed'({ up }) {
    const redsync = open(up);
    const mutex = redsync.newMutex('free', { genValue: () => VALUE });
    await (await mutex.lock()).unlock();
    await redsync.close();
    await mutex.lock();
  },
  async 'a Redsync that is being closed'({ silent }) {
    const redsync = open(silent);
    const call = redsync.newMutex('name').lock();
    redsync.close();
    await call;
  },
};

for (const [i, lie] of LIES.entries()) {
  const title = JSON.stringify(lie.replaceAll(SECRET, '...').slice(0, 40)); // stacks have it
  const lying = ({ lies }) => lies[i];
  MISHAPS[`${i}: ${title} to a lock`] = (world) => lock(lying(world));
  MISHAPS[`${i}: ${title} to a quorum`] = (world) =>
    lock([lying(world), world.up, world.greetings[i]]);
  MISHAPS[`${i}: ${title} to a holder`] = (world) => holding(lying(world)).unlock();
  MISHAPS[`${i}: ${title} in a cluster`] = (world) =>
    lock(lying(world).replace('redis:', 'redis+cluster:'));
  MISHAPS[`${i}: ${title} from a sentinel`] = (world) =>
    lock({
      sentinels: [{ host: '127.0.0.1', port: Number(new URL(lying(world)).port) }],
      masterName: 'master',
      sentinelUsername: USER,
      sentinelPassword: PASSWORD,
    });
  MISHAPS[`${i}: ${title} to a login`] = (world) => lock(world.greetings[i]);
}

module.exports = {
  LIES,
  LOGIN,
  MISHAPS,
  PASSWORD,
  SECRET,
  USER,
  VALUE,
  closeAll,
  open,
};

if (require.main === module) {
  const [world, mishap] = process.argv.slice(2);
  new Promise((resolve) => {
    resolve(MISHAPS[mishap](JSON.parse(world)));
  });
}

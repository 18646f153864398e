'use strict';

const { inspect } = require('node:util');
const test = require('ava');

const { readNodes } = require('../lib/nodes.js');
const { newClock } = require('../lib/testing.js');
const { readUrls } = require('./helpers/urls.js');

const TYPE = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };
const RANGE = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };
const MAX_INT = 2 ** 31 - 1;

const PLAIN = { isCluster: false, isPrefixed: false, pool: undefined, clock: undefined };

const REDIS = {
  ...PLAIN,
  kind: 'redis',
  seeds: undefined,
  masterName: undefined,
  host: undefined,
  port: undefined,
  path: undefined,
  username: undefined,
  password: undefined,
  sentinelUsername: undefined,
  sentinelPassword: undefined,
  db: 0,
  connectTimeout: 1000,
  clientName: 'redsync',
  tls: undefined,
};

const TLS = {
  ca: undefined,
  fingerprint256: undefined,
  cert: undefined,
  key: undefined,
  servername: undefined,
};
const MIB = 1024 * 1024;
const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';
const PIN = Array.from({ length: 32 }, (_, i) => (i + 171).toString(16).toUpperCase()).join(':');
const BARE_PIN = PIN.replaceAll(':', '');
const LOWER_PIN = PIN.replace(/../, '0A');
const KEY = '-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n';

function tcp(host, port = 6379, more = {}) {
  const shown = host.includes(':') ? `[${host}]` : host;
  return { ...REDIS, host, port, endpoint: `${shown}:${port}`, ...more };
}

function unix(path, more = {}) {
  return { ...REDIS, path, endpoint: path, ...more };
}

// `servers` is written as the endpoint has it: 'h1:1,h2:2'.
function seedsOf(servers) {
  return servers.split(',').map((server) => {
    const colon = server.lastIndexOf(':');
    return { host: server.slice(0, colon), port: Number(server.slice(colon + 1)) };
  });
}

function sentinel(servers, masterName, more = {}) {
  const [seeds, endpoint] = [seedsOf(servers), `${servers}/${masterName}`];
  return { ...REDIS, kind: 'sentinel', seeds, masterName, endpoint, ...more };
}

function cluster(servers, more = {}) {
  return {
    ...REDIS,
    kind: 'cluster',
    isCluster: true,
    seeds: seedsOf(servers),
    endpoint: servers,
    ...more,
  };
}

function repeat(count, value) {
  return Array.from({ length: count }, () => value);
}

function memory(name) {
  return { ...PLAIN, kind: 'memory', name, endpoint: name ? `memory:${name}` : 'memory' };
}

function label(value) {
  return inspect(value, { depth: 1, maxStringLength: 60, breakLength: Infinity });
}

const GOOD = [
  ['redis://a', tcp('a')],
  ['REDIS://A', tcp('A')],
  ['redis://a/', tcp('a')],
  ['redis://a?', tcp('a')],
  ['redis://a.b-c_d.example:1', tcp('a.b-c_d.example', 1)],
  ['redis://127.0.0.1:65535/15', tcp('127.0.0.1', 65535, { db: 15 })],
  [`redis://a/${MAX_INT}`, tcp('a', 6379, { db: MAX_INT })],
  ['redis://[::1]', tcp('::1')],
  ['redis://[2001:db8::1]:7000/1', tcp('2001:db8::1', 7000, { db: 1 })],
  ['redis://[fe80::1%25eth0]:7000', tcp('fe80::1%eth0', 7000)],
  ['redis://u:p@a', tcp('a', 6379, { username: 'u', password: 'p' })],
  ['redis://:p@a', tcp('a', 6379, { password: 'p' })],
  ['redis://u@a', tcp('a', 6379, { username: 'u', password: '' })],
  ['redis://:@a', tcp('a')],
  ['redis://@a', tcp('a')],
  ['redis://u:p:q@a', tcp('a', 6379, { username: 'u', password: 'p:q' })],
  ['redis://u:p@q@a', tcp('a', 6379, { username: 'u', password: 'p@q' })],
  ['redis://u%40:%2F%23%C3%BC@a', tcp('a', 6379, { username: 'u@', password: '/#ü' })],
  ['redis+unix:///s', unix('/s')],
  ['redis+unix:///run/a%20b.sock?db=3', unix('/run/a b.sock', { db: 3 })],
  ['redis+unix:///a/../b', unix('/a/../b')],
  ['redis+unix:///s?', unix('/s')],
  ['redis+unix://u:p@/s', unix('/s', { username: 'u', password: 'p' })],
  ['redis+unix://:p@/s?db=0', unix('/s', { password: 'p' })],
  ['memory:', memory()],
  ['memory:a', memory('a')],
  ['MEMORY:A.b-c_1', memory('A.b-c_1')],
  [{ url: 'memory:a' }, memory('a')],
  [{ url: 'memory:a', db: undefined }, memory('a')],
  [{ host: 'a' }, tcp('a')],
  [{ host: 'a', url: undefined, path: undefined, tls: undefined }, tcp('a')],
  [{ host: '::1', port: 1 }, tcp('::1', 1)],
  [{ host: '[::1]', port: 1 }, tcp('::1', 1)],
  [{ host: 'a', db: -0 }, tcp('a')],
  [{ path: '/s', db: 2 }, unix('/s', { db: 2 })],
  [
    { host: 'a', username: 'u', password: 'p', db: 3, connectTimeout: 5, clientName: 'c' },
    tcp('a', 6379, { username: 'u', password: 'p', db: 3, connectTimeout: 5, clientName: 'c' }),
  ],
  [{ host: 'a', username: '', password: '' }, tcp('a')],
  [
    { host: 'a', clientName: `!${'~'.repeat(127)}` },
    tcp('a', 6379, { clientName: `!${'~'.repeat(127)}` }),
  ],
  [{ host: 'a', password: '\0\ud83d\ude00' }, tcp('a', 6379, { password: '\0😀' })],
  [{ url: 'redis://a:1/2' }, tcp('a', 1, { db: 2 })],
  [
    { url: 'redis://u:p@a:1/2', host: 'b', port: 3, db: 0, password: 'q' },
    tcp('b', 3, { username: 'u', password: 'q' }),
  ],
  [{ url: 'redis+unix:///s?db=1', path: '/t', db: 5 }, unix('/t', { db: 5 })],
  // TLS
  ['rediss://a', tcp('a', 6379, { tls: TLS })],
  ['REDISS://u:p@[::1]:1/2', tcp('::1', 1, { username: 'u', password: 'p', db: 2, tls: TLS })],
  [{ url: 'rediss://a' }, tcp('a', 6379, { tls: TLS })],
  [{ url: 'rediss://a', host: 'b', tls: true }, tcp('b', 6379, { tls: TLS })],
  [{ url: 'rediss://a', tls: undefined }, tcp('a', 6379, { tls: TLS })],
  [{ url: 'rediss://a', tls: { ca: PEM } }, tcp('a', 6379, { tls: { ...TLS, ca: PEM } })],
  [{ url: 'redis://a', tls: true }, tcp('a', 6379, { tls: TLS })],
  [{ url: 'redis://a', tls: false }, tcp('a')],
  [{ host: 'a', tls: false }, tcp('a')],
  [{ path: '/s', tls: false }, unix('/s')],
  [{ host: 'a', tls: true }, tcp('a', 6379, { tls: TLS })],
  [{ host: 'a', tls: {} }, tcp('a', 6379, { tls: TLS })],
  [
    { host: 'a', tls: { ca: undefined, rejectUnauthorized: undefined } },
    tcp('a', 6379, { tls: TLS }),
  ],
  [
    { host: 'a', tls: { ca: PEM, cert: PEM + PEM, key: KEY, servername: 'b.example' } },
    tcp('a', 6379, {
      tls: { ...TLS, ca: PEM, cert: PEM + PEM, key: KEY, servername: 'b.example' },
    }),
  ],
  [
    { host: 'a', tls: { ca: Buffer.from(PEM), cert: new TextEncoder().encode(PEM), key: KEY } },
    tcp('a', 6379, { tls: { ...TLS, ca: PEM, cert: PEM, key: KEY } }),
  ],
  [
    { host: 'a', tls: { ca: Buffer.from(`x${PEM}x`).subarray(1, PEM.length + 1) } },
    tcp('a', 6379, { tls: { ...TLS, ca: PEM } }),
  ],
  [
    { host: 'a', tls: { ca: `Bag Attributes\r\n${PEM}` } },
    tcp('a', 6379, { tls: { ...TLS, ca: `Bag Attributes\r\n${PEM}` } }),
  ],
  [
    { host: 'a', tls: { ca: PEM.padEnd(MIB), servername: 's'.repeat(253) } },
    tcp('a', 6379, { tls: { ...TLS, ca: PEM.padEnd(MIB), servername: 's'.repeat(253) } }),
  ],
  // What is pinned: as Node.js prints it, whichever way it is written.
  ...[PIN, PIN.toLowerCase(), [PIN], BARE_PIN, [BARE_PIN.toLowerCase(), PIN]].map((given) => [
    { host: 'a', tls: { fingerprint256: given, servername: 'b.example' } },
    tcp('a', 6379, { tls: { ...TLS, fingerprint256: [PIN], servername: 'b.example' } }),
  ]),
  [
    { url: 'rediss+cluster://a', tls: { fingerprint256: [PIN, LOWER_PIN], cert: PEM, key: KEY } },
    cluster('a:6379', { tls: { ...TLS, fingerprint256: [LOWER_PIN, PIN], cert: PEM, key: KEY } }),
  ],
  [
    { host: 'a', tls: { fingerprint256: repeat(64, PIN) } },
    tcp('a', 6379, { tls: { ...TLS, fingerprint256: [PIN] } }),
  ],
  // Sentinel
  ['redis+sentinel://a/m', sentinel('a:26379', 'm')],
  ['REDIS+Sentinel://a/m/', sentinel('a:26379', 'm')],
  ['redis+sentinel://a,b:1/m.y-M_1/3', sentinel('a:26379,b:1', 'm.y-M_1', { db: 3 })],
  ['rediss+sentinel://a,b/m', sentinel('a:26379,b:26379', 'm', { tls: TLS })],
  ['redis+sentinel://u:p@a/m', sentinel('a:26379', 'm', { username: 'u', password: 'p' })],
  [
    'redis+sentinel://[::1],[2001:db8::1]:7/m',
    sentinel('::1:26379,2001:db8::1:7', 'm', { endpoint: '[::1]:26379,[2001:db8::1]:7/m' }),
  ],
  [
    'redis+sentinel://a,b,c,d/m',
    sentinel('a:26379,b:26379,c:26379,d:26379', 'm', {
      endpoint: 'a:26379,b:26379,c:26379,.../m',
    }),
  ],
  ['redis+sentinel://a/m%2F%40%C3%BC', sentinel('a:26379', 'm/@ü', { endpoint: 'a:26379/...' })],
  [
    `redis+sentinel://a/${'m'.repeat(1024)}`,
    sentinel('a:26379', 'm'.repeat(1024), { endpoint: 'a:26379/...' }),
  ],
  [{ sentinels: [{ host: 'a' }], masterName: 'm' }, sentinel('a:26379', 'm')],
  [
    { sentinels: [{ host: 'a', port: 1 }, { host: '[::1]' }], masterName: 'm', db: 2, tls: true },
    sentinel('a:1,::1:26379', 'm', { endpoint: 'a:1,[::1]:26379/m', db: 2, tls: TLS }),
  ],
  [
    {
      sentinels: [{ host: 'a', port: undefined }],
      masterName: 'ü',
      sentinelUsername: 'su',
      sentinelPassword: 'sp',
      username: 'u',
    },
    sentinel('a:26379', 'ü', {
      endpoint: 'a:26379/...',
      sentinelUsername: 'su',
      sentinelPassword: 'sp',
      username: 'u',
      password: '',
    }),
  ],
  [
    { sentinels: [{ host: 'a' }], masterName: 'm', sentinelUsername: 'u' },
    sentinel('a:26379', 'm', { sentinelUsername: 'u', sentinelPassword: '' }),
  ],
  [
    { sentinels: [{ host: 'a' }], masterName: 'm', sentinelUsername: '', sentinelPassword: 'p' },
    sentinel('a:26379', 'm', { sentinelPassword: 'p' }),
  ],
  [{ url: 'redis+sentinel://a', masterName: 'm' }, sentinel('a:26379', 'm')],
  [
    { url: 'redis+sentinel://u:p@a/m/1', masterName: 'n', sentinels: [{ host: 'b' }], db: 2 },
    sentinel('b:26379', 'n', { username: 'u', password: 'p', db: 2 }),
  ],
  [
    { sentinels: repeat(64, { host: 'a' }), masterName: 'm' },
    sentinel(repeat(64, 'a:26379').join(','), 'm', {
      endpoint: 'a:26379,a:26379,a:26379,.../m',
    }),
  ],
  // Cluster
  ['redis+cluster://a', cluster('a:6379')],
  ['redis+cluster://a/', cluster('a:6379')],
  ['redis+cluster://a/0', cluster('a:6379')],
  ['redis+cluster://a,b:1,c', cluster('a:6379,b:1,c:6379')],
  [
    'redis+cluster://a,b,c,d',
    cluster('a:6379,b:6379,c:6379,d:6379', {
      endpoint: 'a:6379,b:6379,c:6379,...',
    }),
  ],
  ['rediss+cluster://u:p@a', cluster('a:6379', { username: 'u', password: 'p', tls: TLS })],
  [
    `redis+cluster://${repeat(64, 'a').join(',')}`,
    cluster(repeat(64, 'a:6379').join(','), {
      endpoint: 'a:6379,a:6379,a:6379,...',
    }),
  ],
  [
    { cluster: [{ host: 'a' }, { host: '::1', port: 1 }], db: 0, password: 'p' },
    cluster('a:6379,::1:1', { endpoint: 'a:6379,[::1]:1', password: 'p' }),
  ],
  [{ url: 'redis+cluster://a/1', cluster: [{ host: 'b' }], db: 0 }, cluster('b:6379')],
  [Object.create({ host: 'a' }), tcp('a')],
  [new Proxy({ host: 'a' }, {}), tcp('a')],
];

for (const [i, [input, expected]] of GOOD.entries()) {
  test(`${label(input)} is a node (${i})`, (t) => {
    const nodes = readNodes(input);
    t.deepEqual(nodes, [expected]);
    const [{ seeds, tls }] = nodes;
    t.true([nodes, nodes[0], seeds, ...(seeds ?? []), tls].every(Object.isFrozen));
    t.deepEqual(readNodes(['redis://x', input]), [tcp('x'), expected]);
  });
}

test('1 to 64 nodes, in order', (t) => {
  const urls = Array.from({ length: 64 }, (_, i) => `redis://h${i}`);
  t.deepEqual(
    readNodes(urls),
    urls.map((_, i) => tcp(`h${i}`)),
  );
  t.throws(() => readNodes([...urls, 'memory:']), RANGE);
  t.throws(() => readNodes([]), RANGE);
  t.throws(() => readNodes(new Array(2 ** 32 - 1)), RANGE);
});

class Client {
  get() {}
  set() {}
  sendCommand() {}
  duplicate() {}
}

const forms = {
  'redis+sentinel':
    /form redis\+sentinel:\/\/\[.*host\[:port\].*\/masterName\[\/db\], with ports from 1 to 65535$/,
  'rediss+cluster':
    /form redis\+cluster:\/\/\[.*host\[:port\]\[,host\[:port\]\.\.\.\], with ports from 1 to 65535$/,
};

// input, error, argument that is named after `nodes[0]`, pattern
const BAD = [
  ...[undefined, null, 1, true, 1n, Symbol('redis://a'), () => 'redis://a', ['memory:']].map(
    (input) => [input, TYPE, ''],
  ),
  // URLs
  ['', RANGE, ''],
  ['\ud800', RANGE, ''],
  ['redis://a\ud800', RANGE, ''],
  [`redis://${'a'.repeat(5e6)}`, RANGE, ''],
  ['localhost', TYPE, ''],
  ['localhost:6379', TYPE, ''],
  ['127.0.0.1:6379', TYPE, ''],
  ['http://a', TYPE, ''],
  [' redis://a', TYPE, ''],
  ['redis://a ', RANGE, ''],
  ['redis://a\n', RANGE, ''],
  ['redis://a/0\0', RANGE, ''],
  ['redis:', RANGE, ''],
  ['redis:a', RANGE, ''],
  ['redis:/a', RANGE, ''],
  ['redis://', RANGE, ''],
  ['redis:///0', RANGE, ''],
  ['redis://:6379', RANGE, ''],
  ['redis://a:', RANGE, ''],
  ['redis://a:0', RANGE, ''],
  ['redis://a:65536', RANGE, ''],
  ['redis://a:-1', RANGE, ''],
  ['redis://a:1e3', RANGE, ''],
  ['redis://a:b', RANGE, ''],
  ['redis://a,b', RANGE, ''],
  ['redis://a%20b', RANGE, ''],
  ['redis://ü', RANGE, ''],
  ['redis://::1', RANGE, ''],
  ['redis://[::1', RANGE, ''],
  ['redis://[]', RANGE, ''],
  ['redis://[a]', RANGE, ''],
  ['redis://[::1%zz]', RANGE, ''],
  ['redis://a/b', RANGE, '', /database number/],
  ['redis://a/-1', RANGE, '', /database number/],
  ['redis://a/1.5', RANGE, '', /database number/],
  ['redis://a/0/1', RANGE, '', /database number/],
  [`redis://a/${MAX_INT + 1}`, RANGE, '', /database number/],
  ['redis://a?db=1', TYPE, '', /no parameters/],
  ['redis://a#x', RANGE, '', /fragment/],
  ['redis://u%zz@a', RANGE, '', /percent-encoding/],
  ['redis://u:%ff@a', RANGE, '', /percent-encoding/],
  ['redis+unix:/s', RANGE, ''],
  ['redis+unix://s', RANGE, ''],
  ['redis+unix://host/s', RANGE, ''],
  ['redis+unix:///', RANGE, ''],
  ['redis+unix:///%00', RANGE, ''],
  ['redis+unix:///s%0a', RANGE, ''],
  ['redis+unix:///s?db=x', RANGE, '', /database number/],
  ['redis+unix:///s?db=1&db=2', RANGE, '', /database number/],
  ['redis+unix:///s?timeout=1', TYPE, '', /one parameter only/],
  ['redis+unix:///s?x?db=1', TYPE, '', /one parameter only/],
  ['memory:/', RANGE, ''],
  ['memory://', RANGE, ''],
  ['memory://a', RANGE, ''],
  ['memory:a?b', RANGE, ''],
  ['memory:a%20b', RANGE, ''],
  [`memory:${'a'.repeat(65)}`, RANGE, ''],
  [
    'redis://a:b',
    RANGE,
    '',
    /form redis:\/\/\[.*host\[:port\]\[\/db\], with a port from 1 to 65535$/,
  ],
  ['redis+unix://host/s', RANGE, '', /form redis\+unix:\/\/\[user:password@\]\/path\[\?db=0\]$/],
  // Several hosts
  ...['redis+sentinel', 'rediss+cluster'].flatMap((scheme) => [
    ...['', 'a,', ',a', 'a,,b', 'a b', 'a:0', 'a:1:2', 'a,b:65536', 'a,u:p', '[a]', '::1', 'ü'].map(
      (hosts) => [`${scheme}://${hosts}/0`, RANGE, ''],
    ),
    [`${scheme}://u:p@a,u:p@b/0`, RANGE, '', forms[scheme]],
    [`${scheme}:a`, RANGE, ''],
    [`${scheme}:/a`, RANGE, ''],
    [`${scheme}://${repeat(65, 'a').join(',')}/0`, RANGE, '', /at most 64 hosts/],
    [`${scheme}://a/0?db=1`, TYPE, '', /no parameters/],
    [`${scheme}://a/0#x`, RANGE, '', /fragment/],
  ]),
  ['redis://a,b', RANGE, ''],
  ['rediss://a:0', RANGE, ''],
  ['rediss+unix:///s', TYPE, ''],
  ['redis+sentinel://a', TYPE, '', /must have a masterName/],
  ['redis+sentinel://a/', TYPE, '', /must have a masterName/],
  ['redis+sentinel://a//1', TYPE, '', /must have a masterName/],
  ['redis+sentinel://a/m@n', RANGE, ''],
  ['redis+sentinel://u:1/2@a/m', RANGE, ''],
  ['redis+sentinel://a/%ff', RANGE, '', /percent-encoding/],
  [`redis+sentinel://a/${'%C3%BC'.repeat(513)}`, RANGE, '', /master name of at most 1024/],
  ['redis+sentinel://a/m/x', RANGE, '', /database number/],
  ['redis+sentinel://a/m/1/2', RANGE, '', /database number/],
  ['redis+cluster://a/1', RANGE, '', /database 0/],
  ['redis+cluster://a/m', RANGE, '', /database number/],
  [new Map(), TYPE, '', /not a client/],
  [new Client(), TYPE, '', /not a client: give a Pool over it, see docs\/clients\.md$/],
  [{ set() {} }, TYPE, '', /not a client/],
  [
    { evalsha() {}, pttl() {}, defineCommand() {} },
    TYPE,
    '',
    /not a client: give newPool\(client\) of redsync\/ioredis$/,
  ],
  // Pools
  ...[null, 1, ['a:1']].map((endpoint) => [{ get() {}, endpoint }, TYPE, '.endpoint']),
  ...['u@a', 'a\n', '\na', 'ü', 'a'.repeat(257)].map((endpoint) => [
    { get() {}, endpoint },
    RANGE,
    '.endpoint',
    /host:port, or another short name without a password/,
  ]),
  [{ get() {}, endpoint: '' }, RANGE, '.endpoint'],
  ...['isCluster', 'isPrefixed'].flatMap((key) =>
    [null, 0, 'true'].map((value) => [{ get() {}, [key]: value }, TYPE, `.${key}`]),
  ),
  [{ sendCommand() {} }, TYPE, '', /not a client/],
  [{ duplicate() {} }, TYPE, '', /not a client/],
  // Options
  [{}, TYPE, '', /url, a host, a path, sentinels or a cluster/],
  [{ port: 1 }, TYPE, '', /url, a host, a path, sentinels or a cluster/],
  [new Date(0), TYPE, '', /url, a host, a path, sentinels or a cluster/],
  [{ hosts: 'a' }, TYPE, '', /"hosts".*Did you mean "host"\? Known: url, .*clientName$/],
  [{ 'a b': 1 }, TYPE, '', /unknown option\./],
  [Object.fromEntries([['__proto__', 1]]), TYPE, '', /unknown option/],
  [{ path: '/s', host: 'a' }, TYPE, '', /either "host" or "path"/],
  [{ path: '/s', port: 1 }, TYPE, '', /either "port" or "path"/],
  [{ url: 'redis://a', path: '/s' }, TYPE, '', /either "host" or "path"/],
  [{ url: 'redis+unix:///s', host: 'a' }, TYPE, '', /either "host" or "path"/],
  ...[{ host: 'a' }, { port: 1 }, { path: '/s' }, { url: 'redis://a' }].flatMap((other) => [
    [{ ...other, cluster: [{ host: 'b' }] }, TYPE, '', /either "\w+" or "cluster"/],
    [{ ...other, sentinels: [{ host: 'b' }] }, TYPE, '', /either "\w+" or "sentinels"/],
  ]),
  [{ sentinels: [{ host: 'a' }], cluster: [{ host: 'a' }] }, TYPE, '', /either "sentinels" or/],
  [{ url: 'redis+sentinel://a/m', host: 'b' }, TYPE, '', /either "host" or "sentinels"/],
  [{ url: 'redis+cluster://a', port: 1 }, TYPE, '', /either "port" or "cluster"/],
  [{ masterName: 'm' }, TYPE, '', /url, a host, a path, sentinels or a cluster/],
  [{ url: 'memory:', db: 1 }, TYPE, '', /"db" has no meaning/],
  [{ url: 'memory:', tls: false }, TYPE, '', /"tls" has no meaning/],
  // TLS
  ...[null, 1, 'true', 1n, [], [PEM], Buffer.from(PEM), () => true].map((tls) => [
    { host: 'a', tls },
    TYPE,
    '.tls',
    /a boolean or an object/,
  ]),
  ...['ca', 'cert', 'key'].flatMap((key) => {
    const tls = { cert: PEM, key: KEY };
    return [
      ...[null, 1, true, {}, [PEM], new ArrayBuffer(8), new Uint16Array(8), new String(PEM)].map(
        (value) => [
          { host: 'a', tls: { ...tls, [key]: value } },
          TYPE,
          `.tls.${key}`,
          /a Buffer\. Received (null|an? (number|boolean|object|array))$/,
        ],
      ),
      ...[
        '',
        'x',
        ` ${PEM}`,
        `${PEM}\ud800`,
        PEM.padEnd(MIB + 1),
        PEM.padEnd(MIB - 1, 'ü'),
        Buffer.alloc(0),
        Buffer.from([0x30, 0x82, 0xff]),
        Buffer.from(PEM.padEnd(MIB + 1)),
      ].map((value) => [{ host: 'a', tls: { ...tls, [key]: value } }, RANGE, `.tls.${key}`, /PEM/]),
    ];
  }),
  ...[null, 1, ['a']].map((servername) => [
    { host: 'a', tls: { servername } },
    TYPE,
    '.tls.servername',
  ]),
  ...['', ' ', 'a:1', '::1', 'ü', '*.a', 's'.repeat(254)].map((servername) => [
    { host: 'a', tls: { servername } },
    RANGE,
    '.tls.servername',
    servername === '' || servername.length > 253 ? /./ : /a host name in ASCII/,
  ]),
  ...[
    [null, /Received null$/],
    [1, /Received a number$/],
    [Buffer.from(PIN), /Received an object$/],
    ['', /Received a string of 0 characters$/],
    ['sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=', /a string of 51 characters$/],
    [PIN.slice(3), /Received a string of 92 characters$/],
    [`${PIN}:00`, /Received a string of 98 characters$/],
    [PIN.slice(0, 59), /Received a string of 59 characters$/], // SHA-1
    [PIN.replace('AB', 'GB'), /Received a string of 95 characters$/],
    [`00${BARE_PIN}`, /Received a string of 66 characters$/],
    [PIN.replaceAll(':', ' '), /Received a string of 95 characters$/],
    [PIN.replace(':', ''), /Received a string of 94 characters$/],
    [`${PIN}\n`, /Received a string of 96 characters$/],
    [`${BARE_PIN}\n`, /Received a string of 65 characters$/],
    ['A'.repeat(5e6), /Received a string of 5000000 characters$/],
    [KEY, /Received a string of \d+ characters$/],
  ].flatMap(([fingerprint256, received]) => [
    [{ host: 'a', tls: { fingerprint256 } }, TYPE, '.tls.fingerprint256', received],
    [
      { host: 'a', tls: { fingerprint256: [PIN, fingerprint256] } },
      TYPE,
      '.tls.fingerprint256[1]',
      received,
    ],
  ]),
  [
    { host: 'a', tls: { fingerprint256: [] } },
    TYPE,
    '.tls.fingerprint256',
    /an array of 1 to 64\. Received an array of 0$/,
  ],
  [
    { host: 'a', tls: { fingerprint256: repeat(65, PIN) } },
    TYPE,
    '.tls.fingerprint256',
    /Received an array of 65$/,
  ],
  [
    { host: 'a', tls: { fingerprint256: PIN, ca: PEM } },
    TYPE,
    '.tls',
    /either "ca" or "fingerprint256"/,
  ],
  [{ host: 'a', tls: { cert: PEM } }, TYPE, '.tls', /both "cert" and "key"/],
  [{ host: 'a', tls: { key: KEY } }, TYPE, '.tls', /both "cert" and "key"/],
  ...[true, false, null].map((rejectUnauthorized) => [
    { host: 'a', tls: { rejectUnauthorized } },
    TYPE,
    '.tls.rejectUnauthorized',
    /always verified; give the authority in tls\.ca, or pin .* by tls\.fingerprint256$/,
  ]),
  [
    { host: 'a', tls: { passphrase: 'x' } },
    TYPE,
    '.tls',
    /Known: ca, fingerprint256, cert, key, servername$/,
  ],
  [{ host: 'a', tls: { serverName: 'x' } }, TYPE, '.tls', /Did you mean "servername"/],
  [{ url: 'rediss://a', tls: false }, TYPE, '', /must not be false for a URL with TLS/],
  [{ url: 'rediss+cluster://a', tls: false }, TYPE, '', /must not be false for a URL with TLS/],
  [{ path: '/s', tls: true }, TYPE, '', /"tls" has no meaning for a path/],
  [{ url: 'redis+unix:///s', tls: {} }, TYPE, '', /"tls" has no meaning for a path/],
  // Sentinel and Cluster
  ...['sentinels', 'cluster'].flatMap((key) => [
    ...[null, 'a', 'a:1', 1, true, {}, { host: 'a' }, new Set()].map((value) => [
      { masterName: key === 'sentinels' ? 'm' : undefined, [key]: value },
      TYPE,
      `.${key}`,
      /an array of 1 to 64 objects/,
    ]),
    ...[[], new Array(65), repeat(65, { host: 'a' }), new Array(2 ** 32 - 1)].map((value) => [
      { [key]: value },
      RANGE,
      `.${key}`,
      /an array of 1 to 64 objects/,
    ]),
    ...[undefined, null, 'a', 1, [], ['a']].map((seed) => [
      { [key]: [{ host: 'a' }, seed] },
      TYPE,
      `.${key}[1]`,
      /an object/,
    ]),
    [{ [key]: new Array(1) }, TYPE, `.${key}[0]`],
    [{ [key]: [{}] }, TYPE, `.${key}[0]`, /must have a host/],
    [{ [key]: [{ port: 1 }] }, TYPE, `.${key}[0]`, /must have a host/],
    [{ [key]: [{ host: 'a', db: 1 }] }, TYPE, `.${key}[0]`, /"db".*Known: host, port$/],
    [{ [key]: [{ host: null }] }, TYPE, `.${key}[0].host`],
    [{ [key]: [{ host: 'a:1' }] }, RANGE, `.${key}[0].host`],
    [{ [key]: [{ host: 'a', port: '1' }] }, TYPE, `.${key}[0].port`],
    [{ [key]: [{ host: 'a', port: 0 }] }, RANGE, `.${key}[0].port`],
  ]),
  [{ sentinels: [{ host: 'a' }] }, TYPE, '', /must have a masterName/],
  [{ masterName: '', sentinels: [{ host: 'a' }] }, RANGE, '.masterName'],
  [{ masterName: '\ud800', sentinels: [{ host: 'a' }] }, RANGE, '.masterName'],
  [{ masterName: 'ü'.repeat(513), sentinels: [{ host: 'a' }] }, RANGE, '.masterName'],
  [{ cluster: [{ host: 'a' }], db: 1 }, RANGE, '', /database 0/],
  [{ url: 'redis+cluster://a', db: 1 }, RANGE, '', /database 0/],
  ...['masterName', 'sentinelUsername', 'sentinelPassword'].flatMap((key) => [
    [{ host: 'a', [key]: 'x' }, TYPE, '', /has no meaning without sentinels/],
    [{ path: '/s', [key]: 'x' }, TYPE, '', /has no meaning without sentinels/],
    [{ cluster: [{ host: 'a' }], [key]: 'x' }, TYPE, '', /has no meaning without sentinels/],
    [{ url: 'redis+cluster://a', [key]: 'x' }, TYPE, '', /has no meaning without sentinels/],
    [{ url: 'memory:', [key]: 'x' }, TYPE, '', /has no meaning for a memory/],
    ...[null, 1, []].map((value) => [{ [key]: value }, TYPE, `.${key}`]),
  ]),
  [{ url: 'memory:', clientName: 'c' }, TYPE, '', /"clientName" has no meaning/],
  ...['url', 'host', 'path', 'username', 'password', 'clientName'].flatMap((key) =>
    [null, 1, true, [], {}, ['a'], new String('a')].map((value) => [
      { host: 'a', [key]: value },
      TYPE,
      `.${key}`,
    ]),
  ),
  ...['port', 'db', 'connectTimeout'].flatMap((key) => [
    ...[null, '1', true, 1n, [1], {}].map((value) => [
      { host: 'a', [key]: value },
      TYPE,
      `.${key}`,
    ]),
    ...[NaN, -1, 1.5, Infinity, MAX_INT + 1].map((value) => [
      { host: 'a', [key]: value },
      RANGE,
      `.${key}`,
      /Received (NaN|-1|1\.5|Infinity|2147483648)$/,
    ]),
  ]),
  [{ host: 'a', port: 0 }, RANGE, '.port'],
  [{ host: 'a', port: 65536 }, RANGE, '.port'],
  [{ host: 'a', connectTimeout: 0 }, RANGE, '.connectTimeout'],
  ...['', ' ', 'a b', 'a:1', 'a/b', 'u@a', '[a]', '[::1', 'ü', 'a\0', '\ud800'].map((host) => [
    { host },
    RANGE,
    '.host',
  ]),
  [{ host: 'a'.repeat(254) }, RANGE, '.host'],
  ...['fe80[::1]', '[fe80::]1'].map((host) => [{ host }, RANGE, '.host', /without a port/]),
  [{ host: ['::1'] }, TYPE, '.host'],
  ...['', 's', './s', '/', '/s\0', '/s\n', '/\ud800', `/${'s'.repeat(1024)}`].map((path) => [
    { path },
    RANGE,
    '.path',
  ]),
  ...['', 'a b', 'ü', 'a\n', '\x7f', 'a'.repeat(129)].map((clientName) => [
    { host: 'a', clientName },
    RANGE,
    '.clientName',
    clientName === '' ? /./ : /1 to 128 printable ASCII characters without spaces/,
  ]),
  ...['\ud800', 'x'.repeat(20_000)].flatMap((secret) => [
    [{ host: 'a', username: secret }, RANGE, '.username'],
    [{ host: 'a', password: secret }, RANGE, '.password'],
  ]),
  [{ url: '' }, RANGE, '.url'],
];

for (const [i, [input, expectation, argument, pattern = /./]] of BAD.entries()) {
  test(`${label(input)} is a ${expectation.instanceOf.name} (${i})`, (t) => {
    const error = t.throws(() => readNodes(['redis://x', input]), expectation);
    t.true(error.message.includes(`"nodes[1]${argument}"`), error.message);
    t.regex(error.message, pattern);
    t.true(error.message.length < 300);
    if (Array.isArray(input)) return;
    const single = t.throws(() => readNodes(input), expectation);
    t.true(single.message.includes(`"nodes${argument}"`), single.message);
  });
}

// Wherever a credential ends up by mistake, nothing that can be logged holds it.
const SECRET = 'hunter2';
const LEAKS = [
  SECRET,
  `${SECRET}:x`,
  `${SECRET}://a`,
  `user:${SECRET}@a`,
  `redisss://${SECRET}@a`,
  `rediss://u:${SECRET}@a:b`,
  ...['redis+sentinel', 'rediss+cluster'].flatMap((scheme) => [
    `${scheme}://u:${SECRET}@`,
    `${scheme}://u:${SECRET}@a,b:c`,
    `${scheme}://u:${SECRET}@a,u:${SECRET}@b`,
    `${scheme}://u:${SECRET}/x@a`,
    `${scheme}://u:1/${SECRET}@a`,
    `${scheme}://u:${SECRET}@a/m/x`,
    `${scheme}://u:${SECRET}@a/0?x=1`,
    `${scheme}://a/m/${SECRET}`,
  ]),
  `redis+sentinel://u:${SECRET}@a`,
  `redis+cluster://u:${SECRET}@a/1`,
  `http://u:${SECRET}@a`,
  ` redis://u:${SECRET}@a`,
  `redis://u:${SECRET}@`,
  `redis://u:${SECRET}@a:b`,
  `redis://u:${SECRET}@a:99999`,
  `redis://u:${SECRET}@a/x`,
  `redis://u:${SECRET}@a?x=1`,
  `redis://u:${SECRET}@a#x`,
  `redis://u:${SECRET}%zz@a`,
  `redis://u:${SECRET}/x@a`,
  `redis://u:${SECRET}?x@a`,
  `redis://u:${SECRET}#x@a`,
  `redis://u:${SECRET} x@a`,
  `redis://u:x:${SECRET}`,
  `redis://a/${SECRET}`,
  `redis://a?password=${SECRET}`,
  `redis+unix://u:${SECRET}@a/s`,
  `redis+unix://u:${SECRET}@`,
  `redis+unix:///u:${SECRET}@/s`,
  `redis+unix:///s?password=${SECRET}`,
  `redis+unix:///s?db=${SECRET}`,
  `memory://u:${SECRET}@a`,
  { host: `redis://u:${SECRET}@a` },
  { path: `redis://u:${SECRET}@a` },
  { host: 'a', port: SECRET },
  { host: 'a', db: SECRET },
  { host: 'a', connectTimeout: SECRET },
  { host: 'a', clientName: `${SECRET} ` },
  { host: 'a', username: `${SECRET}\ud800` },
  { host: 'a', password: `${SECRET}\ud800` },
  { host: 'a', password: [SECRET] },
  { host: 'a', password: { [SECRET]: SECRET } },
  { host: 'a', tls: SECRET },
  { host: 'a', tls: Buffer.from(SECRET) },
  { host: 'a', tls: [SECRET] },
  { host: 'a', tls: { ca: SECRET } },
  { host: 'a', tls: { fingerprint256: SECRET } },
  { host: 'a', tls: { fingerprint256: [SECRET] } },
  { host: 'a', tls: { ca: [PEM + SECRET] } },
  { host: 'a', tls: { ca: Buffer.from(SECRET) } },
  { host: 'a', tls: { key: KEY + SECRET } },
  { host: 'a', tls: { cert: PEM, key: `${KEY}${SECRET}\ud800` } },
  { host: 'a', tls: { servername: `redis://u:${SECRET}@a` } },
  { host: 'a', tls: { [`${PEM}${SECRET}`]: 1 } },
  { host: 'a', tls: { key: new String(SECRET) } },
  { host: 'a', tls: { [`${SECRET}@a`]: 1 } },
  { host: 'a', tls: { rejectUnauthorized: SECRET } },
  { url: `rediss://u:${SECRET}@a`, tls: false },
  { path: '/s', password: SECRET, tls: { key: KEY + SECRET, cert: PEM } },
  { sentinels: SECRET },
  { sentinels: [SECRET] },
  { sentinels: [{ host: `u:${SECRET}@a` }] },
  { sentinels: [{ host: 'a', port: SECRET }] },
  { sentinels: [{ [`${SECRET}@a`]: 1 }] },
  { sentinels: [{ host: 'a' }], sentinelPassword: SECRET },
  { sentinels: [{ host: 'a' }], masterName: 'm', sentinelPassword: `${SECRET}\ud800` },
  { sentinels: [{ host: 'a' }], masterName: `${SECRET}\ud800` },
  { masterName: SECRET, host: 'a' },
  { sentinelUsername: SECRET, host: 'a' },
  { cluster: `redis://u:${SECRET}@a` },
  { cluster: [{ host: 'a' }], password: SECRET, db: 1 },
  { sentinelPassword: SECRET },
  { url: `redis://u:${SECRET}@a`, port: 0 },
  { url: `redis://u:${SECRET}@a`, path: '/s' },
  { url: `redis://u:${SECRET}@a:b`, password: SECRET },
  { [`redis://u:${SECRET}@a`]: 1 },
  { password: SECRET },
  [`redis://u:${SECRET}@a`],
  Object.assign(() => {}, { password: SECRET }),
  Object.assign(new Client(), { password: SECRET }),
  Symbol(SECRET),
];

for (const [i, input] of LEAKS.entries()) {
  test(`no credential in the error (${i})`, (t) => {
    const error = t.throws(() => readNodes([input]));
    t.regex(error.code, /^ERR_(INVALID_ARG_TYPE|OUT_OF_RANGE)$/);
    t.is(error.cause, undefined);
    const told = [
      `${error}`,
      error.stack,
      inspect(error, { depth: 9, showHidden: true }),
      JSON.stringify(error, Object.getOwnPropertyNames(error)),
    ];
    t.false(
      told.some((text) => text.includes(SECRET)),
      error.message,
    );
  });
}

test('an @ in the path of a socket is an encoded one', (t) => {
  t.is(readNodes('redis+unix:///a%40b')[0].endpoint, '/a@b');
  t.throws(() => readNodes('redis+unix:///a@b'), { ...RANGE, message: /%40/ });
});

test('no credential in the endpoint', (t) => {
  const url = `redis://u:${SECRET}@a`;
  const misplaced = { sentinels: [{ host: 'a' }], masterName: url };
  for (const input of [...GOOD.map(([good]) => good), misplaced]) {
    t.false(/[@?]/.test(readNodes(input)[0].endpoint));
  }
});

const READ_ONCE = [
  [
    { url: 'redis://a', host: 'b', port: 2, username: 'u', password: 'p', db: 3 },
    tcp('b', 2, { username: 'u', password: 'p', db: 3 }),
  ],
  [
    { host: 'a', tls: { ca: PEM, cert: PEM, key: KEY, servername: 's' } },
    tcp('a', 6379, { tls: { ...TLS, ca: PEM, cert: PEM, key: KEY, servername: 's' } }),
  ],
  [
    { host: 'a', tls: { fingerprint256: [LOWER_PIN, PIN] } },
    tcp('a', 6379, { tls: { ...TLS, fingerprint256: [LOWER_PIN, PIN] } }),
  ],
  [
    {
      sentinels: [
        { host: 'a', port: 1 },
        { host: 'b', port: 2 },
      ],
      masterName: 'm',
      sentinelUsername: 'u',
      sentinelPassword: 'p',
    },
    sentinel('a:1,b:2', 'm', { sentinelUsername: 'u', sentinelPassword: 'p' }),
  ],
  [{ cluster: [{ host: 'a', port: 1 }], clientName: 'c' }, cluster('a:1', { clientName: 'c' })],
];

/** Reads a property of each object within only once as it is. */
function changing(fields, reads, path = '') {
  return new Proxy(fields, {
    get(target, key) {
      const name = `${path}.${String(key)}`;
      reads[name] = (reads[name] ?? 0) + 1;
      if (reads[name] > 1) return Symbol('changed');
      const value = target[key];
      return typeof value === 'object' ? changing(value, reads, name) : value;
    },
  });
}

for (const [i, [fields, expected]] of READ_ONCE.entries()) {
  test(`every option is read once, and what it becomes later is not seen (${i})`, (t) => {
    const reads = {};
    t.deepEqual(readNodes(changing(fields, reads)), [expected]);
    for (const [key, count] of Object.entries(reads)) t.is(count, 1, key);
    t.true(Object.keys(fields).every((key) => reads[`.${key}`] === 1));
  });
}

test('each node is read once', (t) => {
  let reads = 0;
  const nodes = Object.defineProperty(['redis://a'], 0, { get: () => `redis://h${reads++}` });
  t.deepEqual(readNodes(nodes), [tcp('h0')]);
  t.is(reads, 1);
});

test('a throwing getter propagates', (t) => {
  const thrown = new Error('mine');
  const input = {
    get password() {
      throw thrown;
    },
  };
  t.is(
    t.throws(() => readNodes(input)),
    thrown,
  );
});

for (const [same, other] of [
  ['redis://a', 'redis://a:6379'],
  ['redis://a/1', { host: 'a', db: 1 }],
  ['memory:x', 'memory:x'],
  ['redis+cluster://a,b', 'redis+cluster://a,b'],
]) {
  test(`a node cannot vote twice: ${same}`, (t) => {
    const error = t.throws(() => readNodes(['redis://z', same, other]), { instanceOf: RangeError });
    t.is(error.message, 'nodes[2] is the same node as nodes[1]');
  });
}

test('databases of one server and fresh memory nodes are nodes of their own', (t) => {
  t.is(readNodes(['redis://a', 'redis://a/1', 'memory:', 'memory:', 'memory:x']).length, 5);
});

test('a Pool is what it says that it is', (t) => {
  const POOL = { ...PLAIN, kind: 'pool', endpoint: 'pool' };
  for (const [said, expected] of [
    [{}, {}],
    [{ endpoint: 'ioredis [::1]:6379,b/c_d-e' }, { endpoint: 'ioredis [::1]:6379,b/c_d-e' }],
    [{ endpoint: 'a'.repeat(256) }, { endpoint: 'a'.repeat(256) }],
    [{ isCluster: true }, { isCluster: true }],
    [{ isPrefixed: true }, { isPrefixed: true }],
    [{ isCluster: false, isPrefixed: false, endpoint: undefined }, {}],
  ]) {
    const pool = { get() {}, ...said };
    t.deepEqual(readNodes(pool), [{ ...POOL, ...expected, pool }]);
  }
});

test('two Pools at one address are two nodes, one Pool is one', (t) => {
  const [one, other] = [1, 2].map(() => ({ get() {}, endpoint: 'a:1' }));
  t.is(readNodes([one, other]).length, 2);
  let asked = 0;
  Object.defineProperty(one, 'endpoint', { get: () => `a:${asked++}` });
  t.throws(() => readNodes([one, one]), { message: 'nodes[1] is the same node as nodes[0]' });
});

test('nodes of two clocks do not go together', (t) => {
  const [one, other] = [newClock(), newClock()];
  t.is(readNodes([...one.nodes(2), 'redis://a', 'memory:']).length, 4);
  t.throws(() => readNodes([...one.nodes(2), ...other.nodes(1)]), {
    ...RANGE,
    message: 'The "nodes" argument must not have nodes of two clocks',
  });
});

test('later changes to the input are not seen', (t) => {
  const ca = Buffer.from(PEM);
  const input = [{ host: 'a', tls: { ca } }, { cluster: [{ host: 'a' }] }];
  const nodes = readNodes(input);
  input[0].host = 'b';
  ca.fill(0);
  input[1].cluster[0].host = 'b';
  input[1].cluster.push({ host: 'c' });
  input.push('memory:');
  t.deepEqual(nodes, [tcp('a', 6379, { tls: { ...TLS, ca: PEM } }), cluster('a:6379')]);
});

test.serial('a polluted Object.prototype does not turn one node into another', (t) => {
  const polluted = {
    memory: 'evil',
    kind: 'memory',
    endpoint: 'evil',
    seeds: [{ host: 'evil' }],
    value: 'evil',
  };
  try {
    Object.assign(Object.prototype, polluted);
    t.deepEqual(readNodes(['redis://a', { host: 'b' }, 'redis+unix:///s', 'redis+cluster://a']), [
      tcp('a'),
      tcp('b'),
      unix('/s'),
      cluster('a:6379'),
    ]);
    Object.assign(Object.prototype, { tls: false, sentinels: [], cluster: [], masterName: 'evil' });
    t.deepEqual(readNodes(['redis://a', 'rediss://b']), [tcp('a'), tcp('b', 6379, { tls: TLS })]);
  } finally {
    for (const key of Object.keys(Object.prototype)) delete Object.prototype[key];
  }
});

// `npm run fuzz -- urls` reads more.
test('any URL is read as it says, or gets a clear error, and neither shows its login', (t) => {
  const { read, refused } = readUrls({ numRuns: 10_000 });
  t.true(read >= 10_000 && refused >= 1000, `${read} were read, ${refused} refused`);
});

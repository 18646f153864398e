'use strict';

const { inspect } = require('node:util');
const test = require('ava');

const { readNodes } = require('../lib/nodes.js');

const TYPE = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };
const RANGE = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };
const MAX_INT = 2 ** 31 - 1;

const REDIS = {
  kind: 'redis',
  host: undefined,
  port: undefined,
  path: undefined,
  username: undefined,
  password: undefined,
  db: 0,
  connectTimeout: 1000,
  clientName: 'redsync',
};

function tcp(host, port = 6379, more = {}) {
  const shown = host.includes(':') ? `[${host}]` : host;
  return { ...REDIS, host, port, endpoint: `${shown}:${port}`, ...more };
}

function unix(path, more = {}) {
  return { ...REDIS, path, endpoint: path, ...more };
}

function memory(name) {
  return { kind: 'memory', name, endpoint: name ? `memory:${name}` : 'memory' };
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
  [{ host: 'a', password: '\0\ud83d\ude00' }, tcp('a', 6379, { password: '\0😀' })],
  [{ url: 'redis://a:1/2' }, tcp('a', 1, { db: 2 })],
  [
    { url: 'redis://u:p@a:1/2', host: 'b', port: 3, db: 0, password: 'q' },
    tcp('b', 3, { username: 'u', password: 'q' }),
  ],
  [{ url: 'redis+unix:///s?db=1', path: '/t', db: 5 }, unix('/t', { db: 5 })],
  [Object.create({ host: 'a' }), tcp('a')],
  [new Proxy({ host: 'a' }, {}), tcp('a')],
];

for (const [i, [input, expected]] of GOOD.entries()) {
  test(`${label(input)} is a node (${i})`, (t) => {
    const nodes = readNodes(input);
    t.deepEqual(nodes, [expected]);
    t.true(Object.isFrozen(nodes) && Object.isFrozen(nodes[0]));
    t.deepEqual(readNodes(['redis://x', input]), [tcp('x'), expected]);
  });
}

test('1 to 64 nodes, in order', (t) => {
  const urls = Array.from({ length: 64 }, (_, i) => `redis://h${i}`);
  t.deepEqual(readNodes(urls), urls.map((_, i) => tcp(`h${i}`)));
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
  ['memory:/', RANGE, ''],
  ['memory://', RANGE, ''],
  ['memory://a', RANGE, ''],
  ['memory:a?b', RANGE, ''],
  ['memory:a%20b', RANGE, ''],
  [`memory:${'a'.repeat(65)}`, RANGE, ''],
  // Later
  ...['rediss', 'redis+sentinel', 'rediss+sentinel', 'redis+cluster', 'rediss+cluster'].map(
    (scheme) => [`${scheme}://a`, TYPE, '', / redis[s]?(\+\w+)?: URLs are not supported yet/],
  ),
  [{ url: 'rediss://a' }, TYPE, '.url', /not supported yet/],
  [{ host: 'a', tls: true }, TYPE, '.tls', /not supported yet/],
  [{ host: 'a', tls: false }, TYPE, '.tls', /not supported yet/],
  [{ sentinels: [] }, TYPE, '.sentinels', /not supported yet/],
  [{ masterName: 'm' }, TYPE, '.masterName', /not supported yet/],
  [{ sentinelUsername: 'u' }, TYPE, '.sentinelUsername', /not supported yet/],
  [{ sentinelPassword: 'p' }, TYPE, '.sentinelPassword', /not supported yet/],
  [{ cluster: [] }, TYPE, '.cluster', /not supported yet/],
  [{ get() {} }, TYPE, '', /pools are not supported yet/],
  [new Map(), TYPE, '', /not a client/],
  [new Client(), TYPE, '', /not a client/],
  [{ sendCommand() {} }, TYPE, '', /not a client/],
  [{ duplicate() {} }, TYPE, '', /not a client/],
  // Options
  [{}, TYPE, '', /url, a host or a path/],
  [{ port: 1 }, TYPE, '', /url, a host or a path/],
  [new Date(0), TYPE, '', /url, a host or a path/],
  [{ hosts: 'a' }, TYPE, '', /"hosts".*Did you mean "host"\? Known: url, .*clientName$/],
  [{ 'a b': 1 }, TYPE, '', /unknown option\./],
  [Object.fromEntries([['__proto__', 1]]), TYPE, '', /unknown option/],
  [{ path: '/s', host: 'a' }, TYPE, '', /either a path or a host/],
  [{ path: '/s', port: 1 }, TYPE, '', /either a path or a host/],
  [{ url: 'redis://a', path: '/s' }, TYPE, '', /either a path or a host/],
  [{ url: 'redis+unix:///s', host: 'a' }, TYPE, '', /either a path or a host/],
  [{ url: 'memory:', db: 1 }, TYPE, '', /"db" has no meaning/],
  [{ url: 'memory:', clientName: 'c' }, TYPE, '', /"clientName" has no meaning/],
  ...['url', 'host', 'path', 'username', 'password', 'clientName'].flatMap((key) =>
    [null, 1, true, [], {}, ['a'], new String('a')].map((value) => [
      { host: 'a', [key]: value },
      TYPE,
      `.${key}`,
    ]),
  ),
  ...['port', 'db', 'connectTimeout'].flatMap((key) => [
    ...[null, '1', true, 1n, [1], {}].map((value) => [{ host: 'a', [key]: value }, TYPE, `.${key}`]),
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
  ...['', 's', './s', '/', '/s\0', '/s\n', '/\ud800', `/${'s'.repeat(1024)}`].map((path) => [
    { path },
    RANGE,
    '.path',
  ]),
  ...['', 'a b', 'ü', 'a\n', '\x7f', 'a'.repeat(129)].map((clientName) => [
    { host: 'a', clientName },
    RANGE,
    '.clientName',
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
  `rediss://${SECRET}@a`,
  `redis+cluster://u:${SECRET}@a`,
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
    t.false(told.some((text) => text.includes(SECRET)), error.message);
  });
}

test('no credential in the endpoint', (t) => {
  for (const [input] of GOOD) t.false(/[@?]/.test(readNodes(input)[0].endpoint));
});

test('every option is read once, and what it becomes later is not seen', (t) => {
  const fields = { url: 'redis://a', host: 'b', port: 2, username: 'u', password: 'p', db: 3 };
  const reads = {};
  const input = new Proxy(fields, {
    get(target, key) {
      reads[key] = (reads[key] ?? 0) + 1;
      return reads[key] === 1 ? target[key] : Symbol('changed');
    },
  });
  t.deepEqual(readNodes(input), [tcp('b', 2, { username: 'u', password: 'p', db: 3 })]);
  for (const [key, count] of Object.entries(reads)) t.is(count, 1, key);
  t.true(Object.keys(fields).every((key) => reads[key] === 1));
});

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
  t.is(t.throws(() => readNodes(input)), thrown);
});

test('later changes to the input are not seen', (t) => {
  const input = [{ host: 'a' }];
  const nodes = readNodes(input);
  input[0].host = 'b';
  input.push('memory:');
  t.deepEqual(nodes, [tcp('a')]);
});

test.serial('a polluted Object.prototype does not turn one node into another', (t) => {
  const polluted = { memory: 'evil', kind: 'memory', endpoint: 'evil', value: 'evil' };
  try {
    Object.assign(Object.prototype, polluted);
    t.deepEqual(readNodes(['redis://a', { host: 'a' }, 'redis+unix:///s']), [
      tcp('a'),
      tcp('a'),
      unix('/s'),
    ]);
  } finally {
    for (const key of Object.keys(polluted)) delete Object.prototype[key];
  }
});

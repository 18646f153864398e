'use strict';

// Any URLs of nodes, and what must come of them: a node that is where the URL says, or one clear error,
// and neither of them with the login.

const { isDeepStrictEqual } = require('node:util');

const fc = require('fast-check');

const { readNodes } = require('../../lib/nodes.js');

const SECRET = 's3cr3t';
const LONGEST_MESSAGE = 400;

/** What URLs are put together from, rightly and wrongly. */
const PIECES = [
  'redis:',
  'rediss:',
  'redis+unix:',
  'redis+sentinel:',
  'rediss+sentinel:',
  'redis+cluster:',
  'memory:',
  'http:',
  '//',
  '/',
  ':',
  '@',
  ',',
  '?',
  '#',
  '[',
  ']',
  '[::1]',
  '%',
  '%2f',
  '%40',
  '%00',
  '%ff',
  '%F0%9F%94%92',
  'a',
  'host',
  '10.0.0.1',
  '0',
  '1',
  '6379',
  '65536',
  '-1',
  '?db=1',
  '/0',
  '/mymaster',
  ' ',
  '\0',
  '\n',
  '\ud800',
  'é',
  '\u{1f512}',
  '\\',
  '..',
  '\u202e',
];

const noise = fc
  .array(fc.oneof(fc.constantFrom(...PIECES), fc.string({ unit: 'binary', maxLength: 4 })), {
    maxLength: 6,
  })
  .map((pieces) => pieces.join(''));

/** A user and a password that nobody has encoded. */
const login = fc
  .tuple(noise, noise, noise)
  .map(([user, before, after]) => `${user}:${before}${SECRET}${after}@`);

const hostile = fc
  .tuple(
    fc.constantFrom(
      'redis://',
      'rediss://',
      'redis+unix://',
      'redis+sentinel://',
      'redis+cluster://',
      'memory:',
    ),
    fc.option(login, { nil: '' }),
    noise,
  )
  .map((parts) => parts.join(''));

const name = fc.stringMatching(/^[a-z0-9][a-z0-9.-]{0,20}$/);
const host = fc.oneof(name, fc.constantFrom('::1', 'fe80::1', '127.0.0.1'));
const servers = fc.array(
  fc.record({ host, port: fc.integer({ min: 1, max: 65535 }) }, { noNullPrototype: true }),
  {
    minLength: 1,
    maxLength: 3,
  },
);
const credential = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 12 })
  .filter((text) => text.isWellFormed());

/** Parts, and the URL that has them. */
const wellFormed = fc.record({
  kind: fc.constantFrom('redis', 'sentinel', 'cluster'),
  tls: fc.boolean(),
  servers,
  username: credential,
  password: credential,
  masterName: credential,
  db: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
});

function urlOf({ kind, tls, servers, username, password, masterName, db }) {
  const scheme = `${tls ? 'rediss' : 'redis'}${kind === 'redis' ? '' : `+${kind}`}:`;
  const user = `${encodeURIComponent(username)}:${encodeURIComponent(password)}@`;
  const shown = servers.map(
    (each) => (each.host.includes(':') ? `[${each.host}]` : each.host) + `:${each.port}`,
  );
  const hosts = kind === 'redis' ? shown[0] : shown.join(',');
  const path = {
    redis: `/${db}`,
    cluster: '',
    sentinel: `/${encodeURIComponent(masterName)}/${db}`,
  };
  return `${scheme}//${user}${hosts}${path[kind]}`;
}

function fail(url, what) {
  throw new Error(`${JSON.stringify(url)}: ${what}`);
}

/** Reads any URL. */
function readHostile(url) {
  let node;
  try {
    [node] = readNodes([url]);
  } catch (error) {
    const isClear = ['ERR_INVALID_ARG_TYPE', 'ERR_OUT_OF_RANGE'].includes(error.code);
    if (!isClear) fail(url, `not a clear error: ${error.stack}`);
    if (!/^[ -~]*$/.test(error.message)) fail(url, `not readable: ${error.message}`);
    if (error.message.length > LONGEST_MESSAGE) fail(url, `too long: ${error.message}`);
    if (error.message.includes(SECRET)) fail(url, `tells a secret: ${error.message}`);
    return 'refused';
  }
  if (node.endpoint.includes(SECRET)) fail(url, `tells a secret: ${node.endpoint}`);
  if (/[\0-\x1f\x7f]/.test(node.endpoint)) fail(url, `not readable: ${node.endpoint}`);
  return 'read';
}

/** Reads a URL that has these parts, and finds them. */
function readWellFormed(parts) {
  const url = urlOf(parts);
  const [node] = readNodes([url]);
  const expected = {
    kind: parts.kind,
    username: parts.username,
    password: parts.password,
    db: parts.kind === 'cluster' ? 0 : parts.db,
    isTls: parts.tls,
    servers: parts.kind === 'redis' ? parts.servers.slice(0, 1) : parts.servers,
    masterName: parts.kind === 'sentinel' ? parts.masterName : undefined,
  };
  const { kind, username, password, db, masterName } = node;
  const servers = node.seeds ?? [{ host: node.host, port: node.port }];
  const isTls = node.tls !== undefined;
  const found = { kind, username, password, db, isTls, servers, masterName };
  if (!isDeepStrictEqual(found, expected)) {
    fail(url, `${JSON.stringify(found)} instead of ${JSON.stringify(expected)}`);
  }
  return 'read';
}

/**
 * Reads URLs until it has read enough, or the time is over; throws for one that was not read as it
 * should be, with the smallest example.
 *
 * @param {{ numRuns: number, interruptAfterTimeLimit?: number }} limits
 * @returns {{ read: number, refused: number }}
 */
function readUrls(limits) {
  const counts = { read: 0, refused: 0 };
  const either = fc.property(hostile, wellFormed, (url, parts) => {
    counts[readHostile(url)]++;
    counts[readWellFormed(parts)]++;
  });
  fc.assert(either, { includeErrorInReport: true, ...limits });
  return counts;
}

module.exports = { readUrls };

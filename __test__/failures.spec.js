'use strict';

// What a call says that has failed: the engine's lines as errors, word by word.

const { inspect } = require('node:util');
const test = require('ava');

const errors = require('../index.js');
const { OPERATION, OUTCOME, STALE } = require('../lib/calls.js');
const { failure, nodeHealth, nodeInspections } = require('../lib/failures.js');
const { failureOf, forgetThrown } = require('../lib/pool-failures.js');
const { linesOf, votesOf } = require('../lib/votes.js');

const NODES = ['a:1', 'b:2', 'memory:c'].map((endpoint) => ({ endpoint }));
const TAKEN = 'node 0 (a:1): lock is taken';
const REFUSED = 'node 1 (b:2): SET was refused: OOM';
const ABSENT = 'node 2 (memory:c): the key has expired or was deleted';
const SAID = '0\ttaken\n1\terror\tOOM\tSET was refused: OOM\n2\tabsent\n';

function fail(operation, kind, { text = SAID, number = 1, report, nodes = NODES, known } = {}) {
  return (names) => failure(operation, { kind, number, text, report }, names, nodes, known);
}

// how it fails, names, class, message
const FAILURES = [
  [
    fail(OPERATION.LOCK, OUTCOME.FAILED, { number: 2 }),
    ['a'],
    'FailedError',
    `lock "a": no quorum of 2 of 3 nodes after 2 attempts (${TAKEN}; ${REFUSED}; ${ABSENT})`,
  ],
  [
    fail(OPERATION.TRY_LOCK, OUTCOME.FAILED, { text: '', nodes: NODES.slice(0, 1) }),
    ['a', 'b'],
    'FailedError',
    'lock "a" and 1 other name: no quorum of 1 of 1 node after 1 attempt',
  ],
  [
    fail(OPERATION.UNLOCK, OUTCOME.FAILED, { text: '0\tpending\n' }),
    ['é"', 'b', 'c'],
    'FailedError',
    'lock "é\\"" and 2 other names: no quorum of 2 of 3 nodes',
  ],
  [
    fail(OPERATION.SCAN, OUTCOME.FAILED, { text: '' }),
    [],
    'FailedError',
    'no quorum of 2 of 3 nodes',
  ],
  [
    fail(OPERATION.LOCK, OUTCOME.TAKEN, { text: '0\ttaken\n' }),
    ['n'.repeat(64)],
    'TakenError',
    `lock "${'n'.repeat(64)}": taken after 1 attempt (${TAKEN})`,
  ],
  [
    fail(OPERATION.TRY_LOCK, OUTCOME.TAKEN, { text: '0\ttaken\n', report: { endless: [0] } }),
    ['n'.repeat(65)],
    'TakenError',
    `lock "${'n'.repeat(64)}...": taken after 1 attempt (${TAKEN} by a key that has no expiry: not a lock?)`,
  ],
  [
    fail(OPERATION.UNLOCK, OUTCOME.TAKEN, { text: '0\ttaken\n', report: { endless: [1] } }),
    ['a'],
    'TakenError',
    `lock "a": taken (${TAKEN})`,
  ],
  [
    fail(OPERATION.UNLOCK, OUTCOME.TAKEN, { text: '0\ttaken\n', known: 'was never locked' }),
    ['a'],
    'TakenError',
    `lock "a": was never locked; now taken (${TAKEN})`,
  ],
  [
    fail(OPERATION.EXTEND, OUTCOME.NOT_EXTENDED, { text: '2\tabsent\n' }),
    ['a'],
    'ExtendError',
    `lock "a": not extended by a quorum of 2 of 3 nodes (${ABSENT})`,
  ],
  [
    fail(OPERATION.UNLOCK, OUTCOME.EXPIRED, { text: '2\tabsent\n' }),
    ['a'],
    'LockExpiredError',
    `lock "a": already expired (${ABSENT})`,
  ],
  [
    fail(OPERATION.UNLOCK, OUTCOME.EXPIRED, { text: '2\tabsent\n', known: 'was released already' }),
    ['a'],
    'LockExpiredError',
    'lock "a": was released already',
  ],
  [
    fail(OPERATION.LOCK, STALE, { text: '' }),
    ['a'],
    'FailedError',
    'lock "a": acquired, but over before it could be handed over: the event loop was blocked',
  ],
];

for (const [make, names, name, message] of FAILURES) {
  test(message.slice(0, 120), (t) => {
    const error = make(names);
    t.is(error.constructor, errors[name]);
    t.is(error.message, message);
  });
}

test('each node tells what it has said', (t) => {
  const { errors: told, attempts } = fail(OPERATION.LOCK, OUTCOME.FAILED, { number: 7 })(['a']);
  t.is(attempts, 7);
  t.deepEqual(
    told.map(({ name, code, node, message }) => [name, code, node, message]),
    [
      ['NodeTakenError', 'ERR_NODE_TAKEN', 0, TAKEN],
      ['RedisError', 'ERR_REDIS', 1, REFUSED],
      ['RedisError', 'ERR_REDIS', 2, ABSENT],
    ],
  );
  const [, refused, absent] = told.map(({ cause }) => cause);
  t.deepEqual([refused.code, refused.message], ['OOM', 'SET was refused: OOM']);
  t.deepEqual(
    [absent.code, absent.message],
    ['ERR_LOCK_EXPIRED', 'the key has expired or was deleted'],
  );
  // They were put together here, not where anything has failed.
  for (const error of [...told, refused, absent]) {
    t.is(error.stack, `${error.name}: ${error.message}`);
  }
});

test('what a pool threw is shown to who asks for it, and to no logger', (t) => {
  const secret = new Error('hunter2');
  const { code, message } = failureOf('setNX', secret);
  const text = `0\terror\t${code}\t${message}\n`;
  const [error] = fail(OPERATION.LOCK, OUTCOME.FAILED, { text })(['a']).errors;
  t.is(error.message, 'node 0 (a:1): setNX() of the pool failed: Error');
  t.is(error.thrown, secret);
  t.false(Object.keys(error).includes('thrown'));
  t.notRegex(inspect(error, { depth: 9 }), /hunter2/);
  t.true(Object.getOwnPropertyDescriptor(error, 'thrown').configurable);
  forgetThrown();
  const [forgotten] = fail(OPERATION.LOCK, OUTCOME.FAILED, { text })(['a']).errors;
  t.false('thrown' in forgotten);
});

test('who closes is told so, and what nobody has thought of asks for a report', (t) => {
  for (const kind of [OUTCOME.CLOSED, OUTCOME.CANCELLED]) {
    t.is(fail(OPERATION.LOCK, kind)(['a']).constructor, errors.ClosedError);
  }
  const error = fail(OPERATION.LOCK, 999)(['a']);
  t.is(error.constructor, errors.RedsyncError);
  t.like(error, { code: 'ERR_INTERNAL', message: 'the engine has failed: please report this' });
});

test('the votes of a round, as far as they are known', (t) => {
  const { FAILED, TAKEN, NOT_EXTENDED, EXPIRED, HELD, DONE, CLOSED } = OUTCOME;
  for (const kind of [FAILED, TAKEN, NOT_EXTENDED, EXPIRED])
    t.is(linesOf({ kind, text: SAID }), SAID);
  const report = { lines: '1\tpending\n' };
  for (const kind of [HELD, DONE]) {
    t.is(linesOf({ kind, text: 'value', report }), report.lines);
    t.is(linesOf({ kind, text: 'value' }), '');
  }
  t.is(linesOf({ kind: CLOSED, text: '', report }), undefined);
  t.deepEqual(votesOf(SAID, 4), ['taken', 'error', 'absent', 'granted']);
  t.deepEqual(votesOf(report.lines, 2), ['granted', 'pending']);
  t.deepEqual(votesOf('1\tdenied\tWRONGTYPE\tm\n', 2), ['granted', 'error']);
});

test('the health of nodes', (t) => {
  const text =
    'up\t1.5\tredis 7.0.15\t1\t2500.2\t\t\n' +
    'down\t\t\t\t\tECONNREFUSED\tconnection refused\n' +
    'up\t0\t\t0\t9000\tNOPERM\tINFO was refused: NOPERM\n';
  const servers = { sameAs: (node) => (node === 1 ? [0, 2] : []) };
  const [first, second, third] = nodeHealth(text, NODES, 8000, servers);
  t.deepEqual(first, {
    node: 0,
    endpoint: 'a:1',
    status: 'up',
    latency: 1.5,
    server: 'redis 7.0.15',
    watching: true,
    abstains: 5500,
  });
  const { error, ...rest } = second;
  t.deepEqual(rest, { node: 1, endpoint: 'b:2', status: 'down', sameServerAs: [0, 2] });
  t.is(error.message, 'node 1 (b:2): connection refused');
  t.is(error.cause.code, 'ECONNREFUSED');
  t.deepEqual(Object.keys(third), ['node', 'endpoint', 'status', 'latency', 'watching', 'error']);
  t.like(third, { latency: 0, watching: false });
});

test('what nodes store', (t) => {
  const text =
    'held\t1200\t5\t\t\n' +
    'held\t\t3\t\t\n' +
    'free\t\t0\t\t\n' +
    'unknown\t\t0\tETIMEDOUT\tno answer\n' +
    'a\tb\nxyz';
  const nodes = [...NODES, { endpoint: 'd:4' }];
  const found = nodeInspections(text, nodes);
  t.like(found[0], { node: 0, endpoint: 'a:1', status: 'held', value: 'a\tb\nx', remaining: 1200 });
  t.like(found[1], { node: 1, status: 'held', value: 'yz', remaining: Infinity });
  t.deepEqual(found[2], { node: 2, endpoint: 'memory:c', status: 'free' });
  t.is(found[3].error.message, 'node 3 (d:4): no answer');
  t.false('value' in found[3]);
});

'use strict';

const { OPERATION, OUTCOME, STALE } = require('./calls.js');
const {
  ClosedError,
  ExtendError,
  FailedError,
  LockExpiredError,
  NodeTakenError,
  RedisError,
  RedsyncError,
  TakenError,
} = require('./errors.js');
const { ownerOf } = require('./owner.js');
const { thrown } = require('./pool-failures.js');
const { quorumOf } = require('./quorum.js');
const { readLines } = require('./votes.js');

const LONGEST_NAME = 64;

/**
 * The error of a call that failed in the engine.
 *
 * @param {number} operation
 * @param {{ kind: number, number: number, text: string, report?: { endless: readonly number[] } }} outcome
 * @param {readonly string[]} names of the mutex; none for a call on all nodes
 * @param {readonly { endpoint: string }[]} nodes
 * @param {string} [known] what the caller knows of a lock that is not there, and the nodes do not
 * @returns {Error}
 */
function failure(operation, outcome, names, nodes, known) {
  if (outcome.kind === OUTCOME.CLOSED || outcome.kind === OUTCOME.CANCELLED) {
    return new ClosedError();
  }
  const describe = DESCRIPTIONS[outcome.kind];
  if (describe === undefined) {
    return new RedsyncError('the engine has failed: please report this', 'ERR_INTERNAL');
  }
  const attempts = outcome.number;
  const errors = nodeErrors(outcome, nodes);
  const [Class, what] = describe({ operation, attempts, quorum: shareOf(nodes), known });
  const subject = names.length === 0 ? '' : `${subjectOf(names)}: `;
  // That a key has expired or was deleted would mislead whoever has released it himself.
  const details = what === known ? '' : reasons(errors);
  return new Class(subject + what + details, errors, attempts);
}

const DESCRIPTIONS = {
  [OUTCOME.FAILED]: ({ operation, attempts, quorum }) => [
    FailedError,
    `no quorum of ${quorum}${isAcquisition(operation) ? ` after ${count(attempts, 'attempt')}` : ''}`,
  ],
  [OUTCOME.TAKEN]: ({ operation, attempts, known }) => [
    TakenError,
    isAcquisition(operation)
      ? `taken after ${count(attempts, 'attempt')}`
      : `${known === undefined ? '' : `${known}; now `}taken`,
  ],
  [OUTCOME.NOT_EXTENDED]: ({ quorum }) => [ExtendError, `not extended by a quorum of ${quorum}`],
  [OUTCOME.EXPIRED]: ({ known = 'already expired' }) => [LockExpiredError, known],
  [STALE]: () => [
    FailedError,
    'acquired, but over before it could be handed over: the event loop was blocked',
  ],
};

function isAcquisition(operation) {
  return operation === OPERATION.LOCK || operation === OPERATION.TRY_LOCK;
}

function shareOf({ length }) {
  return `${quorumOf(length)} of ${count(length, 'node')}`;
}

function count(number, noun) {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

function subjectOf([name, ...others]) {
  const shown = name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME)}...` : name;
  const more = others.length === 0 ? '' : ` and ${count(others.length, 'other name')}`;
  return `lock ${JSON.stringify(shown)}${more}`;
}

function reasons(errors) {
  return errors.length === 0 ? '' : ` (${errors.map((error) => error.message).join('; ')})`;
}

function nodeErrors({ text, report }, nodes) {
  const refusals = readLines(text).filter(({ kind }) => kind !== 'pending');
  return refusals.map(({ node, kind, code, message, own }) => {
    const { endpoint } = nodes[node];
    if (kind === 'taken') {
      const isEndless = report?.endless.includes(node);
      return withoutFrames(new NodeTakenError(node, endpoint, isEndless));
    }
    if (kind === 'absent') return withoutFrames(new RedisError(node, endpoint, absent()));
    return nodeError(node, endpoint, code, message, own);
  });
}

/** go-redsync reports ErrLockAlreadyExpired for such a node. */
function absent() {
  return coded('the key has expired or was deleted', 'ERR_LOCK_EXPIRED');
}

/**
 * @param {string} message
 * @param {string} code
 * @returns {Error & { code: string }}
 */
function coded(message, code) {
  const error = new Error(message);
  error.code = code;
  return withoutFrames(error);
}

/**
 * Why a node has failed.
 *
 * @param {number} node
 * @param {string} endpoint
 * @param {string} code
 * @param {string} message
 * @param {string} [own] see lib/votes.js
 */
function nodeError(node, endpoint, code, message, own) {
  const error = withoutFrames(new RedisError(node, endpoint, coded(message, code)));
  if (own !== undefined) showOnRequest(error, thrown(Number(own)));
  return error;
}

/**
 * What a pool threw may hold secrets: so it is a getter, which console.log() does not follow, and no
 * `cause`, for loggers follow those.
 */
function showOnRequest(error, thrown) {
  if (thrown === undefined) return;
  const property = { __proto__: null, get: () => thrown, configurable: true };
  Object.defineProperty(error, 'thrown', property);
}

/** Where the error of a node was put together says nothing about what has failed. */
function withoutFrames(error) {
  error.stack = `${error.name}: ${error.message}`;
  return error;
}

/**
 * @param {string} text one line a node: status, latency, server, watching (1 or 0), uptime, code, message
 * @param {readonly { endpoint: string }[]} nodes
 * @param {number} abstention for how long a node has to be up to vote
 * @param {import('./servers.js').Servers} servers
 * @returns {object[]} one NodeHealth a node
 */
function nodeHealth(text, nodes, abstention, servers) {
  const lines = text.split('\n').slice(0, -1);
  return lines.map((line, node) => {
    const [status, latency, server, watching, uptime, code, message, own] = line.split('\t');
    const { endpoint } = nodes[node];
    const abstains = uptime === '' ? 0 : Math.ceil(abstention - Number(uptime));
    const sameServerAs = servers.sameAs(node);
    return {
      node,
      endpoint,
      status,
      ...(latency !== '' && { latency: Number(latency) }),
      ...(server !== '' && { server }),
      ...(watching !== '' && { watching: watching === '1' }),
      ...(abstains > 0 && { abstains }),
      ...(sameServerAs.length > 0 && { sameServerAs }),
      ...(code !== '' && { error: nodeError(node, endpoint, code, message, own) }),
    };
  });
}

/**
 * @param {string} text one line a node: state, milliseconds left, length of the value, code, message;
 *   then the values
 * @param {readonly { endpoint: string }[]} nodes
 * @returns {object[]} one NodeInspection a node
 */
function nodeInspections(text, nodes) {
  const lines = text.split('\n', nodes.length);
  let start = lines.reduce((length, line) => length + line.length + 1, 0);
  return lines.map((line, node) => {
    const [status, left, length, code, message, own] = line.split('\t');
    const { endpoint } = nodes[node];
    const value = text.slice(start, start + Number(length));
    start += value.length;
    return {
      node,
      endpoint,
      status,
      ...(status === 'held' && {
        value,
        ...ownerOf(value),
        remaining: left === '' ? Infinity : Number(left),
      }),
      ...(code !== '' && { error: nodeError(node, endpoint, code, message, own) }),
    };
  });
}

module.exports = { failure, nodeError, nodeHealth, nodeInspections };

'use strict';

const { NodeTakenError } = require('../errors.js');
const { ResourceLockedError } = require('./errors.js');

/** @param {Error} error why a node voted against */
function isAbsent(error) {
  return error.cause?.code === 'ERR_LOCK_EXPIRED';
}

/**
 * node-redlock has one error for what somebody else has and for what we do not have any more.
 *
 * @param {Error} error why a node voted against
 */
function isNotOurs(error) {
  return error instanceof NodeTakenError || isAbsent(error);
}

/**
 * The votes of one attempt.
 *
 * @param {Set<unknown>} clients
 * @param {readonly { node: number }[]} errors one for each client that voted against
 */
function countVotes(clients, errors) {
  const list = [...clients];
  const votesAgainst = new Map();
  for (const error of errors) {
    const { message, node } = error;
    const reason = isNotOurs(error) ? new ResourceLockedError(message, { cause: error }) : error;
    votesAgainst.set(list[node], reason);
  }
  return {
    membershipSize: list.length,
    quorumSize: Math.floor(list.length / 2) + 1,
    votesFor: new Set(list.filter((client) => !votesAgainst.has(client))),
    votesAgainst,
  };
}

module.exports = { countVotes, isAbsent, isNotOurs };

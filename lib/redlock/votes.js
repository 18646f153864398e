'use strict';

const { NodeTakenError } = require('../errors.js');
const { ResourceLockedError } = require('./errors.js');

/**
 * Why a node voted against, as node-redlock tells it: that somebody else has the resource, or that
 * we do not have it any more, is one and the same error there.
 *
 * @param {Error} error
 */
function isNotOurs(error) {
  return error instanceof NodeTakenError || error.cause?.code === 'ERR_LOCK_EXPIRED';
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

module.exports = { countVotes, isNotOurs };

'use strict';

const { NodeTakenError } = require('../lib/errors.js');
const { quorumOf } = require('../lib/quorum.js');
const { notApplied } = require('./errors.js');

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

/** A client's own error as it is, where there is one. */
function reasonOf(error, resources) {
  if (isNotOurs(error)) return notApplied(resources, error);
  return error.thrown instanceof Error ? error.thrown : error;
}

/**
 * The votes of one attempt.
 *
 * @param {Set<unknown>} clients
 * @param {readonly { node: number }[]} errors one for each client that voted against
 * @param {number} resources how many were asked for
 */
function countVotes(clients, errors, resources) {
  const list = [...clients];
  const votesAgainst = new Map();
  for (const error of errors) votesAgainst.set(list[error.node], reasonOf(error, resources));
  return {
    membershipSize: list.length,
    quorumSize: quorumOf(list.length),
    votesFor: new Set(list.filter((client) => !votesAgainst.has(client))),
    votesAgainst,
  };
}

module.exports = { countVotes, isAbsent, isNotOurs };

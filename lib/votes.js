'use strict';

// What the nodes said in a round: the engine writes one line for each node that did not grant. See
// src/binding/outbox.rs.

const { OUTCOME } = require('./calls.js');

/** Outcomes whose text is the votes of a round that failed. */
const FAILURES = new Set([OUTCOME.FAILED, OUTCOME.TAKEN, OUTCOME.NOT_EXTENDED, OUTCOME.EXPIRED]);

/**
 * @param {string} text
 * @returns {{ node: number, kind: 'taken' | 'absent' | 'error' | 'pending', code: string, message: string, own?: string, isOfKey: boolean }[]}
 *   isOfKey: the error says nothing about the node; own: the number of what a pool threw itself, see lib/pool-failures.js
 */
function readLines(text) {
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const [node, said, code, message, own] = line.split('\t');
      const kind = said === 'denied' ? 'error' : said;
      const isOfKey = said === 'denied' || code === 'ETOKEN';
      return { node: Number(node), kind, isOfKey, code, message, own };
    });
}

/**
 * The lines of an outcome of `lock`, `unlock` or `extend`; '' when all nodes have granted,
 * `undefined` when nothing is known of them.
 *
 * @param {import('./client.js').Outcome} outcome
 * @returns {string | undefined}
 */
function linesOf({ kind, text, report }) {
  if (FAILURES.has(kind)) return text;
  return kind === OUTCOME.HELD || kind === OUTCOME.DONE ? (report?.lines ?? '') : undefined;
}

/**
 * @param {string} lines
 * @param {number} size number of nodes
 * @returns {('granted' | 'taken' | 'absent' | 'error' | 'pending')[]} one vote a node, in their order
 */
function votesOf(lines, size) {
  const votes = new Array(size).fill('granted');
  for (const { node, kind } of readLines(lines)) votes[node] = kind;
  return votes;
}

module.exports = { readLines, linesOf, votesOf };

'use strict';

const { ClosedError, TakenError } = require('./errors.js');
const { EXTEND, LOCK, NODE } = require('./events.js');
const { nodeError } = require('./failures.js');
const { linesOf, readLines } = require('./votes.js');

/** What one Redsync has done, and what it knows of its nodes from the answers to its calls. */
class Stats {
  #calls = {
    locks: 0,
    taken: 0,
    aborted: 0,
    failures: 0,
    attempts: 0,
    waits: 0,
    unlocks: 0,
    unlockFailures: 0,
    extensions: 0,
    extensionFailures: 0,
    lost: 0,
    held: 0,
    waiting: 0,
  };
  #nodes;
  #down = 0; // nodes

  /** @param {readonly { endpoint: string }[]} nodes */
  constructor(nodes) {
    this.#nodes = nodes.map(({ endpoint }, node) => ({ node, endpoint, errors: 0, status: 'up' }));
  }

  /** As they are now. */
  read() {
    return { ...this.#calls, nodes: this.#nodes.map((node) => ({ ...node })) };
  }

  /** A call of lock(), unlock() or extend() begins. */
  begin(event) {
    if (event === LOCK) this.#calls.waiting++;
  }

  /** It has ended: with what the engine said of it, unless the caller or close() ended it before. */
  end(event, outcome, error) {
    const calls = this.#calls;
    if (event === LOCK) {
      calls.waiting--;
      this.#endLock(outcome, error);
    } else if (event === EXTEND) {
      if (error === undefined) calls.extensions++;
      else calls.extensionFailures++;
    } else if (error === undefined) {
      calls.unlocks++;
    } else {
      calls.unlockFailures++;
    }
  }

  #endLock(outcome, error) {
    const calls = this.#calls;
    if (outcome !== undefined) {
      calls.attempts += outcome.report?.attempts ?? 1;
      calls.waits += outcome.report?.waits ?? 0;
    }
    if (error === undefined && outcome.isHeld) calls.locks++;
    else if (error === undefined || error instanceof TakenError) calls.taken++;
    else if (outcome === undefined && !(error instanceof ClosedError)) calls.aborted++;
    else calls.failures++;
  }

  /** The engine looks after one more lock. */
  hold() {
    this.#calls.held++;
  }

  /** It does not any more. */
  letGo() {
    this.#calls.held--;
  }

  lose() {
    this.#calls.lost++;
  }

  /** What the outcome of a call tells of the nodes. */
  learn(outcome) {
    const lines = linesOf(outcome);
    // All have granted, and none was down: by far the most calls.
    if (lines === undefined || (lines === '' && this.#down === 0)) return;
    const silent = new Set();
    for (const { node, kind, isOfKey, code, message } of readLines(lines)) {
      if (kind === 'error' && !isOfKey) this.nodeFailed(node, code, message);
      if (kind === 'error' || kind === 'pending') silent.add(node);
    }
    for (const { node } of this.#nodes) if (!silent.has(node)) this.nodeAnswered(node);
  }

  nodeFailed(index, code, message) {
    const node = this.#nodes[index];
    node.errors++;
    if (node.status === 'down') return;
    node.status = 'down';
    this.#down++;
    if (!NODE.hasSubscribers) return;
    const error = nodeError(index, node.endpoint, code, message);
    NODE.publish({ node: index, endpoint: node.endpoint, status: 'down', error });
  }

  nodeAnswered(index) {
    const node = this.#nodes[index];
    if (node.status === 'up') return;
    node.status = 'up';
    this.#down--;
    if (!NODE.hasSubscribers) return;
    NODE.publish({ node: index, endpoint: node.endpoint, status: 'up', error: undefined });
  }
}

module.exports = { Stats };

'use strict';

const { ClosedError, DeadlockError, TakenError } = require('./errors.js');
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
    waiting: 0,
  };
  #leases = 0; // locks that the engine looks after
  #holds;
  #nodes;
  #down = 0; // nodes

  /**
   * @param {readonly { endpoint: string }[]} nodes
   * @param {import('./holds.js').Holds} holds
   */
  constructor(nodes, holds) {
    this.#holds = holds;
    this.#nodes = nodes.map(({ endpoint }, node) => ({ node, endpoint, errors: 0, status: 'up' }));
  }

  /** As they are now. */
  read() {
    const held = this.#leases + this.#holds.others;
    return { ...this.#calls, held, nodes: this.#nodes.map((node) => ({ ...node })) };
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
      calls[error === undefined ? 'extensions' : 'extensionFailures']++;
    } else {
      calls[error === undefined ? 'unlocks' : 'unlockFailures']++;
    }
  }

  #endLock(outcome, error) {
    const calls = this.#calls;
    if (outcome === undefined) {
      const isOurs = error instanceof ClosedError || error instanceof DeadlockError;
      calls[isOurs ? 'failures' : 'aborted']++;
      return;
    }
    calls.attempts += outcome.report?.attempts ?? 1;
    calls.waits += outcome.report?.waits ?? 0;
    if (error !== undefined && !(error instanceof TakenError)) calls.failures++;
    else calls[outcome.isHeld ? 'locks' : 'taken']++;
  }

  /** The engine looks after one more lock, or one less. */
  hold(change) {
    this.#leases += change;
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

  /** What the health of the nodes tells of them. */
  learnHealth(all) {
    for (const { node, status, error } of all) {
      if (status === 'up') this.nodeAnswered(node);
      if (status === 'down') this.nodeFailed(node, error.cause.code, error.cause.message);
    }
  }

  nodeFailed(index, code, message) {
    const node = this.#nodes[index];
    node.errors++;
    this.#turn(node, 'down', () => nodeError(index, node.endpoint, code, message));
  }

  nodeAnswered(index) {
    this.#turn(this.#nodes[index], 'up', () => undefined);
  }

  #turn(node, status, newError) {
    if (node.status === status) return;
    node.status = status;
    this.#down += status === 'down' ? 1 : -1;
    if (!NODE.hasSubscribers) return;
    NODE.publish({ node: node.node, endpoint: node.endpoint, status, error: newError() });
  }
}

module.exports = { Stats };

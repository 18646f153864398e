'use strict';

// Nodes that turn out to be one server: it was given by two names, or by two of its databases. They fail together, and
// forget together, so their votes are one vote.

/** So many servers of a cluster are remembered: it has at most 1000 masters. */
const MAX_SERVERS = 2000;

let hasWarned = false; // once a process

/** Which servers the nodes of one Redsync are, as far as they tell. */
class Servers {
  #nodes;
  #runIds; // a set for each node: what its servers call themselves from their start to their end

  /** @param {readonly { endpoint: string, isCluster: boolean }[]} nodes */
  constructor(nodes) {
    this.#nodes = nodes;
    this.#runIds = nodes.map(() => new Set());
  }

  /**
   * A node was logged in to.
   *
   * @param {number} node
   * @param {string} runId '' if the server does not say
   */
  learn(node, runId) {
    const own = this.#runIds[node];
    // A node that is no cluster is one server at a time.
    if (!this.#nodes[node].isCluster || own.size >= MAX_SERVERS) own.clear();
    if (runId === '') return;
    own.add(runId);
    if (hasWarned) return;
    const [other] = this.sameAs(node);
    if (other !== undefined) this.#warn(...[node, other].sort((a, b) => a - b));
  }

  /**
   * @param {number} node
   * @returns {number[]} the other nodes that are on the same server
   */
  sameAs(node) {
    const own = this.#runIds[node];
    const others = this.#nodes.map((_, other) => other).filter((other) => other !== node);
    return others.filter((other) => [...own].some((runId) => this.#runIds[other].has(runId)));
  }

  #warn(...nodes) {
    hasWarned = true;
    const [one, other] = nodes.map((node) => `nodes[${node}] (${this.#nodes[node].endpoint})`);
    process.emitWarning(
      `${one} and ${other} are one server and have one fate: what it forgets, both forget. ` +
        'A quorum needs servers that do not fail together',
      { code: 'REDSYNC_SAME_SERVER' },
    );
  }
}

module.exports = { Servers };

'use strict';

// What is locked now: a walk finds the names that may be, and a look at each counts the votes, as inspect() does.

const { OPERATION, OUTCOME, now } = require('./calls.js');
const { failure, nodeInspections } = require('./failures.js');
const { ownerOf } = require('./owner.js');
const { permitOf, readPermitKey } = require('./permits.js');
const { quorumOf } = require('./quorum.js');
const { READERS } = require('./values.js');
const { Walk } = require('./walk.js');

/** Names that are looked at side by side. */
const AT_ONCE = 32;

/** For a node to tell of a name, in milliseconds. */
const PATIENCE = 2000;

/** What of the time is for the walk; the rest is for the looks. */
const FOR_THE_WALK = 0.5;

/**
 * @param {import('./client.js').Client} client that is open
 * @param {string} pattern
 * @param {{ limit: number, timeout: number, signal?: AbortSignal }} options
 * @returns {Promise<import('..').LockedNames>}
 */
async function list(client, pattern, { limit, timeout, signal }) {
  const { length: size } = client.nodes;
  const quorum = quorumOf(size);
  const start = now();
  const walk = new Walk(client, pattern, start + timeout * FOR_THE_WALK, signal);
  await walk.go(quorum);

  // What a quorum stores, so many of the nodes have told of; the others may be among it.
  const unseen = size - walk.walked;
  const names = [...walk.found.keys()].filter((name) => walk.found.get(name) + unseen >= quorum);
  const looks = new Looks(client, quorum, start + timeout, signal);
  await looks.at(names, limit);

  const locked = [...looks.locked.values()].sort(byName).slice(0, limit);
  // Any quorum has one of so many nodes.
  const sawAll = walk.cut !== 'size' && walk.walked > size - quorum;
  const incomplete =
    looks.locked.size > limit
      ? 'limit'
      : (looks.cut ?? (sawAll ? undefined : (walk.cut ?? 'nodes')));
  return incomplete === undefined ? locked : Object.assign(locked, { incomplete });
}

class Looks {
  #client;
  #quorum;
  #end;
  #signal;

  /** By name. @type {Map<string, import('..').LockedName>} */
  locked = new Map();

  /** Why not all were looked at. @type {'time' | 'nodes' | undefined} */
  cut = undefined;

  constructor(client, quorum, end, signal) {
    this.#client = client;
    this.#quorum = quorum;
    this.#end = end;
    this.#signal = signal;
  }

  /** Looks at the names, until more than `limit` of them are locked. */
  async at(names, limit) {
    // The permits of a semaphore come one after the other.
    const candidates = names
      .map((key) => ({ key, ...readPermitKey(key) }))
      .sort((one, other) => byName(one, other) || one.permit - other.permit);
    for (let i = 0; i < candidates.length && this.locked.size <= limit; i += AT_ONCE) {
      if (this.#end - now() <= 0) {
        this.cut = 'time';
        return;
      }
      const some = candidates.slice(i, i + AT_ONCE);
      const found = await Promise.all(some.map(({ key }) => this.#ask(key)));
      some.forEach((each, j) => this.#judge(each, found[j]));
    }
  }

  async #ask(name) {
    const { nodes, keyPrefix } = this.#client;
    const timeout = Math.min(PATIENCE, Math.max(1, this.#end - now()));
    const outcome = await this.#client.performOnAll(
      OPERATION.INSPECT,
      timeout,
      this.#signal,
      keyPrefix + name,
    );
    if (outcome.kind === OUTCOME.INSPECTED) return nodeInspections(outcome.text, nodes);
    throw failure(OPERATION.INSPECT, outcome, [], nodes);
  }

  /** What the nodes say of it together. */
  #judge({ key, name, permit }, found) {
    const votes = votesOf(found, this.#quorum);
    const stored = votes.reduce((sum, { nodes }) => sum + nodes.length, 0);
    const winner = votes.find(({ nodes }) => nodes.length >= this.#quorum);
    if (winner === undefined) {
      const unheard = found.filter(({ status }) => status === 'unknown').length;
      if (stored >= this.#quorum) this.#add(key, 'unknown', votes);
      else if (stored + unheard >= this.#quorum)
        this.cut ??= this.#end - now() <= 0 ? 'time' : 'nodes';
      return;
    }
    const { value } = winner;
    if (value === READERS) this.#add(key, 'read', [winner]);
    else if (permit > 1 && permitOf(value) === permit) this.#add(name, 'semaphore', [winner]);
    else this.#add(key, 'mutex', [winner]);
  }

  #add(name, kind, votes) {
    const owners = votes.map(ownerAmong);
    const known = this.locked.get(name);
    if (known === undefined) {
      this.locked.set(name, { name, kind, owners });
    } else {
      known.kind = kind; // the first permit is one of a semaphore if there are others
      known.owners.push(...owners);
    }
  }
}

function byName(one, other) {
  if (one.name === other.name) return 0;
  return one.name < other.name ? -1 : 1;
}

/** What is stored, by value: on which nodes, and for how long by so many of them as decide. */
function votesOf(found, quorum) {
  const votes = new Map();
  for (const { status, value, node, remaining } of found) {
    if (status !== 'held') continue;
    if (!votes.has(value)) votes.set(value, []);
    votes.get(value).push({ node, remaining });
  }
  return [...votes].map(([value, of]) => {
    const lives = of.map(({ remaining }) => remaining).sort((one, other) => other - one);
    return {
      value,
      nodes: of.map(({ node }) => node),
      remaining: lives[Math.min(quorum, lives.length) - 1],
    };
  });
}

function ownerAmong({ value, nodes, remaining }) {
  const { owner, since } = ownerOf(value);
  return { owner, since, remaining, nodes };
}

module.exports = { list };

'use strict';

// A walk over the keys of all nodes, for those that may be locks. What it costs is bounded, whatever the nodes say:
// nodes are asked page by page (src/node/redis/scripts/scan.lua), each for a time, and of the keys only so many are kept.

const { OPERATION, OUTCOME, now } = require('./calls.js');
const { failure } = require('./failures.js');
const { literal, matcher } = require('./glob.js');
const { MAX: MAX_PERMITS, permitKey } = require('./permits.js');
const { PROBE_KEY } = require('./pool-proof.js');

/** A server looks at 200 keys for a page, or at fewer that are long. */
const MAX_PAGES = 50_000;

/** What the names may take that are found, in characters, and what each of them takes beside. */
const MAX_SIZE = 8 * 1024 * 1024;
const BESIDE = 64;

/** The longest name, and the longest end of the key of a permit. */
const MAX_NAME = 1024 + permitKey('', MAX_PERMITS).length;

/** For a page, in milliseconds. */
const PATIENCE = 2000;

class Walk {
  #client;
  #pattern;
  #matches;
  #end;
  #signal;
  #size = 0;
  #failures = ''; // as src/binding/outbox.rs tells them: a line for each node
  #failed = 0;

  /** On how many nodes each name was found; one that a node tells twice counts twice. @type {Map<string, number>} */
  found = new Map();

  /** Nodes of which it has seen all. */
  walked = 0;

  /** Why it has ended early. @type {'time' | 'size' | undefined} */
  cut = undefined;

  /**
   * @param {import('./client.js').Client} client
   * @param {string} pattern of names
   * @param {number} end on the engine's clock
   * @param {AbortSignal} [signal]
   */
  constructor(client, pattern, end, signal) {
    this.#client = client;
    this.#pattern = literal(client.keyPrefix) + pattern;
    this.#matches = matcher(pattern);
    this.#end = end;
    this.#signal = signal;
  }

  /**
   * Walks over all nodes at once.
   *
   * @param {number} quorum
   * @throws {import('..').FailedError} When fewer than a quorum can be asked.
   */
  async go(quorum) {
    const { nodes } = this.#client;
    await Promise.all(nodes.map((_, node) => this.#over(node)));
    if (nodes.length - this.#failed >= quorum) return;
    const outcome = { kind: OUTCOME.FAILED, number: 1, text: this.#failures };
    throw failure(OPERATION.SCAN, outcome, [], nodes);
  }

  async #over(node) {
    const client = this.#client;
    let from = '';
    for (let pages = 0; pages < MAX_PAGES; pages++) {
      const left = this.#end - now();
      if (left <= 0) this.cut ??= 'time';
      if (this.cut !== undefined) return;
      const timeout = Math.min(PATIENCE, left);
      const outcome = await client.scan(node, this.#pattern, from, timeout, this.#signal);
      if (outcome.kind === OUTCOME.FAILED) return this.#fail(outcome.text, pages > 0);
      if (outcome.kind !== OUTCOME.PAGE) throw failure(OPERATION.SCAN, outcome, [], client.nodes);
      from = outcome.text.slice(0, outcome.number);
      const keys = readKeys(outcome.text.slice(outcome.number));
      if (keys === undefined)
        return this.#fail(`${node}\terror\tEPROTO\tthe keys make no sense\n`, false);
      keys.forEach((key) => this.#find(key));
      if (from === '') {
        this.walked++;
        return;
      }
    }
    this.cut ??= 'size';
  }

  #fail(lines, hasAnswered) {
    if (hasAnswered && this.#end - now() <= 0) {
      this.cut ??= 'time'; // there was none left for an answer
      return;
    }
    this.#failures += lines;
    this.#failed++;
  }

  #find(key) {
    const { keyPrefix } = this.#client;
    // What a node says is looked at again: it may be anybody's pool, or know no patterns.
    if (!key.startsWith(keyPrefix)) return;
    const name = key.slice(keyPrefix.length);
    const isName =
      name.length > 0 &&
      Buffer.byteLength(name) <= MAX_NAME &&
      name.isWellFormed() &&
      this.#matches(name) &&
      !name.startsWith(PROBE_KEY);
    if (!isName || this.cut === 'size') return;
    const before = this.found.get(name);
    if (before === undefined) {
      this.#size += name.length + BESIDE;
      if (this.#size > MAX_SIZE) {
        this.cut = 'size';
        return;
      }
    }
    this.found.set(name, (before ?? 0) + 1);
  }
}

/** @returns {string[] | undefined} nothing for what is no page */
function readKeys(json) {
  try {
    const keys = JSON.parse(json);
    const isPage = Array.isArray(keys) && keys.every((key) => typeof key === 'string');
    return isPage ? keys : undefined;
  } catch {
    return undefined;
  }
}

module.exports = { Walk };

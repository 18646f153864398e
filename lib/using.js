'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');

const { enter, leave } = require('./calls.js');
const { DeadlockError } = require('./errors.js');
const { asyncDispose, heldResource } = require('./lock.js');
const { permitKey, permitOf } = require('./permits.js');
const { follow, throwIfAborted, unfollow } = require('./signals.js');

/** The innermost hold of the call chain that runs now. */
const chain = new AsyncLocalStorage();

/** How many there are: while there is none, nobody looks which call chain it is. */
let count = 0;

/**
 * A lock that using() holds, for its routine and for whoever shares it; the last of them releases it. What
 * the routine calls knows of the hold, as long as it lasts.
 */
class Hold {
  #client;
  #lock;
  #signal;
  #unfollow; // if there is another signal than that of the lock
  #outer = innermost();
  #users = 1;

  /**
   * @param {import('./client.js').Client} client that the lock is of
   * @param {import('..').Lock} lock
   * @param {AbortSignal} [signal] the caller's
   */
  constructor(client, lock, signal) {
    enter();
    client.holds.begin(); // also when the lock is lost: the routine is told, and ends
    this.#client = client;
    this.#lock = lock;
    [this.#signal, this.#unfollow] = either(signal, lock.signal);
    count++;
  }

  get isOver() {
    return this.#users === 0;
  }

  get outer() {
    return this.#outer;
  }

  /** What it holds now, unless that was released, lost or left to expire. */
  get held() {
    const resource = heldResource(this.#lock);
    if (resource === undefined) return undefined;
    const { keys, settings } = resource;
    const ofPermit = () => [permitKey(keys[0], permitOf(this.#lock.value))];
    return { hold: this, resource, keys: settings.permits === 1 ? keys : ofPermit() };
  }

  /** Calls the routine, and returns what it returns; then leave() is to be called. */
  run(routine) {
    return chain.run(this, routine, this.#signal, this.#lock);
  }

  /** Runs another routine beside or within the first. */
  async share(signal, routine) {
    throwIfAborted(signal);
    this.#users++;
    const [both, unfollow] = either(signal, this.#signal);
    try {
      return await routine(both, this.#lock);
    } finally {
      unfollow?.();
      await this.leave();
    }
  }

  /** @returns {Promise<void> | undefined} resolves when the lock is released, if it is on the last one to do it */
  leave() {
    this.#users--;
    if (this.#users > 0) return undefined;
    count--;
    // While anybody has a context, Node.js 20 and 22 look after every promise of the process.
    if (count === 0) chain.disable();
    this.#unfollow?.();
    const released = this.#lock[asyncDispose]();
    // From here on the call that releases it counts.
    this.#client.holds.end();
    leave();
    return released;
  }
}

/**
 * A signal that aborts when one of two does, and what ends that. (AbortSignal.any() of Node.js 20 lives for as
 * long as its sources.)
 *
 * @param {AbortSignal | undefined} signal
 * @param {AbortSignal} other
 * @returns {[AbortSignal, (() => void)?]}
 */
function either(signal, other) {
  if (signal === undefined) return [other];
  const controller = new AbortController();
  const abort = (reason) => controller.abort(reason);
  const sources = [signal, other];
  for (const source of sources) {
    if (source.aborted) abort(source.reason);
    else follow(source, abort);
  }
  const unfollowAll = () => {
    for (const source of sources) unfollow(source, abort);
  };
  return [controller.signal, unfollowAll];
}

/** Holds that are over are forgotten here: one that begins the next one, without end, makes no chain. */
function innermost() {
  let hold = count === 0 ? undefined : chain.getStore();
  while (hold?.isOver) hold = hold.outer;
  return hold;
}

/** What this call chain holds of a client, the innermost first. */
function heldOf(client) {
  const all = [];
  for (let hold = innermost(); hold !== undefined; hold = hold.outer) {
    const { held } = hold;
    if (held?.resource.client === client) all.push(held);
  }
  return all;
}

/**
 * The name that whoever holds all these would wait for, for ever. Permits of a semaphore that others hold come
 * back.
 */
function nameInTheWay(all, { names, keys, settings }) {
  const isReader = settings.mode === 'read';
  const others = all.filter(({ resource }) => !(isReader && resource.settings.mode === 'read'));
  const taken = new Set(others.flatMap((held) => held.keys));
  if (settings.permits === 1) return names.find((_, i) => taken.has(keys[i]));
  if (taken.size < settings.permits) return undefined;
  const permits = Array.from({ length: settings.permits }, (_, i) => permitKey(keys[0], i + 1));
  return permits.every((key) => taken.has(key)) ? names[0] : undefined;
}

/**
 * To be called before a call waits for a lock.
 *
 * @param {import('./resource.js').Resource} resource
 * @throws {DeadlockError} if it would wait for its own call chain
 */
function requireNoDeadlock(resource) {
  // One attempt waits for nobody.
  const { tries, wait } = resource.settings;
  if (count === 0 || tries === 1 || wait === 0) return;
  const all = heldOf(resource.client);
  const name = all.length === 0 ? undefined : nameInTheWay(all, resource);
  if (name === undefined) return;
  throw new DeadlockError(
    `lock ${JSON.stringify(name)}: the using() around this call holds it, and this call would wait ` +
      'for it for ever. Pass the lock on; or call using() with { reentrant: true }',
  );
}

/** Is whoever holds the one a holder of the other, too? */
function covers(held, { keys, settings }) {
  const own = held.resource.settings;
  if (own.mode === 'read' && settings.mode !== 'read') return false;
  if (settings.fencing && !own.fencing) return false;
  if (settings.permits === 1) return keys.every((key) => held.keys.includes(key));
  return own.permits > 1 && held.resource.keys[0] === keys[0];
}

/**
 * The hold that a reentrant call shares.
 *
 * @param {import('./resource.js').Resource} resource
 * @returns {Hold | undefined}
 */
function sharedHold(resource) {
  if (count === 0 || !resource.settings.reentrant) return undefined;
  return heldOf(resource.client).find((held) => covers(held, resource))?.hold;
}

/**
 * Runs the routine while the lock is held, then releases it; settles as the routine settles.
 *
 * @template T
 * @param {import('./client.js').Client} client that the lock is of
 * @param {import('..').Lock} lock
 * @param {AbortSignal | undefined} signal the caller's
 * @param {(signal: AbortSignal, lock: import('..').Lock) => T | Promise<T>} routine
 * @returns {Promise<T>}
 */
async function use(client, lock, signal, routine) {
  const hold = new Hold(client, lock, signal);
  try {
    return await hold.run(routine);
  } finally {
    await hold.leave();
  }
}

module.exports = { requireNoDeadlock, sharedHold, use };

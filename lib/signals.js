'use strict';

/**
 * Everybody who follows a signal, behind one listener: a signal that ends a whole service may be
 * given to any number of calls.
 * @type {WeakMap<AbortSignal, { followers: Set<(reason: unknown) => void>, listener: () => void }>}
 */
const followed = new WeakMap();

/**
 * Calls `abort` once when the signal aborts.
 *
 * @param {AbortSignal} signal
 * @param {(reason: unknown) => void} abort
 */
function follow(signal, abort) {
  let entry = followed.get(signal);
  if (entry === undefined) {
    const followers = new Set();
    const listener = () => {
      followed.delete(signal);
      for (const follower of followers) follower(signal.reason);
    };
    entry = { followers, listener };
    followed.set(signal, entry);
    signal.addEventListener('abort', listener, { once: true });
  }
  entry.followers.add(abort);
}

/** Takes `follow` back. */
function unfollow(signal, abort) {
  const entry = followed.get(signal);
  if (entry === undefined || !entry.followers.delete(abort) || entry.followers.size > 0) return;
  followed.delete(signal);
  signal.removeEventListener('abort', entry.listener);
}

/** As signal.throwIfAborted(), which a polyfill may lack. */
function throwIfAborted(signal) {
  if (signal?.aborted) throw signal.reason;
}

module.exports = { follow, unfollow, throwIfAborted };

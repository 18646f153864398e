'use strict';

// An object that refuses late writers, in a store that can compare no numbers but knows conditional writes,
// as S3 does: a PUT with If-Match succeeds only while the object is the one that was read. The server is a
// stand-in in this process unless OBJECT_STORE_URL is a bucket that takes requests without a signature.

const { startObjectStore } = require('./object-store.js');
const { LateError, play } = require('./late-writer.js');

/** Writes an object under a condition. Gives its ETag, undefined if the condition does not hold. */
async function put(url, object, condition) {
  const response = await fetch(url, {
    method: 'PUT',
    headers: condition,
    body: JSON.stringify(object),
  });
  if (response.status === 412) return undefined;
  if (!response.ok) throw new Error(`PUT was answered with ${response.status}`);
  return response.headers.get('etag');
}

/**
 * Reads as the holder with that token, which it leaves in the object: from then on the ETag of whoever read
 * earlier is out of date. The token is part of the content, since metadata do not change the ETag.
 */
async function claim(url, token) {
  for (;;) {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`GET was answered with ${response.status}`);
    const { balance, token: last } = await response.json();
    if (last > token) throw new LateError();
    const etag = await put(url, { balance, token }, { 'if-match': response.headers.get('etag') });
    if (etag) return { balance, etag };
    // Somebody has written since: a later holder, or an earlier one that this one is to refuse.
  }
}

async function deposit(redsync, url, halt) {
  const options = { expiry: 1000, tries: Infinity, fencing: true };
  return redsync.using('account:7', options, async (signal, { token }) => {
    const { balance, etag } = await claim(url, token);
    signal.throwIfAborted(); // the last look at the lock: what comes later only the store can see
    await halt(`reads ${balance}`);
    const next = { balance: balance + 10, token };
    if (!(await put(url, next, { 'if-match': etag }))) throw new LateError();
    return next.balance;
  });
}

async function openStore() {
  const server = process.env.OBJECT_STORE_URL ? undefined : await startObjectStore();
  const bucket = server?.url ?? process.env.OBJECT_STORE_URL;
  const url = `${bucket}/redsync-example-${process.pid}`;
  await put(url, { balance: 100, token: 0 }, { 'if-none-match': '*' });
  const remove = async () => {
    await fetch(url, { method: 'DELETE' });
    await server?.stop();
  };
  return { place: url, remove };
}

play(openStore, deposit);

'use strict';

const { setTimeout: delay } = require('node:timers/promises');

/** Waits until `condition()` is truthy and resolves with its value. */
async function until(condition, { timeout = 20_000 } = {}) {
  const deadline = Date.now() + timeout;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) {
      throw new Error(`waited ${timeout} ms in vain for: ${condition}`);
    }
    await delay(5);
  }
}

/**
 * Waits until `condition()` is true and has stayed true for `period`. For conditions that are
 * true before the code under test has done anything, such as "no key is left".
 */
async function untilSteady(condition, { period = 150, timeout } = {}) {
  let since;
  await until(
    async () => {
      if (!(await condition())) since = undefined;
      else since ??= Date.now();
      return since !== undefined && Date.now() - since >= period;
    },
    { timeout },
  );
}

/** What a promise rejected with, whatever its type; throws when it was fulfilled. */
async function rejection(promise) {
  const outcome = await promise.then(
    (value) => ({ value }),
    (reason) => ({ reason }),
  );
  if ('reason' in outcome) return outcome.reason;
  throw new Error(`expected a rejection, got ${String(outcome.value)}`);
}

/** Resolves with the reason when the signal aborts. */
function aborted(signal) {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason);
    else signal.addEventListener('abort', () => resolve(signal.reason), { once: true });
  });
}

/** How long `promise` took to settle, in milliseconds. */
async function elapsed(promise) {
  const start = performance.now();
  await promise.then(
    () => {},
    () => {},
  );
  return performance.now() - start;
}

module.exports = { aborted, delay, elapsed, rejection, until, untilSteady };

import type { Redsync } from '../index.js';

/**
 * Makes spans and metrics of OpenTelemetry of what a Redsync does, or of what all of them do. Call it when your SDK has
 * started, for a meter that was asked for before records nothing. It needs `@opentelemetry/api`.
 *
 * Each call of `lock()`, `tryLock()`, `acquire()` and the lock of `using()` is a span within the active one. Waiting and
 * holding are histograms in seconds, what is held and who waits up-down counters, extensions and losses counters;
 * docs/observability.md lists them with their attributes.
 *
 * @param redsync Default: every Redsync of the process, each from its first call on.
 * @returns A function that stops it. It may be called again, without effect.
 * @throws {TypeError} For anything but a Redsync, and if it is instrumented already.
 *
 * @example
 * const { instrument } = require('redsync/opentelemetry');
 *
 * sdk.start();
 * const stop = instrument();
 */
export function instrument(redsync?: Redsync): () => void;

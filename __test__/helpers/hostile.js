'use strict';

// Arguments that nobody should pass, and what must come of them: one clear error each, no crash, no
// hang, and no conversion of what was passed.

const fc = require('fast-check');

const native = require('../../native.js');
const { Redsync } = require('../../index.js');

/** Each call has this long, in milliseconds: far more than any deadline of the calls made here. */
const HANG = 60_000;

/** What a getter or a trap of ours throws. */
class Hostility extends Error {}

function hostility() {
  throw new Hostility('a trap');
}

/** Conversions to a string or a number behind the caller's back, and fields read a second time. */
let conversions = 0;

function convert() {
  conversions++;
  return '1';
}

const HUGE = 'x'.repeat(2 ** 20);
const PLAIN = [
  undefined,
  null,
  true,
  false,
  -1,
  -0,
  0,
  0.5,
  1,
  2,
  3,
  65_536,
  2 ** 31,
  2 ** 53,
  1e308,
  NaN,
  Infinity,
  -Infinity,
  10n,
  Symbol('s'),
  Symbol.iterator,
  '',
  '\0',
  '\ud800',
  'a\udc00b',
  HUGE,
  '__proto__',
  'constructor',
  'redis://',
  'redis://:@',
  'redis+sentinel://a,,b',
  'memory:',
  'memory:\ud800',
  'rediss://u:p@h:99999/x?y',
  () => 'x',
  async () => 1,
  hostility,
  class {},
  Object.prototype,
  Function.prototype,
];

/** Made anew for each call, for some remember what was done to them. */
const TRICKS = [
  () => ({ toString: convert, valueOf: convert, [Symbol.toPrimitive]: convert }),
  () => Object.assign(() => 1, { toString: convert, [Symbol.toPrimitive]: convert }),
  () => new Proxy({}, { get: hostility, has: hostility, ownKeys: hostility }),
  () => new Proxy([], { get: hostility }),
  () => new Proxy(() => {}, { apply: hostility, get: hostility }),
  () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  },
  () => {
    const { proxy, revoke } = Proxy.revocable([], {});
    revoke();
    return proxy;
  },
  () => {
    const self = {};
    self.self = self;
    return self;
  },
  () => Object.create(null),
  () => Object.freeze({ expiry: 100 }),
  () => new Date(),
  () => /x/,
  () => new Map([['expiry', 1]]),
  () => new Set(['a']),
  () => Buffer.from('a'),
  () => new Uint8Array(4),
  () => new SharedArrayBuffer(4),
  () => new String('a'),
  () => new Number(1),
  () => new Boolean(true),
  () => Object(Symbol('x')),
  () => new Array(2 ** 32 - 1),
  () => [, 'a'], // eslint-disable-line no-sparse-arrays
  () => ['a', 'a'],
  () => [[[['a']]]],
  () => new Error('x'),
  () => Promise.resolve('a'),
  () => Promise.resolve({}),
  () => ({ then: hostility }),
  () => ({ aborted: false, addEventListener: hostility }),
  () => ({
    aborted: true,
    addEventListener() {},
    get reason() {
      return hostility();
    },
  }),
  () => AbortSignal.abort(),
  () => AbortSignal.abort(new Hostility('aborted')),
  () => ({
    get url() {
      return hostility();
    },
  }),
  () => ({
    get(signal) {
      return signal;
    },
  }),
  () => ({
    host: 'h',
    get port() {
      return hostility();
    },
  }),
];

const KEYS = [
  'expiry',
  'tries',
  'retryDelay',
  'driftFactor',
  'timeoutFactor',
  'genValue',
  'value',
  'failFast',
  'shufflePools',
  'setNXOnExtend',
  'autoExtend',
  'signal',
  'timeout',
  'keyPrefix',
  'interval',
  'maxHold',
  'maxStall',
  'url',
  'host',
  'port',
  'path',
  'username',
  'password',
  'db',
  'tls',
  'cluster',
  'sentinels',
  'masterName',
  'connectTimeout',
  'clientName',
  'length',
  '__proto__',
  'constructor',
  'x',
];

const anyString = fc.oneof(
  fc.string({ unit: 'binary' }),
  // Any 16 bits, halves of pairs among them.
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 20 })
    .map((units) => String.fromCharCode(...units)),
);

/** Makes one value. */
const leaf = fc.oneof(
  fc.constantFrom(...PLAIN).map((value) => () => value),
  fc.constantFrom(...TRICKS),
  anyString.map((text) => () => text),
  fc
    .anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withNullPrototype: true,
      withTypedArray: true,
      maxDepth: 2,
    })
    .map((value) => () => value),
);

/** Ways to give the same fields. */
const WRAPS = [
  (fields) => fields,
  (fields) => fields,
  (fields) => Object.assign(Object.create(null), fields),
  (fields) => Object.create(fields),
  (fields) => Object.freeze(fields),
  (fields) => [fields],
  (fields) => new Proxy(fields, {}),
  // Says something else each time it is asked.
  (fields) => {
    let reads = 0;
    return new Proxy(fields, { get: (of, key) => (reads++ % 2 === 0 ? of[key] : 1) });
  },
  (fields) => new Proxy(fields, { ownKeys: () => ['expiry', 'expiry'] }),
  (fields) => new Proxy(fields, { getOwnPropertyDescriptor: hostility }),
  (fields) => {
    for (const key of Object.keys(fields)) Object.defineProperty(fields, key, { get: hostility });
    return fields;
  },
  (fields) => {
    for (const [key, value] of Object.entries(fields)) {
      let reads = 0;
      Object.defineProperty(fields, key, { get: () => (reads++ === 0 ? value : convert()) });
    }
    return fields;
  },
];

const options = fc
  .tuple(
    fc.array(fc.tuple(fc.constantFrom(...KEYS), leaf), { maxLength: 4 }),
    fc.constantFrom(...WRAPS),
  )
  .map(([fields, wrap]) => () => {
    const object = {};
    for (const [key, make] of fields) {
      const value = make();
      // "For ever" is a valid number of attempts, and not one to wait for.
      if (key === 'tries' && typeof value === 'number' && value > 3) continue;
      Object.defineProperty(object, key, { value, enumerable: true, configurable: true });
    }
    return wrap(object);
  });

const argument = fc.oneof(
  leaf,
  options,
  fc.constantFrom('a', 'b').map((name) => () => name),
);

const METHODS = [
  'construct',
  'newMutex',
  'acquire',
  'using',
  'ready',
  'health',
  'lock',
  'tryLock',
  'unlock',
  'extend',
  'valid',
  'held.extend',
  'held.unlock',
  'native',
];

const call = fc.record({
  method: fc.constantFrom(...METHODS),
  makes: fc.array(argument, { maxLength: 3 }),
  polluted: fc.oneof(
    { weight: 4, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.tuple(fc.constantFrom(...KEYS.slice(0, 24)), leaf) },
  ),
});

/** Does it with one more property on every object. */
function withPollution(polluted, act) {
  if (polluted === undefined) return act();
  const [key, make] = polluted;
  const value = make();
  Object.defineProperty(Object.prototype, key, { value, configurable: true, writable: true });
  try {
    return act();
  } finally {
    delete Object.prototype[key];
  }
}

function isEndless(value) {
  try {
    return Array.isArray(value) && value.length > 1000;
  } catch {
    return true; // a proxy that does not say
  }
}

/** The objects under attack, in this process. */
class Target {
  #engine = new native.Engine(() => {});
  #opened = [];

  constructor() {
    this.redsync = new Redsync(['memory:', 'memory:', 'memory:'], { tries: 1, expiry: 1000 });
    this.mutex = this.redsync.newMutex('the attacked');
  }

  async perform(method, args) {
    switch (method) {
      case 'construct': {
        const redsync = new Redsync(...args);
        this.#opened.push(redsync);
        return;
      }
      case 'native':
        return this.#native(args);
      case 'lock':
      case 'tryLock':
      case 'unlock':
      case 'extend':
      case 'valid':
        return this.mutex[method](...args);
      case 'held.extend':
      case 'held.unlock': {
        const lock = await this.redsync.newMutex('held', { value: undefined }).tryLock();
        if (lock === null) return;
        try {
          return await lock[method.slice(5)](...args);
        } finally {
          await lock.unlock().catch(() => {});
        }
      }
      default:
        return this.redsync[method](...args);
    }
  }

  /** The addon itself, which package.json exports to nobody, without the facade before it. */
  #native(args) {
    // napi-rs makes room for an array of any length before it looks into it.
    if (args.some(isEndless)) return;
    const acts = [
      () => new native.Engine(...args),
      () => this.#engine.open(...args),
      () => this.#engine.until(...args),
      () => this.#engine.drain(...args),
      // Records that are well-formed are the facade's business.
      () => this.#engine.submit(args[0] instanceof Float64Array ? null : args[0], args[1], args[2]),
      () => native.now(...args),
    ];
    for (const act of acts) {
      try {
        act();
      } catch (error) {
        if (!(error instanceof Error)) throw error;
      }
    }
  }

  async settle() {
    await Promise.all(this.#opened.splice(0).map((redsync) => redsync.close()));
  }

  async close() {
    await this.settle();
    await this.redsync.close();
  }
}

/** Whether an error is one that a caller can make sense of. */
function isClear(error) {
  if (error instanceof Hostility) return true; // the caller's own
  if (!(error instanceof Error)) return true; // the reason of the caller's signal
  if (typeof error.code === 'string' && error.code.startsWith('ERR_')) return true;
  if (error.name === 'AbortError') return true;
  // What the language itself says of a proxy that is revoked or lies, or a function that is a class.
  return error instanceof TypeError && /revoked|on proxy|Class constructor/.test(error.message);
}

async function perform(target, { method, makes, polluted }) {
  const args = makes.map((make) => make());
  let timer;
  const hangs = new Promise((_, reject) => {
    timer = setTimeout(reject, HANG, new Error(`${method} hangs`));
  });
  try {
    const outcome = withPollution(polluted, () => target.perform(method, args));
    const value = await Promise.race([outcome, hangs]);
    if (typeof value?.unlock === 'function' && value !== target.mutex) {
      await value.unlock().catch(() => {});
    }
    return 'accepted';
  } catch (error) {
    if (isClear(error)) return 'refused';
    throw new Error(`${method}: not a clear error: ${error.stack}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Makes that many hostile calls; throws, with the seed and the smallest example, for one that did
 * not end as it should.
 *
 * @returns {Promise<{ accepted: number, refused: number }>}
 */
async function attack(count, { seed, onProgress = () => {} } = {}) {
  const target = new Target();
  const counts = { accepted: 0, refused: 0 };
  const property = fc.asyncProperty(
    fc.array(call, { minLength: 10, maxLength: 10 }),
    async (calls) => {
      conversions = 0;
      for (const each of calls) {
        counts[await perform(target, each)]++;
        if (conversions > 0) throw new Error(`${each.method} has converted an argument`);
      }
      await target.settle();
      onProgress(counts.accepted + counts.refused);
    },
  );
  try {
    await fc.assert(property, { numRuns: Math.ceil(count / 10), seed, includeErrorInReport: true });
  } finally {
    await target.close();
  }
  return counts;
}

module.exports = { attack, withPollution };

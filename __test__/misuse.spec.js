'use strict';

// What people do wrong, and what they are told: each message as they see it. It names the argument, what was given and
// what was expected, or what to write instead.

const Redis = require('ioredis');
const { createClient } = require('redis');
const test = require('ava');

const { Mutex, Redsync } = require('../index.js');
const glide = require('../lib/adapters/valkey-glide.js');
const ioredis = require('../lib/adapters/ioredis.js');
const iovalkey = require('../lib/adapters/iovalkey.js');
const nodeRedis = require('../lib/adapters/node-redis.js');

const TYPE = 'ERR_INVALID_ARG_TYPE';
const RANGE = 'ERR_OUT_OF_RANGE';

const OF_A_MUTEX =
  'expiry, tries, wait, retryDelay, driftFactor, timeoutFactor, genValue, value, failFast, shufflePools, setNXOnExtend, autoExtend, fencing, permits, mode, holdAtLeast, reentrant';
const OF_A_NODE =
  'url, host, port, path, username, password, db, tls, sentinels, masterName, sentinelUsername, sentinelPassword, cluster, connectTimeout, clientName';
const URLS =
  'redis:, rediss:, redis+unix:, redis+sentinel:, rediss+sentinel:, redis+cluster:, rediss+cluster: or memory: URL, such as redis://localhost:6379';
const OPTIONS = 'an object with options, such as { expiry: 5000 }';
const OPTIONS_OF_A_REDSYNC =
  "an object with options, such as { keyPrefix: 'lock:' } (several nodes are an array: new Redsync([url, url]))";
const SIGNAL = 'an object with signal (how long a lock lasts is the expiry of its mutex)';
const NAMES = 'a string or a non-empty array of at most 64 strings';

// the call, its code, its message
const MISUSES = [
  // --- mutex options: types
  [
    ({ redsync }) => redsync.newMutex('job', { expiry: '5000' }),
    TYPE,
    'The "options.expiry" argument must be an integer from 1 to 86400000. Received type string ("5000")',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { expiry: null }),
    TYPE,
    'The "options.expiry" argument must be an integer from 1 to 86400000. Received null',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { expiry: true }),
    TYPE,
    'The "options.expiry" argument must be an integer from 1 to 86400000. Received type boolean (true)',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { expiry: 5000n }),
    TYPE,
    'The "options.expiry" argument must be an integer from 1 to 86400000. Received type bigint (5000n)',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { expiry: [5000] }),
    TYPE,
    'The "options.expiry" argument must be an integer from 1 to 86400000. Received an array',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { expiry: new Date(5000) }),
    TYPE,
    'The "options.expiry" argument must be an integer from 1 to 86400000. Received an object',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { expiry: '30s' }),
    TYPE,
    'The "options.expiry" argument must be an integer from 1 to 86400000. Received type string ("30s")',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { tries: '3' }),
    TYPE,
    'The "options.tries" argument must be an integer from 1 to 9007199254740991, or Infinity. Received type string ("3")',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { tries: null }),
    TYPE,
    'The "options.tries" argument must be an integer from 1 to 9007199254740991, or Infinity. Received null',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { wait: '1000' }),
    TYPE,
    'The "options.wait" argument must be an integer from 0 to 86400000, or Infinity. Received type string ("1000")',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { wait: false }),
    TYPE,
    'The "options.wait" argument must be an integer from 0 to 86400000, or Infinity. Received type boolean (false)',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { retryDelay: '200' }),
    TYPE,
    'The "options.retryDelay" argument must be an integer from 1 to 86400000, or a function. Received type string ("200")',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { retryDelay: [100, 200] }),
    TYPE,
    'The "options.retryDelay" argument must be an integer from 1 to 86400000, or a function. Received an array',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { driftFactor: '0.01' }),
    TYPE,
    'The "options.driftFactor" argument must be a number greater than 0 and less than 1. Received type string ("0.01")',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { timeoutFactor: '5%' }),
    TYPE,
    'The "options.timeoutFactor" argument must be a number greater than 0 and less than 1. Received type string ("5%")',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { genValue: 'me' }),
    TYPE,
    'The "options.genValue" argument must be a function. Received type string ("me")',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { value: 42 }),
    TYPE,
    'The "options.value" argument must be a well-formed string of 1 to 16384 bytes of UTF-8. Received a number',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { value: Buffer.from('me') }),
    TYPE,
    'The "options.value" argument must be a well-formed string of 1 to 16384 bytes of UTF-8. Received an object',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { failFast: 1 }),
    TYPE,
    'The "options.failFast" argument must be a boolean. Received type number (1)',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { failFast: 'false' }),
    TYPE,
    'The "options.failFast" argument must be a boolean. Received type string ("false")',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { shufflePools: 'yes' }),
    TYPE,
    'The "options.shufflePools" argument must be a boolean. Received type string ("yes")',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { setNXOnExtend: 0 }),
    TYPE,
    'The "options.setNXOnExtend" argument must be a boolean. Received type number (0)',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { autoExtend: 2000 }),
    TYPE,
    'The "options.autoExtend" argument must be a boolean or an object. Received type number (2000)',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { autoExtend: 'true' }),
    TYPE,
    'The "options.autoExtend" argument must be a boolean or an object. Received type string ("true")',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { autoExtend: null }),
    TYPE,
    'The "options.autoExtend" argument must be a boolean or an object. Received null',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { autoExtend: { interval: '2000' } }),
    TYPE,
    'The "options.autoExtend.interval" argument must be an integer from 1 to 86400000. Received type string ("2000")',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { autoExtend: { maxHold: '1h' } }),
    TYPE,
    'The "options.autoExtend.maxHold" argument must be an integer from 1 to 9007199254740991, or Infinity. Received type string ("1h")',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { autoExtend: { maxStall: null } }),
    TYPE,
    'The "options.autoExtend.maxStall" argument must be an integer from 1 to 9007199254740991, or Infinity. Received null',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { fencing: 1 }),
    TYPE,
    'The "options.fencing" argument must be a boolean. Received type number (1)',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { permits: '3' }),
    TYPE,
    'The "options.permits" argument must be an integer from 1 to 1000. Received type string ("3")',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { mode: true }),
    TYPE,
    'The "options.mode" argument must be "read" or "write". Received type boolean (true)',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { reentrant: 'yes' }),
    TYPE,
    'The "options.reentrant" argument must be a boolean. Received type string ("yes")',
  ],

  // --- mutex options: ranges
  [
    ({ redsync }) => redsync.newMutex('job', { expiry: NaN }),
    RANGE,
    'The "options.expiry" argument must be an integer from 1 to 86400000. Received NaN',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { expiry: 0 }),
    RANGE,
    'The "options.expiry" argument must be an integer from 1 to 86400000. Received 0',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { expiry: -1 }),
    RANGE,
    'The "options.expiry" argument must be an integer from 1 to 86400000. Received -1',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { expiry: 1500.5 }),
    RANGE,
    'The "options.expiry" argument must be an integer from 1 to 86400000. Received 1500.5',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { expiry: Infinity }),
    RANGE,
    'The "options.expiry" argument must be an integer from 1 to 86400000. Received Infinity',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { expiry: 86_400_001 }),
    RANGE,
    'The "options.expiry" argument must be an integer from 1 to 86400000. Received 86400001',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { expiry: 2 }),
    RANGE,
    'The "options.expiry" argument must be long enough for driftFactor 0.01, timeoutFactor 0.05 and 2 ms to leave some validity. Received 2',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { tries: 0 }),
    RANGE,
    'The "options.tries" argument must be an integer from 1 to 9007199254740991, or Infinity. Received 0',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { tries: -1 }),
    RANGE,
    'The "options.tries" argument must be an integer from 1 to 9007199254740991, or Infinity. Received -1',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { tries: 1.5 }),
    RANGE,
    'The "options.tries" argument must be an integer from 1 to 9007199254740991, or Infinity. Received 1.5',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { tries: NaN }),
    RANGE,
    'The "options.tries" argument must be an integer from 1 to 9007199254740991, or Infinity. Received NaN',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { wait: -1 }),
    RANGE,
    'The "options.wait" argument must be an integer from 0 to 86400000, or Infinity. Received -1',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { wait: NaN }),
    RANGE,
    'The "options.wait" argument must be an integer from 0 to 86400000, or Infinity. Received NaN',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { wait: 0.5 }),
    RANGE,
    'The "options.wait" argument must be an integer from 0 to 86400000, or Infinity. Received 0.5',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { retryDelay: 0 }),
    RANGE,
    'The "options.retryDelay" argument must be an integer from 1 to 86400000, or a function. Received 0',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { retryDelay: -200 }),
    RANGE,
    'The "options.retryDelay" argument must be an integer from 1 to 86400000, or a function. Received -200',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { retryDelay: Infinity }),
    RANGE,
    'The "options.retryDelay" argument must be an integer from 1 to 86400000, or a function. Received Infinity',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { driftFactor: 0 }),
    RANGE,
    'The "options.driftFactor" argument must be a number greater than 0 and less than 1. Received 0',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { driftFactor: 1 }),
    RANGE,
    'The "options.driftFactor" argument must be a number greater than 0 and less than 1. Received 1',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { driftFactor: NaN }),
    RANGE,
    'The "options.driftFactor" argument must be a number greater than 0 and less than 1. Received NaN',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { timeoutFactor: 5 }),
    RANGE,
    'The "options.timeoutFactor" argument must be a number greater than 0 and less than 1. Received 5',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { timeoutFactor: -0.1 }),
    RANGE,
    'The "options.timeoutFactor" argument must be a number greater than 0 and less than 1. Received -0.1',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { driftFactor: 0.6, timeoutFactor: 0.5 }),
    RANGE,
    'The "options.expiry" argument must be long enough for driftFactor 0.6, timeoutFactor 0.5 and 2 ms to leave some validity. Received 8000',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { value: '' }),
    RANGE,
    'The "options.value" argument must be a well-formed string of 1 to 16384 bytes of UTF-8. Received an empty string',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { value: '#readers' }),
    RANGE,
    'The "options.value" argument must be the value of one holder, and not "#readers" of all who read. Received "#readers"',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { value: 'x'.repeat(16_385) }),
    RANGE,
    'The "options.value" argument must be a well-formed string of 1 to 16384 bytes of UTF-8. Received a string',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { autoExtend: { interval: 8000 } }),
    RANGE,
    'The "options.autoExtend.interval" argument must be shorter than the validity of 7518 ms. Received 8000',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { autoExtend: { interval: 0 } }),
    RANGE,
    'The "options.autoExtend.interval" argument must be an integer from 1 to 86400000. Received 0',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { autoExtend: { maxHold: 0 } }),
    RANGE,
    'The "options.autoExtend.maxHold" argument must be an integer from 1 to 9007199254740991, or Infinity. Received 0',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { autoExtend: { maxStall: 1.5 } }),
    RANGE,
    'The "options.autoExtend.maxStall" argument must be an integer from 1 to 9007199254740991, or Infinity. Received 1.5',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { permits: 0 }),
    RANGE,
    'The "options.permits" argument must be an integer from 1 to 1000. Received 0',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { permits: 1001 }),
    RANGE,
    'The "options.permits" argument must be an integer from 1 to 1000. Received 1001',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { permits: 2.5 }),
    RANGE,
    'The "options.permits" argument must be an integer from 1 to 1000. Received 2.5',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { permits: NaN }),
    RANGE,
    'The "options.permits" argument must be an integer from 1 to 1000. Received NaN',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { mode: 'r' }),
    RANGE,
    'The "options.mode" argument must be "read" or "write". Received "r"',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { mode: 'WRITE' }),
    RANGE,
    'The "options.mode" argument must be "read" or "write". Received "WRITE"',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { mode: 'shared' }),
    RANGE,
    'The "options.mode" argument must be "read" or "write". Received "shared"',
  ],

  // --- unknown options
  [
    ({ redsync }) => redsync.newMutex('job', { ttl: 5000 }),
    TYPE,
    `The "options" argument has an unknown option "ttl". Did you mean "expiry"? Known: ${OF_A_MUTEX}`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { retryCount: 3 }),
    TYPE,
    `The "options" argument has an unknown option "retryCount". Did you mean "tries"? Known: ${OF_A_MUTEX}`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { timeout: 1000 }),
    TYPE,
    `The "options" argument has an unknown option "timeout". Did you mean "wait" or "signal" of lock()? Known: ${OF_A_MUTEX}`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { retries: 3 }),
    TYPE,
    `The "options" argument has an unknown option "retries". Did you mean "tries"? Known: ${OF_A_MUTEX}`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { leaseTime: 5000 }),
    TYPE,
    `The "options" argument has an unknown option "leaseTime". Did you mean "expiry"? Known: ${OF_A_MUTEX}`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { exipry: 5000 }),
    TYPE,
    `The "options" argument has an unknown option "exipry". Did you mean "expiry"? Known: ${OF_A_MUTEX}`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { Expiry: 5000 }),
    TYPE,
    `The "options" argument has an unknown option "Expiry". Did you mean "expiry"? Known: ${OF_A_MUTEX}`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { retryJitter: 50 }),
    TYPE,
    `The "options" argument has an unknown option "retryJitter". Did you mean "retryDelay"? Known: ${OF_A_MUTEX}`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { automaticExtensionThreshold: 500 }),
    TYPE,
    `The "options" argument has an unknown option "automaticExtensionThreshold". Did you mean "autoExtend"? Known: ${OF_A_MUTEX}`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { identifier: 'me' }),
    TYPE,
    `The "options" argument has an unknown option "identifier". Did you mean "value"? Known: ${OF_A_MUTEX}`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { limit: 3 }),
    TYPE,
    `The "options" argument has an unknown option "limit". Did you mean "permits"? Known: ${OF_A_MUTEX}`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { shared: true }),
    TYPE,
    `The "options" argument has an unknown option "shared". Did you mean "mode"? Known: ${OF_A_MUTEX}`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { keyPrefix: 'lock:' }),
    TYPE,
    `The "options" argument has an unknown option "keyPrefix". Did you mean "keyPrefix" of new Redsync()? Known: ${OF_A_MUTEX}`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { owner: 'me' }),
    TYPE,
    `The "options" argument has an unknown option "owner". Did you mean "owner" of new Redsync()? Known: ${OF_A_MUTEX}`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { quarantine: true }),
    TYPE,
    `The "options" argument has an unknown option "quarantine". Did you mean "quarantine" of new Redsync()? Known: ${OF_A_MUTEX}`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { signal: AbortSignal.timeout(1) }),
    TYPE,
    `The "options" argument has an unknown option "signal". Did you mean "signal" of lock()? Known: ${OF_A_MUTEX}`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { nonsense: 1 }),
    TYPE,
    `The "options" argument has an unknown option "nonsense". Known: ${OF_A_MUTEX}`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { autoExtend: { every: 1000 } }),
    TYPE,
    'The "options.autoExtend" argument has an unknown option "every". Known: interval, maxHold, maxStall',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { autoExtend: { maxhold: 1000 } }),
    TYPE,
    'The "options.autoExtend" argument has an unknown option "maxhold". Did you mean "maxHold"? Known: interval, maxHold, maxStall',
  ],
  [
    ({ redsync }) => redsync.acquire('job', { ttl: 5000 }),
    TYPE,
    `The "options" argument has an unknown option "ttl". Did you mean "expiry"? Known: ${OF_A_MUTEX}, signal`,
  ],
  [
    ({ redsync }) => redsync.acquire('job', { timeout: 1000 }),
    TYPE,
    `The "options" argument has an unknown option "timeout". Did you mean "signal" or "wait"? Known: ${OF_A_MUTEX}, signal`,
  ],
  [
    () => new Redsync('memory:', { prefix: 'lock:' }),
    TYPE,
    `The "options" argument has an unknown option "prefix". Did you mean "keyPrefix"? Known: ${OF_A_MUTEX}, keyPrefix, owner, quarantine`,
  ],
  [
    () => new Redsync('memory:', { retryCount: 3 }),
    TYPE,
    `The "options" argument has an unknown option "retryCount". Did you mean "tries"? Known: ${OF_A_MUTEX}, keyPrefix, owner, quarantine`,
  ],
  [
    () => new Redsync('memory:', { signal: AbortSignal.timeout(1) }),
    TYPE,
    `The "options" argument has an unknown option "signal". Did you mean "signal" of lock()? Known: ${OF_A_MUTEX}, keyPrefix, owner, quarantine`,
  ],
  [
    () => new Redsync('memory:', { timeout: 1000 }),
    TYPE,
    `The "options" argument has an unknown option "timeout". Did you mean "wait" or "signal" of lock()? Known: ${OF_A_MUTEX}, keyPrefix, owner, quarantine`,
  ],
  [
    () => new Redsync('memory:', { host: 'localhost' }),
    TYPE,
    `The "options" argument has an unknown option "host". Known: ${OF_A_MUTEX}, keyPrefix, owner, quarantine`,
  ],

  // --- the options themselves
  [
    ({ redsync }) => redsync.newMutex('job', 5000),
    TYPE,
    `The "options" argument must be ${OPTIONS}. Received type number (5000)`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', 'job'),
    TYPE,
    `The "options" argument must be ${OPTIONS}. Received type string ("job")`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', null),
    TYPE,
    `The "options" argument must be ${OPTIONS}. Received null`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', [5000]),
    TYPE,
    `The "options" argument must be ${OPTIONS}. Received an array`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', () => 5000),
    TYPE,
    `The "options" argument must be ${OPTIONS}. Received a function`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job', AbortSignal.timeout(1)),
    TYPE,
    `The "options" argument must be ${OPTIONS}. Received an AbortSignal`,
  ],
  [
    ({ redsync }) => redsync.acquire('job', 5000),
    TYPE,
    `The "options" argument must be ${OPTIONS}. Received type number (5000)`,
  ],
  [
    ({ redsync }) => redsync.acquire('job', AbortSignal.timeout(1)),
    TYPE,
    `The "options" argument must be ${OPTIONS}. Received an AbortSignal`,
  ],
  [
    ({ redsync }) => redsync.using('job', 5000, () => {}),
    TYPE,
    `The "options" argument must be ${OPTIONS}. Received type number (5000)`,
  ],
  [
    ({ redsync }) => redsync.using('job', AbortSignal.timeout(1), () => {}),
    TYPE,
    `The "options" argument must be ${OPTIONS}. Received an AbortSignal`,
  ],
  [
    ({ mutex }) => mutex.lock(5000),
    TYPE,
    `The "options" argument must be ${SIGNAL}. Received type number (5000)`,
  ],
  [
    ({ mutex }) => mutex.lock(AbortSignal.timeout(1)),
    TYPE,
    `The "options" argument must be ${SIGNAL}. Received an AbortSignal`,
  ],
  [
    ({ mutex }) => mutex.lock({ signal: AbortSignal }),
    TYPE,
    'The "options.signal" argument must be an AbortSignal. Received a function',
  ],
  [
    ({ mutex }) => mutex.lock({ signal: new AbortController() }),
    TYPE,
    'The "options.signal" argument must be an AbortSignal, not its AbortController: give its signal',
  ],
  [
    ({ mutex }) => mutex.lock({ signal: 1000 }),
    TYPE,
    'The "options.signal" argument must be an AbortSignal. Received type number (1000)',
  ],
  [
    ({ mutex }) => mutex.lock({ timeout: 1000 }),
    TYPE,
    'The "options" argument has an unknown option "timeout". Did you mean "signal" or "wait" of newMutex()? Known: signal',
  ],
  [
    ({ mutex }) => mutex.lock({ expiry: 1000 }),
    TYPE,
    'The "options" argument has an unknown option "expiry". Did you mean "expiry" of newMutex()? Known: signal',
  ],
  [
    ({ mutex }) => mutex.tryLock({ wait: 1000 }),
    TYPE,
    'The "options" argument has an unknown option "wait". Did you mean "wait" of newMutex()? Known: signal',
  ],
  [
    ({ mutex }) => mutex.tryLock('job'),
    TYPE,
    `The "options" argument must be ${SIGNAL}. Received type string ("job")`,
  ],
  [
    ({ lock }) => lock.extend(5000),
    TYPE,
    `The "options" argument must be ${SIGNAL}. Received type number (5000)`,
  ],
  [
    ({ lock }) => lock.extend({ expiry: 5000 }),
    TYPE,
    'The "options" argument has an unknown option "expiry". Did you mean "expiry" of newMutex()? Known: signal',
  ],
  [
    ({ lock }) => lock.unlock(true),
    TYPE,
    `The "options" argument must be ${SIGNAL}. Received type boolean (true)`,
  ],
  [
    ({ lock }) => lock.unlock({ force: true }),
    TYPE,
    'The "options" argument has an unknown option "force". Known: signal',
  ],
  [
    ({ mutex }) => mutex.valid('value'),
    TYPE,
    `The "options" argument must be ${SIGNAL}. Received type string ("value")`,
  ],

  // --- names
  [
    ({ redsync }) => redsync.newMutex(),
    TYPE,
    `The "name" argument must be ${NAMES}. Received undefined`,
  ],
  [
    ({ redsync }) => redsync.newMutex(''),
    RANGE,
    'The "name" argument must be a well-formed string of 1 to 1024 bytes of UTF-8. Received ""',
  ],
  [
    ({ redsync }) => redsync.newMutex(null),
    TYPE,
    `The "name" argument must be ${NAMES}. Received null`,
  ],
  [
    ({ redsync }) => redsync.newMutex(42),
    TYPE,
    `The "name" argument must be ${NAMES}. Received type number (42)`,
  ],
  [
    ({ redsync }) => redsync.newMutex({ name: 'job' }),
    TYPE,
    `The "name" argument must be ${NAMES}. Received an object`,
  ],
  [
    ({ redsync }) => redsync.newMutex(Symbol('job')),
    TYPE,
    `The "name" argument must be ${NAMES}. Received a symbol`,
  ],
  [
    ({ redsync }) => redsync.newMutex([]),
    RANGE,
    `The "name" argument must be ${NAMES}. Received an array of 0`,
  ],
  [
    ({ redsync }) => redsync.newMutex(['job', '']),
    RANGE,
    'The "name[1]" argument must be a well-formed string of 1 to 1024 bytes of UTF-8. Received ""',
  ],
  [
    ({ redsync }) => redsync.newMutex(['job', 42]),
    TYPE,
    'The "name[1]" argument must be a well-formed string of 1 to 1024 bytes of UTF-8. Received type number (42)',
  ],
  [
    ({ redsync }) => redsync.newMutex(['job', 'job']),
    RANGE,
    'The "name[1]" argument must be different from the names before it. Received "job"',
  ],
  [
    ({ redsync }) => redsync.newMutex([['job']]),
    TYPE,
    'The "name[0]" argument must be a well-formed string of 1 to 1024 bytes of UTF-8. Received an array',
  ],
  [
    ({ redsync }) => redsync.newMutex(Array.from({ length: 65 }, (_, i) => `${i}`)),
    RANGE,
    `The "name" argument must be ${NAMES}. Received an array of 65`,
  ],
  [
    ({ redsync }) => redsync.newMutex(new Set(['job'])),
    TYPE,
    `The "name" argument must be ${NAMES}. Received an object`,
  ],
  [
    ({ redsync }) => redsync.newMutex('x'.repeat(1025)),
    RANGE,
    'The "name" argument must be a well-formed string of 1 to 1024 bytes of UTF-8. Received "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"...',
  ],
  [
    ({ redsync }) => redsync.newMutex('half \ud800'),
    RANGE,
    'The "name" argument must be a well-formed string of 1 to 1024 bytes of UTF-8. Received "half \\ud800"',
  ],
  [
    ({ redsync }) => redsync.newMutex({ expiry: 5000 }, 'job'),
    TYPE,
    `The "name" argument must be ${NAMES}. Received an object`,
  ],
  [
    ({ redsync }) => redsync.acquire(),
    TYPE,
    `The "name" argument must be ${NAMES}. Received undefined`,
  ],
  [
    ({ redsync }) => redsync.using(),
    TYPE,
    `The "name" argument must be ${NAMES}. Received undefined`,
  ],
  [
    ({ redsync }) => redsync.inspect(['job']),
    TYPE,
    'The "name" argument must be a well-formed string of 1 to 1024 bytes of UTF-8. Received an array',
  ],
  [
    ({ redsync }) => redsync.inspect(),
    TYPE,
    'The "name" argument must be a well-formed string of 1 to 1024 bytes of UTF-8. Received undefined',
  ],

  // --- combinations
  [
    ({ redsync }) => redsync.newMutex('job', { fencing: true, setNXOnExtend: true }),
    TYPE,
    'The "options.fencing" argument must not be true with setNXOnExtend: what an extension stores again no node has granted to its token',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { fencing: true, permits: 2 }),
    TYPE,
    'The "options.fencing" argument must not be true with permits: several hold it at once, so no token of one is the last',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { fencing: true, mode: 'read' }),
    TYPE,
    'The "options.fencing" argument must not be true with mode "read": several hold it at once, so no token of one is the last. It goes with mode "write"',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { permits: 2, mode: 'write' }),
    TYPE,
    'The "options.permits" argument must not be greater than 1 with a mode: any number may read at once, and one alone may write',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { setNXOnExtend: true, mode: 'read' }),
    TYPE,
    'The "options.setNXOnExtend" argument must not be true with mode "read": a reader that is stored again would get in before a writer who waits',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { permits: 3, value: 'me#p=4' }),
    RANGE,
    'The "options.value" argument must be of one of the 3 permits that the mutex has. It is of another',
  ],
  [
    ({ redsync }) => redsync.newMutex(['job', 'other'], { permits: 2 }),
    TYPE,
    'The "name" argument must be one name with permits: whoever holds it has one permit, and each name would have its own',
  ],
  [
    ({ redsync }) => redsync.newMutex(['job', 'other'], { mode: 'read' }),
    TYPE,
    'The "name" argument must be one name with a mode: a node keeps readers and a waiting writer beside each name by itself',
  ],
  [
    ({ redsync }) => redsync.newMutex(['job', 'job:fence'], { fencing: true }),
    TYPE,
    'The "name" argument must not have "job:fence" with fencing: the last token of another of its names is kept there',
  ],
  [
    () => new Redsync('memory:', { fencing: true, setNXOnExtend: true }),
    TYPE,
    'The "options.fencing" argument must not be true with setNXOnExtend: what an extension stores again no node has granted to its token',
  ],
  [
    () => new Redsync('memory:', { fencing: true }).newMutex('job', { permits: 2 }),
    TYPE,
    'The "options.fencing" argument must not be true with permits: several hold it at once, so no token of one is the last',
  ],
  [
    () => new Redsync('redis+cluster://127.0.0.1:1').newMutex(['job', 'other']),
    TYPE,
    'The "name" argument must be names of one slot, since a node is a Redis Cluster: "job" and "other" are in different ones. A common tag puts them together: "{tag}job", "{tag}other"',
  ],
  [
    () => new Redsync('redis+cluster://127.0.0.1:1').newMutex('a}b', { fencing: true }),
    TYPE,
    'The "name" argument must have no "}", or a tag, with fencing or a mode on a Redis Cluster: "a}b" has no slot that another key can be put in',
  ],
  [
    ({ redsync }) => redsync.newSemaphore('job'),
    TYPE,
    'The "limit" argument must be an integer from 1 to 1000. Received undefined',
  ],
  [
    ({ redsync }) => redsync.newSemaphore('job', '3'),
    TYPE,
    'The "limit" argument must be an integer from 1 to 1000. Received type string ("3")',
  ],
  [
    ({ redsync }) => redsync.newSemaphore('job', 0),
    RANGE,
    'The "limit" argument must be an integer from 1 to 1000. Received 0',
  ],
  [
    ({ redsync }) => redsync.newSemaphore('job', { permits: 3 }),
    TYPE,
    'The "limit" argument must be an integer from 1 to 1000. Received an object',
  ],
  [
    ({ redsync }) => redsync.newSemaphore(['job'], 3),
    TYPE,
    'The "name" argument must be a well-formed string of 1 to 1024 bytes of UTF-8. Received an array',
  ],
  [
    ({ redsync }) => redsync.newSemaphore('job', 3, { permits: 4 }),
    TYPE,
    'The "options.permits" argument must not be another than limit, 3. Received 4',
  ],
  [
    ({ redsync }) => redsync.newSemaphore('job', 3, { mode: 'read' }),
    TYPE,
    'The "options.mode" argument must not be given for a semaphore: it has no readers and writers',
  ],
  [
    ({ redsync }) => redsync.newSemaphore('job', 3, { fencing: true }),
    TYPE,
    'The "options.fencing" argument must not be true with permits: several hold it at once, so no token of one is the last',
  ],
  [
    ({ redsync }) => redsync.newReadWriteLock(['job']),
    TYPE,
    'The "name" argument must be a well-formed string of 1 to 1024 bytes of UTF-8. Received an array',
  ],
  [
    ({ redsync }) => redsync.newReadWriteLock('job', { mode: 'read' }),
    TYPE,
    'The "options.mode" argument must not be given for a read-write lock: it is made in both modes',
  ],
  [
    ({ redsync }) => redsync.newReadWriteLock('job', { permits: 2 }),
    TYPE,
    'The "options.permits" argument must not be greater than 1 with a mode: any number may read at once, and one alone may write',
  ],
  [
    ({ redsync }) => redsync.newReadWriteLock('job', { fencing: true }),
    TYPE,
    'The "options.fencing" argument must not be true with mode "read": several hold it at once, so no token of one is the last. It goes with mode "write"',
  ],
  [
    ({ redsync }) => redsync.inspect('job', { permits: 0 }),
    RANGE,
    'The "options.permits" argument must be an integer from 1 to 1000. Received 0',
  ],

  // --- nodes
  [
    () => new Redsync(),
    TYPE,
    'The "nodes" argument must be a URL, connection options or a Pool. Received undefined',
  ],
  [
    () => new Redsync(null),
    TYPE,
    'The "nodes" argument must be a URL, connection options or a Pool. Received null',
  ],
  [
    () => new Redsync([]),
    RANGE,
    'The "nodes" argument must be one node or an array of 1 to 64. Received an array of 0',
  ],
  [
    () => new Redsync(6379),
    TYPE,
    'The "nodes" argument must be a URL, connection options or a Pool. Received a number',
  ],
  [() => new Redsync('localhost'), TYPE, `The "nodes" argument must be a ${URLS}`],
  [() => new Redsync('localhost:6379'), TYPE, `The "nodes" argument must be a ${URLS}`],
  [() => new Redsync('127.0.0.1:6379'), TYPE, `The "nodes" argument must be a ${URLS}`],
  [() => new Redsync('http://localhost:6379'), TYPE, `The "nodes" argument must be a ${URLS}`],
  [() => new Redsync('redis//localhost'), TYPE, `The "nodes" argument must be a ${URLS}`],
  [
    () => new Redsync('redis://'),
    RANGE,
    'The URL in the "nodes" argument must have the form redis://[user:password@]host[:port][/db], with a port from 1 to 65535',
  ],
  [
    () => new Redsync('redis://localhost:port'),
    RANGE,
    'The URL in the "nodes" argument must have the form redis://[user:password@]host[:port][/db], with a port from 1 to 65535',
  ],
  [
    () => new Redsync('redis://localhost:66000'),
    RANGE,
    'The URL in the "nodes" argument must have the form redis://[user:password@]host[:port][/db], with a port from 1 to 65535',
  ],
  [
    () => new Redsync('redis://localhost/mydb'),
    RANGE,
    'The URL in the "nodes" argument must have a database number from 0 to 2147483647',
  ],
  [
    () => new Redsync('redis://localhost?db=1'),
    TYPE,
    'The URL in the "nodes" argument takes no parameters',
  ],
  [
    () => new Redsync('redis://localhost:6379,localhost:6380'),
    RANGE,
    'The URL in the "nodes" argument must have one host: several nodes are an array of URLs',
  ],
  [
    () => new Redsync('redis://user:p#ss@localhost'),
    RANGE,
    'The URL in the "nodes" argument must have no fragment (write # as %23)',
  ],
  [
    () => new Redsync('redis://:hunter2/x@a'),
    RANGE,
    'The URL in the "nodes" argument must have no / or ? in its user or password (write %2F, %3F)',
  ],
  [
    () => new Redsync('redis://hunter2?x@a'),
    RANGE,
    'The URL in the "nodes" argument must have no / or ? in its user or password (write %2F, %3F)',
  ],
  [
    () => new Redsync('rediss+sentinel://:hunter2/x@a/m'),
    RANGE,
    'The URL in the "nodes" argument must have no / or ? in its user or password (write %2F, %3F)',
  ],
  [
    () => new Redsync('redis://user:p%ss@localhost'),
    RANGE,
    'The URL in the "nodes" argument must have valid percent-encoding',
  ],
  [
    () => new Redsync('redis://local host'),
    RANGE,
    'The URL in the "nodes" argument must have no spaces or control characters',
  ],
  [
    () => new Redsync('redis+sentinel://localhost'),
    TYPE,
    'The "nodes" argument must have a masterName with its sentinels',
  ],
  [
    () => new Redsync('redis+cluster://localhost/1'),
    RANGE,
    'The "nodes" argument must have database 0: a cluster has no other',
  ],
  [
    () => new Redsync('redis+unix://tmp/redis.sock'),
    RANGE,
    'The URL in the "nodes" argument must have the form redis+unix://[user:password@]/path[?db=0]',
  ],
  [
    () => new Redsync('memory://node'),
    RANGE,
    'The URL in the "nodes" argument must have the form memory: or memory:NAME (1 to 64 letters, digits, "_.-")',
  ],
  [
    () => new Redsync(process.env.NOT_SET),
    TYPE,
    'The "nodes" argument must be a URL, connection options or a Pool. Received undefined',
  ],
  [
    () => new Redsync([undefined]),
    TYPE,
    'The "nodes[0]" argument must be a URL, connection options or a Pool. Received undefined',
  ],
  [() => new Redsync(['redis://a', 'redis://a']), RANGE, 'nodes[1] is the same node as nodes[0]'],
  [
    () => new Redsync(['redis://a', ['redis://b']]),
    TYPE,
    'The "nodes[1]" argument must be a URL, connection options or a Pool. Received an array',
  ],
  [
    () => new Redsync({}),
    TYPE,
    'The "nodes" argument must have a url, a host, a path, sentinels or a cluster',
  ],
  [
    () => new Redsync({ hostname: 'localhost' }),
    TYPE,
    `The "nodes" argument has an unknown option "hostname". Did you mean "host"? Known: ${OF_A_NODE}`,
  ],
  [
    () => new Redsync({ host: 'localhost', port: '6379' }),
    TYPE,
    'The "nodes.port" argument must be an integer from 1 to 65535. Received a string',
  ],
  [
    () => new Redsync({ host: 'localhost', port: 66000 }),
    RANGE,
    'The "nodes.port" argument must be an integer from 1 to 65535. Received 66000',
  ],
  [
    () => new Redsync({ host: 'localhost:6379' }),
    RANGE,
    'The "nodes.host" argument must be a host name or an IP address, without a port. Received a string',
  ],
  [
    () => new Redsync({ host: 'redis://localhost' }),
    RANGE,
    'The "nodes.host" argument must be a host name or an IP address, without a port. Received a string',
  ],
  [
    () => new Redsync({ port: 6379 }),
    TYPE,
    'The "nodes" argument must have a url, a host, a path, sentinels or a cluster',
  ],
  [
    () => new Redsync({ host: 'localhost', db: '0' }),
    TYPE,
    'The "nodes.db" argument must be an integer from 0 to 2147483647. Received a string',
  ],
  [
    () => new Redsync({ host: 'localhost', db: -1 }),
    RANGE,
    'The "nodes.db" argument must be an integer from 0 to 2147483647. Received -1',
  ],
  [
    () => new Redsync({ host: 'localhost', pass: 'hunter2' }),
    TYPE,
    `The "nodes" argument has an unknown option "pass". Did you mean "password"? Known: ${OF_A_NODE}`,
  ],
  [
    () => new Redsync({ host: 'localhost', password: 42 }),
    TYPE,
    'The "nodes.password" argument must be a well-formed string of 0 to 16384 bytes of UTF-8. Received a number',
  ],
  [
    () => new Redsync({ host: 'localhost', path: '/tmp/redis.sock' }),
    TYPE,
    'The "nodes" argument must have either "host" or "path", its url included',
  ],
  [
    () => new Redsync({ path: 'redis.sock' }),
    RANGE,
    'The "nodes.path" argument must be an absolute path without control characters. Received a string',
  ],
  [() => new Redsync({ url: 'localhost' }), TYPE, `The "nodes.url" argument must be a ${URLS}`],
  [
    () => new Redsync({ url: 'redis://a', cluster: [{ host: 'b' }] }),
    TYPE,
    'The "nodes" argument must have either "host" or "cluster", its url included',
  ],
  [
    () => new Redsync({ sentinels: [{ host: 'a' }] }),
    TYPE,
    'The "nodes" argument must have a masterName with its sentinels',
  ],
  [
    () => new Redsync({ sentinels: [], masterName: 'm' }),
    RANGE,
    'The "nodes.sentinels" argument must be an array of 1 to 64 objects with a host and, if need be, a port. Received an array of 0',
  ],
  [
    () => new Redsync({ sentinels: 'a:26379', masterName: 'm' }),
    TYPE,
    'The "nodes.sentinels" argument must be an array of 1 to 64 objects with a host and, if need be, a port. Received a string',
  ],
  [
    () => new Redsync({ host: 'a', masterName: 'm' }),
    TYPE,
    'The "nodes" argument: "masterName" has no meaning without sentinels',
  ],
  [
    () => new Redsync({ cluster: ['redis://a'] }),
    TYPE,
    'The "nodes.cluster[0]" argument must be an object with a host and, if need be, a port. Received a string',
  ],
  [
    () => new Redsync({ cluster: [{ host: 'a' }], db: 1 }),
    RANGE,
    'The "nodes" argument must have database 0: a cluster has no other',
  ],
  [
    () => new Redsync({ host: 'a', connectTimeout: 0 }),
    RANGE,
    'The "nodes.connectTimeout" argument must be an integer from 1 to 2147483647. Received 0',
  ],
  [
    () => new Redsync({ host: 'a', tls: 'true' }),
    TYPE,
    'The "nodes.tls" argument must be a boolean or an object. Received a string',
  ],
  [
    () => new Redsync({ host: 'a', tls: { ca: '/etc/ca.pem' } }),
    RANGE,
    'The "nodes.tls.ca" argument must be PEM ("-----BEGIN ...") of at most 1 MiB. Received a string',
  ],
  [
    () => new Redsync({ host: 'a', tls: { rejectUnauthorized: false } }),
    TYPE,
    'The "nodes.tls.rejectUnauthorized" argument is unknown: certificates are always verified; give the authority in tls.ca, or pin the certificate by tls.fingerprint256',
  ],
  [
    () => new Redsync({ host: 'a', tls: { fingerprint256: 'AA:BB' } }),
    TYPE,
    'The "nodes.tls.fingerprint256" argument must be the SHA-256 of a certificate, 32 bytes in hexadecimal as "AA:BB:..." or without colons. Received a string of 5 characters',
  ],
  [
    () => new Redsync({ url: 'rediss://a', tls: false }),
    TYPE,
    'The "nodes" argument: "tls" must not be false for a URL with TLS',
  ],

  // --- options of the Redsync
  [
    () => new Redsync('memory:', 'lock:'),
    TYPE,
    `The "options" argument must be ${OPTIONS_OF_A_REDSYNC}. Received a string`,
  ],
  [
    () => new Redsync('memory:', { keyPrefix: 42 }),
    TYPE,
    'The "options.keyPrefix" argument must be a well-formed string of 0 to 1024 bytes of UTF-8. Received type number (42)',
  ],
  [
    () => new Redsync('memory:', { keyPrefix: 'x'.repeat(1025) }),
    RANGE,
    'The "options.keyPrefix" argument must be a well-formed string of 0 to 1024 bytes of UTF-8. Received "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"...',
  ],
  [
    () => new Redsync('memory:', { owner: true }),
    TYPE,
    'The "options.owner" argument must be a string of 1 to 64 letters, digits and "_", ".", ":", "/", "-", or false. Received type boolean (true)',
  ],
  [
    () => new Redsync('memory:', { owner: 'me and you' }),
    RANGE,
    'The "options.owner" argument must be a string of 1 to 64 letters, digits and "_", ".", ":", "/", "-". Received "me and you"',
  ],
  [
    () => new Redsync('memory:', { quarantine: '5s' }),
    TYPE,
    'The "options.quarantine" argument must be a boolean or an integer from 1 to 86400000. Received type string ("5s")',
  ],
  [
    () => new Redsync('memory:', { quarantine: 0 }),
    RANGE,
    'The "options.quarantine" argument must be a boolean or an integer from 1 to 86400000. Received 0',
  ],
  [
    ({ pool }) => new Redsync(pool, { quarantine: true }),
    TYPE,
    'The "options.quarantine" argument has no meaning for nodes[0], which is a Pool: give its URL',
  ],
  [
    () => new Redsync('memory:', { expiry: '8000' }),
    TYPE,
    'The "options.expiry" argument must be an integer from 1 to 86400000. Received type string ("8000")',
  ],

  // --- adapters and clients
  [
    ({ client }) => new Redsync(client),
    TYPE,
    'The "nodes" argument must be a URL, connection options or a Pool, not a client: give newPool(client) of redsync/ioredis',
  ],
  [
    ({ client }) => new Redsync([client, client]),
    TYPE,
    'The "nodes[0]" argument must be a URL, connection options or a Pool, not a client: give newPool(client) of redsync/ioredis',
  ],
  [
    () => new Redsync(new Map()),
    TYPE,
    'The "nodes" argument must be a URL, connection options or a Pool, not a client: give a Pool over it, see docs/clients.md',
  ],
  [
    () => ioredis.newPool(),
    TYPE,
    'The "client" argument must be a client of ioredis. Received undefined',
  ],
  [
    () => ioredis.newPool('redis://localhost'),
    TYPE,
    'The "client" argument must be a client of ioredis. Received a string',
  ],
  [
    () => ioredis.newPool({ host: 'localhost' }),
    TYPE,
    'The "client" argument must be a client of ioredis. Received an object',
  ],
  [
    ({ client }) => nodeRedis.newPool(client),
    TYPE,
    'The "client" argument must be a client of node-redis. Received an object. It is one for newPool() of redsync/ioredis',
  ],
  [
    ({ nodeClient }) => ioredis.newPool(nodeClient),
    TYPE,
    'The "client" argument must be a client of ioredis. Received an object. It is one for newPool() of redsync/node-redis',
  ],
  [
    ({ client }) => glide.newPool(client),
    TYPE,
    'The "client" argument must be a client of valkey-glide. Received an object. It is one for newPool() of redsync/ioredis',
  ],
  [
    ({ nodeClient }) => iovalkey.newPool(nodeClient),
    TYPE,
    'The "client" argument must be a client of iovalkey. Received an object. It is one for newPool() of redsync/node-redis',
  ],
  [
    () => nodeRedis.newPool({ options: { legacyMode: true } }),
    TYPE,
    'The "client" argument must not be a client in legacyMode: give newPool(client.v4)',
  ],
  [
    ({ client }) => new Redsync([ioredis.newPool(client), ioredis.newPool(client)]),
    RANGE,
    'nodes[1] is the same node as nodes[0]',
  ],

  // --- methods that do not exist, and what is not for them
  [
    ({ redsync }) => redsync.lock('job'),
    TYPE,
    'redsync.lock() does not exist: write redsync.acquire(name, options), or redsync.newMutex(name, options).lock()',
  ],
  [
    ({ redsync }) => redsync.tryLock('job'),
    TYPE,
    'redsync.tryLock() does not exist: write redsync.newMutex(name, options).tryLock()',
  ],
  [
    ({ redsync }) => redsync.unlock('job'),
    TYPE,
    'redsync.unlock() does not exist: write lock.unlock()',
  ],
  [
    ({ redsync }) => redsync.release('job'),
    TYPE,
    'redsync.release() does not exist: write lock.unlock()',
  ],
  [
    ({ redsync }) => redsync.extend('job'),
    TYPE,
    'redsync.extend() does not exist: write lock.extend()',
  ],
  [({ mutex }) => mutex.acquire(), TYPE, 'mutex.acquire() does not exist: write mutex.lock()'],
  [
    ({ mutex }) => mutex.tryAcquire(),
    TYPE,
    'mutex.tryAcquire() does not exist: write mutex.tryLock()',
  ],
  [({ mutex }) => mutex.release(), TYPE, 'mutex.release() does not exist: write mutex.unlock()'],
  [({ lock }) => lock.release(), TYPE, 'lock.release() does not exist: write lock.unlock()'],
  [() => new Mutex('job'), TYPE, 'A Mutex is made by redsync.newMutex()'],

  // --- functions of the caller
  [
    ({ redsync }) => redsync.using('job'),
    TYPE,
    'The "routine" argument must be a function. Received undefined',
  ],
  [
    ({ redsync }) => redsync.using('job', { expiry: 5000 }),
    TYPE,
    'The "routine" argument must be a function. Received an object',
  ],
  [
    ({ redsync }) => redsync.using('job', () => {}, { expiry: 5000 }),
    TYPE,
    'The "routine" argument must come last: using(name, options, routine)',
  ],
  [
    ({ redsync }) => redsync.using(() => {}, 'job'),
    TYPE,
    `The "name" argument must be ${NAMES}. Received a function`,
  ],
  [
    ({ redsync }) => redsync.newMutex('job-2', { genValue: () => 42 }).lock(),
    TYPE,
    'The result of "genValue()" must be a well-formed string of 1 to 16384 bytes of UTF-8. Received a number',
  ],
  [
    ({ redsync }) => redsync.newMutex('job-2', { genValue: async () => '' }).lock(),
    RANGE,
    'The result of "genValue()" must be a well-formed string of 1 to 16384 bytes of UTF-8. Received an empty string',
  ],
  [
    ({ redsync }) => redsync.newMutex('job-2', { genValue: () => 'a#b', fencing: true }).lock(),
    RANGE,
    'The result of "genValue()" must be without "#", since the fencing token is put behind it. Received a string',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { retryDelay: () => '100', tries: 2 }).lock(),
    TYPE,
    'The result of "retryDelay()" must be a number from 0 to 86400000. Received type string ("100")',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { retryDelay: () => NaN, tries: 2 }).lock(),
    RANGE,
    'The result of "retryDelay()" must be a number from 0 to 86400000. Received NaN',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { retryDelay: async () => 100, tries: 2 }).lock(),
    TYPE,
    'The result of "retryDelay()" must be a number from 0 to 86400000. Received an object',
  ],

  // --- other calls
  [
    ({ redsync }) => redsync.ready(1000),
    TYPE,
    'The "options" argument must be an object with signal, timeout. Received type number (1000)',
  ],
  [
    ({ redsync }) => redsync.ready({ timeout: 0 }),
    RANGE,
    'The "options.timeout" argument must be an integer from 1 to 2147483647. Received 0',
  ],
  [
    ({ redsync }) => redsync.ready({ timeout: '5000' }),
    TYPE,
    'The "options.timeout" argument must be an integer from 1 to 2147483647. Received type string ("5000")',
  ],
  [
    ({ redsync }) => redsync.ready({ wait: 1000 }),
    TYPE,
    'The "options" argument has an unknown option "wait". Did you mean "timeout"? Known: signal, timeout',
  ],
  [
    ({ redsync }) => redsync.health({ signal: AbortSignal.timeout(1) }),
    TYPE,
    'The "options" argument has an unknown option "signal". Known: timeout',
  ],
  [
    ({ redsync }) => redsync.health({ timeout: Infinity }),
    RANGE,
    'The "options.timeout" argument must be an integer from 1 to 2147483647. Received Infinity',
  ],
  [
    ({ redsync }) => redsync.inspect('job', { timeout: -1 }),
    RANGE,
    'The "options.timeout" argument must be an integer from 1 to 2147483647. Received -1',
  ],
  [
    ({ redsync }) => redsync.close(5000),
    TYPE,
    'The "options" argument must be an object with drain. Received type number (5000)',
  ],
  [
    ({ redsync }) => redsync.close({ drain: -1 }),
    RANGE,
    'The "options.drain" argument must be an integer from 0 to 86400000. Received -1',
  ],
  [
    ({ redsync }) => redsync.close({ drain: Infinity }),
    RANGE,
    'The "options.drain" argument must be an integer from 0 to 86400000. Received Infinity',
  ],
  [
    ({ redsync }) => redsync.close({ timeout: 1000 }),
    TYPE,
    'The "options" argument has an unknown option "timeout". Did you mean "drain"? Known: drain',
  ],

  // --- the wrong order
  [
    ({ redsync }) => redsync.newMutex('fresh').unlock(),
    'ERR_LOCK_EXPIRED',
    'lock "fresh": was never locked by this Mutex',
  ],
  [
    ({ redsync }) => redsync.newMutex('fresh').extend(),
    'ERR_EXTEND_FAILED',
    'lock "fresh": was never locked by this Mutex',
  ],
  [
    ({ released }) => released.unlock(),
    'ERR_LOCK_EXPIRED',
    'lock "released": was released already, by this handle',
  ],
  [
    ({ released }) => released.extend(),
    'ERR_EXTEND_FAILED',
    'lock "released": unlock() was called',
  ],
  [
    ({ redsync }) => redsync.newMutex('fresh', { value: 'nobody' }).unlock(),
    'ERR_LOCK_EXPIRED',
    'lock "fresh": already expired (node 0 (memory): the key has expired or was deleted)',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { value: 'nobody' }).unlock(),
    'ERR_LOCK_TAKEN',
    'lock "job": taken (node 0 (memory): lock is taken)',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { value: 'nobody' }).extend(),
    'ERR_EXTEND_FAILED',
    'lock "job": not extended by a quorum of 1 of 1 node (node 0 (memory): lock is taken)',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { tries: 1 }).lock(),
    'ERR_LOCK_TAKEN',
    'lock "job": taken after 1 attempt (node 0 (memory): lock is taken)',
  ],
  [
    ({ redsync }) => redsync.newMutex('job', { wait: 0 }).lock(),
    'ERR_LOCK_TAKEN',
    'lock "job": taken after 1 attempt (node 0 (memory): lock is taken)',
  ],
  [
    ({ lock }) => lock.downgrade(),
    'ERR_LOCK_MODE',
    'lock "job": downgrade() is for a lock of mode "read" or "write"',
  ],
  [
    ({ lock }) => lock.upgrade(),
    'ERR_LOCK_MODE',
    'lock "job": upgrade() is for a lock of mode "read" or "write"',
  ],
  [
    ({ reader }) => reader.upgrade(),
    'ERR_LOCK_MODE',
    'lock "read": upgrade() does not exist: two readers who both wanted it would wait for each other for ever. Release it, and lock in mode "write"',
  ],
  [
    ({ redsync }) => redsync.using('job-3', () => redsync.acquire('job-3')),
    'ERR_LOCK_DEADLOCK',
    'lock "job-3": the using() around this call holds it, and this call would wait for it for ever. Pass the lock on; or call using() with { reentrant: true }',
  ],
  [({ closed }) => closed.acquire('job'), 'ERR_CLOSED', 'the Redsync is closed'],
  [({ closed }) => closed.newMutex('job').tryLock(), 'ERR_CLOSED', 'the Redsync is closed'],
  [({ closed }) => closed.ready(), 'ERR_CLOSED', 'the Redsync is closed'],
  [({ closed }) => closed.inspect('job'), 'ERR_CLOSED', 'the Redsync is closed'],
  [({ closed }) => closed.using('job', () => {}), 'ERR_CLOSED', 'the Redsync is closed'],
];

/** What the calls are made on. */
async function prepare() {
  const redsync = new Redsync('memory:');
  const lock = await redsync.acquire('job', { expiry: 600_000 });
  const released = await redsync.acquire('released');
  await released.unlock();
  const reader = await redsync.acquire('read', { mode: 'read', expiry: 600_000 });
  const closed = new Redsync('memory:');
  await closed.close();
  return {
    redsync,
    mutex: redsync.newMutex('job'),
    lock,
    released,
    reader,
    closed,
    client: new Redis({ lazyConnect: true }),
    nodeClient: createClient(),
    pool: { get() {} },
  };
}

const prepared = prepare();
test.after.always(async () => (await prepared).redsync.close());

for (const [call, code, message] of MISUSES) {
  const title = String(call)
    .replace(/^[^=]*=> /, '')
    .replace(/\s+/g, ' ')
    .replace(/x{9,}/g, 'x');
  test(title, async (t) => {
    const given = await prepared;
    const error = await t.throwsAsync(async () => call(given));
    t.is(error.message, message);
    t.is(error.code, code);
    if (code === TYPE) t.true(error instanceof TypeError);
    if (code === RANGE) t.true(error instanceof RangeError);
  });
}

test('they are many, each once', (t) => {
  t.true(MISUSES.length >= 250, `${MISUSES.length}`);
  t.is(new Set(MISUSES.map(([call]) => String(call))).size, MISUSES.length);
});

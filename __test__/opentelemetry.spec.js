'use strict';

// redsync/opentelemetry with the SDK of OpenTelemetry: which spans and metrics there are, and when they end.

const { execFileSync } = require('node:child_process');
const diagnostics = require('node:diagnostics_channel');
const path = require('node:path');

const { SpanKind, SpanStatusCode, context, metrics, trace } = require('@opentelemetry/api');
const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks');
const { MeterProvider, MetricReader } = require('@opentelemetry/sdk-metrics');
const {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} = require('@opentelemetry/sdk-trace-base');
const test = require('ava');

const { Redsync } = require('../index.js');
const { instrument } = require('../lib/opentelemetry.js');
const { newClock } = require('../lib/testing.js');
const { rejection, until } = require('./helpers/async.js');
const { deadUrl, useServers } = require('./helpers/servers.js');

const ROOT = path.join(__dirname, '..');
const CHANNELS = ['lock', 'unlock', 'extend'].flatMap((call) =>
  ['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map(
    (step) => `tracing:redsync:${call}:${step}`,
  ),
);

class Reader extends MetricReader {
  onForceFlush() {}

  onShutdown() {}
}

/** An SDK that keeps all in memory; the tests of this file run one by one. */
function startSdk(t) {
  const exporter = new InMemorySpanExporter();
  const reader = new Reader();
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
  );
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }));
  t.teardown(() => {
    for (const api of [context, trace, metrics]) api.disable();
  });
  return {
    spans: () => exporter.getFinishedSpans(),
    /** All points of a metric, as [value, attributes]; the value of a histogram has its count and sum. */
    async points(name) {
      const metric = await find(reader, name);
      return (metric?.dataPoints ?? []).map(({ value, attributes }) => [value, attributes]);
    },
    metric: (name) => find(reader, name),
  };
}

async function find(reader, name) {
  const { resourceMetrics, errors } = await reader.collect();
  if (errors.length > 0) throw errors[0];
  return resourceMetrics.scopeMetrics
    .flatMap((scope) => scope.metrics)
    .find(({ descriptor }) => descriptor.name === name);
}

function start(t, redsync) {
  const stop = instrument(redsync);
  t.teardown(stop);
  return stop;
}

function connect(t, nodes, options) {
  const redsync = new Redsync(nodes, { timeoutFactor: 0.5, ...options });
  t.teardown(() => redsync.close());
  return redsync;
}

test.serial('each call to lock is a span within the active one', async (t) => {
  const sdk = startSdk(t);
  start(t);
  const [server] = await useServers(t, 1);
  const redsync = connect(t, server.url);
  const tracer = trace.getTracer('test');
  await tracer.startActiveSpan('work', async (work) => {
    await redsync.using('name', async () => {
      await redsync.newMutex('name').tryLock();
      await rejection(redsync.acquire('name', { tries: 1 }));
      tracer.startSpan('inner').end();
    });
    work.end();
  });
  await redsync.acquire('root');

  const spans = sdk.spans();
  t.deepEqual(
    spans.map(({ name }) => name),
    ['lock', 'lock', 'lock', 'inner', 'work', 'lock'],
  );
  const [locked, taken, refused, inner, work, root] = spans;
  const parentOf = ({ parentSpanContext }) => parentSpanContext?.spanId;
  for (const span of [locked, taken, refused, inner]) {
    t.is(parentOf(span), work.spanContext().spanId);
  }
  t.is(parentOf(root), undefined);
  const common = { 'server.address': '127.0.0.1', 'server.port': server.port };
  const once = { ...common, 'lock.name': 'name', 'lock.attempts': 1, 'lock.waits': 0 };
  t.deepEqual(locked.attributes, {
    ...once,
    'lock.outcome': 'acquired',
    'lock.votes': ['granted'],
  });
  t.deepEqual(taken.attributes, { ...once, 'lock.outcome': 'taken', 'lock.votes': ['taken'] });
  t.deepEqual(refused.attributes, {
    ...once,
    'lock.outcome': 'taken',
    'lock.votes': ['taken'],
    'error.type': 'ERR_LOCK_TAKEN',
  });
  for (const { kind, instrumentationScope } of [locked, taken, refused, root]) {
    t.is(kind, SpanKind.INTERNAL);
    t.is(instrumentationScope.name, 'redsync');
    t.is(instrumentationScope.version, require('../package.json').version);
  }
  for (const { status, events } of [locked, taken, root]) {
    t.is(status.code, SpanStatusCode.UNSET);
    t.deepEqual(events, []);
  }
  t.is(refused.status.code, SpanStatusCode.ERROR);
  t.regex(refused.status.message, /^lock "name"/);
  t.is(refused.events[0].attributes['exception.type'], 'ERR_LOCK_TAKEN');
});

test.serial('a call that does not get the lock says why', async (t) => {
  const sdk = startSdk(t);
  start(t);
  const redsync = connect(t, 'memory:');
  await redsync.acquire('name');
  const why = [
    [{ signal: AbortSignal.timeout(5), tries: Infinity }, 'aborted', 'TimeoutError'],
    [{ wait: 5 }, 'taken', 'ERR_LOCK_TAKEN'],
    [{ genValue: () => Promise.reject(), tries: 2 }, 'aborted', '_OTHER'],
  ];
  for (const [options] of why) await rejection(redsync.acquire('name', options));
  await redsync.using('name2', () => rejection(redsync.acquire('name2')));
  const dead = connect(t, await deadUrl(), { tries: 1 });
  await rejection(dead.acquire('name'));
  const expected = [
    ['acquired', undefined],
    ...why.map(([, outcome, type]) => [outcome, type]),
    ['acquired', undefined],
    ['failed', 'ERR_LOCK_DEADLOCK'],
    ['failed', 'ERR_LOCK_FAILED'],
  ];
  t.deepEqual(
    sdk.spans().map(({ attributes }) => [attributes['lock.outcome'], attributes['error.type']]),
    expected,
  );
  const points = await sdk.points('lock.wait.duration');
  const counted = points.map(([{ count }, { 'lock.outcome': outcome, 'error.type': type }]) => [
    `${outcome} ${type}`,
    count,
  ]);
  t.deepEqual(Object.fromEntries(counted), {
    'acquired undefined': 2,
    'aborted TimeoutError': 1,
    'taken ERR_LOCK_TAKEN': 1,
    'aborted _OTHER': 1,
    'failed ERR_LOCK_DEADLOCK': 1,
    'failed ERR_LOCK_FAILED': 1,
  });
});

test.serial('waiting and holding are measured in seconds', async (t) => {
  const sdk = startSdk(t);
  start(t);
  const clock = newClock();
  const redsync = connect(t, clock.nodes(1), { expiry: 600_000 });
  const since = performance.now();
  const lock = await redsync.acquire('name');
  await clock.advance(120_000);
  const waiter = redsync.newMutex('name', { retryDelay: 5 }).lock();
  await until(async () => (await sdk.points('lock.waiting'))[0]?.[0] === 1);
  await lock.unlock();
  const next = await waiter;
  const longest = (performance.now() - since) / 1000;

  const wait = await sdk.metric('lock.wait.duration');
  t.is(wait.descriptor.unit, 's');
  const [{ value, attributes }] = wait.dataPoints;
  t.deepEqual(attributes, { 'lock.outcome': 'acquired' });
  t.is(value.count, 2);
  t.true(value.sum > 0 && value.sum <= longest, `${value.sum} s of ${longest} s`);
  t.is(value.buckets.boundaries[0], 0.0005);
  t.is(value.buckets.boundaries.at(-1), 60);

  const hold = await sdk.metric('lock.hold.duration');
  t.is(hold.descriptor.unit, 's');
  t.is(hold.dataPoints.length, 1);
  t.deepEqual(hold.dataPoints[0].attributes, {});
  t.true(hold.dataPoints[0].value.sum >= 120 && hold.dataPoints[0].value.sum < 180);
  t.is(hold.dataPoints[0].value.buckets.boundaries.at(-1), 1800);

  await clock.advance(600_000);
  await rejection(next.unlock());
  await rejection(next.unlock());
  const [, late] = await sdk.points('lock.hold.duration');
  t.is(late[0].count, 1, 'once for each lock');
  t.true(late[0].sum >= 600);
  t.deepEqual(late[1], { 'error.type': 'ERR_LOCK_EXPIRED' });
});

test.serial('extensions and losses are counted, and a loss is the end of a hold', async (t) => {
  const sdk = startSdk(t);
  start(t);
  const [server] = await useServers(t, 1);
  const at = { 'server.address': '127.0.0.1', 'server.port': server.port };
  const redsync = connect(t, server.url);
  const lock = await redsync.acquire('name');
  t.deepEqual(await sdk.points('lock.losses'), [[0, at]], 'the first one is seen as one more');
  await lock.extend();
  await lock.extend();
  const ended = new Promise((resolve) => lock.signal.addEventListener('abort', resolve));
  await redsync.newMutex('name', { value: lock.value }).unlock();
  await ended;
  await rejection(lock.extend());
  await rejection(lock.unlock());
  t.deepEqual(await sdk.points('lock.extensions'), [
    [2, at],
    [1, { ...at, 'error.type': 'ERR_EXTEND_FAILED' }],
  ]);
  t.deepEqual(await sdk.points('lock.losses'), [[1, at]]);
  const holds = await sdk.points('lock.hold.duration');
  t.deepEqual(
    holds.map(([{ count }, attributes]) => [count, attributes]),
    [[1, { ...at, 'error.type': 'ERR_LOCK_LOST' }]],
  );
});

test.serial('the loss of a lock that was acquired elsewhere is no time of holding', async (t) => {
  const sdk = startSdk(t);
  start(t);
  const redsync = connect(t, 'memory:', { expiry: 60_000 });
  const { value } = await redsync.acquire('name');
  const adopted = redsync.newMutex('name', { value, autoExtend: true });
  await adopted.extend();
  await redsync.newMutex('name', { value }).unlock();
  await until(async () => (await sdk.points('lock.losses'))[0][0] === 1);
  t.deepEqual(await sdk.points('lock.hold.duration'), []);
});

test.serial('what is held, who waits and which nodes are up is told as it is', async (t) => {
  const sdk = startSdk(t);
  start(t);
  const [one, two] = await useServers(t, 2);
  const single = connect(t, one.url);
  const pair = connect(t, [one.url, two.url]);
  const other = connect(t, [one.url, two.url]);
  const lock = await single.acquire('single');
  await pair.acquire('a');
  await other.acquire('b');
  const controller = new AbortController();
  const waiting = rejection(other.acquire('a', { tries: Infinity, signal: controller.signal }));
  const at = { 'server.address': '127.0.0.1', 'server.port': one.port };
  t.deepEqual(await sdk.points('lock.held'), [
    [1, at],
    [2, {}],
  ]);
  t.deepEqual(await sdk.points('lock.waiting'), [
    [0, at],
    [1, {}],
  ]);
  const node = ({ port }) => ({
    'lock.node.endpoint': `127.0.0.1:${port}`,
    'server.address': '127.0.0.1',
    'server.port': port,
  });
  t.deepEqual(await sdk.points('lock.node.up'), [
    [1, node(one)],
    [1, node(two)],
  ]);
  t.false((await sdk.metric('lock.held')).isMonotonic, 'an up-down counter');
  t.false((await sdk.metric('lock.waiting')).isMonotonic);

  controller.abort();
  await waiting;
  await lock.unlock();
  await two.kill();
  await until(async () => {
    await rejection(pair.acquire('c', { tries: 1 }));
    return pair.stats().nodes[1].status === 'down';
  });
  const down = await sdk.points('lock.node.up');
  t.deepEqual(
    down.map(([up]) => up),
    [1, 0],
  );
  t.is((await sdk.points('lock.held'))[0][0], 0);
  for (const redsync of [single, pair, other]) await redsync.close();
  t.deepEqual(await sdk.points('lock.held'), [
    [0, at],
    [0, {}],
  ]);
  const closed = await sdk.points('lock.node.up');
  t.deepEqual(
    closed.map(([up]) => up),
    [1, 1],
    'nobody finds one down',
  );
});

test.serial('one Redsync is told alone, from the beginning on', async (t) => {
  const sdk = startSdk(t);
  const ours = connect(t, 'memory:ours');
  const theirs = connect(t, 'memory:theirs');
  await ours.acquire('before', { expiry: 60_000 });
  const stop = start(t, ours);
  t.deepEqual(await sdk.points('lock.held'), [[1, {}]]);
  for (const redsync of [ours, theirs]) {
    const lock = await redsync.acquire('name');
    t.false(lock.signal.aborted);
    await lock.extend();
    await redsync.newMutex('name', { value: lock.value }).unlock();
    await until(() => lock.signal.aborted);
    await (await redsync.acquire('name')).unlock();
  }
  t.is(sdk.spans().length, 2);
  const [[wait]] = await sdk.points('lock.wait.duration');
  t.is(wait.count, 2);
  t.deepEqual(await sdk.points('lock.losses'), [[1, {}]]);
  t.deepEqual(await sdk.points('lock.extensions'), [[1, {}]]);
  const holds = await sdk.points('lock.hold.duration');
  t.is(
    holds.reduce((sum, [{ count }]) => sum + count, 0),
    2,
  );
  t.deepEqual(await sdk.points('lock.node.up'), [[1, { 'lock.node.endpoint': 'memory:ours' }]]);

  start(t, theirs);
  await theirs.acquire('name');
  t.is(sdk.spans().length, 3, 'each of two once');
  stop();
  await ours.acquire('name');
  t.is(sdk.spans().length, 3);
});

test.serial('it stops, and leaves nothing', async (t) => {
  const sdk = startSdk(t);
  const redsync = connect(t, 'memory:');
  const stop = start(t);
  await redsync.acquire('name');
  t.true(diagnostics.hasSubscribers('tracing:redsync:lock:start'));
  const controller = new AbortController();
  const waiting = rejection(
    redsync.acquire('name', { tries: Infinity, signal: controller.signal }),
  );
  stop();
  stop();
  t.is(sdk.spans().length, 2, 'also of the call that is under way');
  for (const channel of [...CHANNELS, 'redsync:lost']) {
    t.false(diagnostics.hasSubscribers(channel), channel);
  }
  controller.abort();
  await waiting;
  t.is(sdk.spans().length, 2);
  t.deepEqual(await sdk.points('lock.held'), []);
  const again = start(t);
  await rejection(redsync.acquire('name', { tries: 1 }));
  t.is(sdk.spans().length, 3);
  again();
});

test.serial('without an SDK it does no harm', async (t) => {
  start(t);
  const redsync = connect(t, 'memory:');
  const lock = await redsync.acquire('name');
  await rejection(redsync.acquire('name', { tries: 1 }));
  t.true(await lock.unlock());
});

test.serial('what is no Redsync is refused', (t) => {
  for (const [input, received] of [
    [null, 'null'],
    ['redis://:credential@a', 'a string'],
    [{ stats() {} }, 'an object'],
    [Redsync, 'a function'],
  ]) {
    t.throws(() => instrument(input), {
      instanceOf: TypeError,
      code: 'ERR_INVALID_ARG_TYPE',
      message: `The "redsync" argument must be a Redsync, or undefined for all of them. Received ${received}`,
    });
  }
  t.false(diagnostics.hasSubscribers('tracing:redsync:lock:start'));
});

test.serial('what would count twice is refused', (t) => {
  const redsync = connect(t, 'memory:');
  const other = connect(t, 'memory:');
  const refused = {
    instanceOf: TypeError,
    message: /^The "redsync" argument .* instrumented twice/,
  };
  const stop = instrument(redsync);
  t.throws(() => instrument(redsync), refused);
  t.throws(() => instrument(), refused);
  const stopOther = instrument(other);
  stop();
  stopOther();
  const stopAll = instrument();
  t.throws(() => instrument(), refused);
  t.throws(() => instrument(redsync), refused);
  stopAll();
  const stopAgain = instrument(redsync);
  stop(); // that of another time
  t.throws(() => instrument(redsync), refused);
  stopAgain();
  t.false(diagnostics.hasSubscribers('tracing:redsync:lock:start'));
});

/** What a program prints that can import the package by its name. */
function output(...args) {
  return execFileSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' });
}

test('the entry is found by require() and import, and OpenTelemetry is loaded with it only', (t) => {
  const loaded = "Object.keys(require.cache).some((file) => file.includes('@opentelemetry'))";
  t.is(output('-p', `require('redsync'); ${loaded}`), 'false\n');
  t.is(output('-p', `require('redsync/opentelemetry'); ${loaded}`), 'true\n');
  const program = `
    import { instrument } from 'redsync/opentelemetry';
    import { createRequire } from 'node:module';
    console.log(instrument === createRequire(import.meta.url)('redsync/opentelemetry').instrument);`;
  t.is(output('--input-type=module', '-e', program), 'true\n');
});

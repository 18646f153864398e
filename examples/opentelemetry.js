'use strict';

// What redsync tells on its diagnostics channels as spans and metrics of OpenTelemetry. `instrument()`
// is what a service would take over; the rest makes some traffic, and prints what was recorded.

const diagnostics = require('node:diagnostics_channel');
const { context, metrics, trace, SpanStatusCode } = require('@opentelemetry/api');

/** @param {import('redsync').Redsync} redsync for what is counted; the channels are the process' */
function instrument(redsync) {
  const tracer = trace.getTracer('redsync');
  const meter = metrics.getMeter('redsync');
  const durations = meter.createHistogram('redsync.call.duration', { unit: 'ms' });
  const losses = meter.createCounter('redsync.locks.lost');

  for (const call of ['lock', 'extend', 'unlock']) {
    diagnostics.subscribe(`redsync:${call}`, (event) => {
      // Metrics do without the name: each would be a time series of its own.
      durations.record(event.duration, { call, outcome: outcomeOf(event) });
      // The event comes in the context of whoever called, so the span finds its parent.
      const span = tracer.startSpan(
        `redsync.${call}`,
        {
          startTime: Date.now() - event.duration,
          attributes: {
            'redsync.name': event.name,
            'redsync.outcome': outcomeOf(event),
            'redsync.attempts': event.attempts,
            'redsync.waits': event.waits,
            'redsync.votes': event.votes,
          },
        },
        context.active(),
      );
      if (event.error) {
        span.recordException(event.error);
        span.setStatus({ code: SpanStatusCode.ERROR });
      }
      span.end();
    });
  }
  diagnostics.subscribe('redsync:lost', () => losses.add(1));

  const held = meter.createObservableGauge('redsync.locks.held');
  const waiting = meter.createObservableGauge('redsync.calls.waiting');
  const up = meter.createObservableGauge('redsync.node.up');
  meter.addBatchObservableCallback(
    (result) => {
      const stats = redsync.stats();
      result.observe(held, stats.held);
      result.observe(waiting, stats.waiting);
      for (const { node, status } of stats.nodes)
        result.observe(up, status === 'up' ? 1 : 0, { node });
    },
    [held, waiting, up],
  );
}

function outcomeOf({ acquired = true, error }) {
  if (error) return error.code ?? error.name;
  return acquired ? 'ok' : 'taken';
}

async function main() {
  const { spans, readMetrics, stop } = startOpenTelemetry();
  const { Redsync } = require('../index.js');
  const { findNodes } = require('./nodes.js');
  const nodes = await findNodes();
  const redsync = new Redsync(nodes.urls, { keyPrefix: `example:${process.pid}:` });
  try {
    instrument(redsync);
    await trace.getTracer('shop').startActiveSpan('order', async (span) => {
      await redsync.using('order:42', async () => {
        await redsync.newMutex('order:42').tryLock(); // taken
        await redsync
          .newMutex('order:42', { tries: 1 })
          .lock()
          .catch(() => {}); // an error
        await show(readMetrics, ['redsync.locks.held', 'redsync.node.up']);
      });
      span.end();
    });
    for (const span of spans.getFinishedSpans()) {
      const { attributes, name, parentSpanContext } = span;
      const parent = parentSpanContext ? 'in a span' : 'root';
      console.log(`span ${name}: ${attributes['redsync.outcome'] ?? '-'}, ${parent}`);
    }
    await show(readMetrics, ['redsync.call.duration', 'redsync.locks.held']);
  } finally {
    await redsync.close();
    await nodes.stop();
    await stop();
  }
}

async function show(readMetrics, names) {
  for (const { descriptor, dataPoints } of await readMetrics()) {
    if (!names.includes(descriptor.name)) continue;
    for (const { attributes, value } of dataPoints) {
      const labels = Object.entries(attributes)
        .map(([key, label]) => `${key}=${label}`)
        .join(' ');
      console.log(`metric ${descriptor.name} ${labels}: ${value.count ?? value}`);
    }
  }
}

/** The SDK, with everything kept in memory where a service would have exporters. */
function startOpenTelemetry() {
  const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks');
  const sdk = {
    ...require('@opentelemetry/sdk-trace-base'),
    ...require('@opentelemetry/sdk-metrics'),
  };
  const spans = new sdk.InMemorySpanExporter();
  const tracing = new sdk.BasicTracerProvider({
    spanProcessors: [new sdk.SimpleSpanProcessor(spans)],
  });
  const recorded = new sdk.InMemoryMetricExporter(sdk.AggregationTemporality.CUMULATIVE);
  const reader = new sdk.PeriodicExportingMetricReader({ exporter: recorded });
  const metering = new sdk.MeterProvider({ readers: [reader] });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(tracing);
  metrics.setGlobalMeterProvider(metering);
  return {
    spans,
    readMetrics: async () => {
      const { resourceMetrics } = await reader.collect();
      return resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics);
    },
    stop: () => Promise.all([tracing.shutdown(), metering.shutdown()]),
  };
}

main();

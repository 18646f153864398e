'use strict';

// A service with spans, and with metrics for Prometheus: `instrument()` is all that redsync needs for that. The service
// locks, waits and loses a lock, then prints its spans and what Prometheus would get. grafana-dashboard.json shows
// these metrics, prometheus-alerts.yml watches them.

const { once } = require('node:events');
const http = require('node:http');

const { context, metrics, trace } = require('@opentelemetry/api');
const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks');
const { PrometheusExporter } = require('@opentelemetry/exporter-prometheus');
const { MeterProvider } = require('@opentelemetry/sdk-metrics');
const {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} = require('@opentelemetry/sdk-trace-base');

const { Redsync } = require('../index.js'); // 'redsync'
const { instrument } = require('../lib/opentelemetry.js'); // 'redsync/opentelemetry'
const { findNodes } = require('./nodes.js');

/** The SDK. Spans are kept in memory, where a service would export them. */
function startOpenTelemetry() {
  const spans = new InMemorySpanExporter();
  const tracing = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
  const prometheus = new PrometheusExporter({ preventServerStart: true }); // we have a server
  const metering = new MeterProvider({ readers: [prometheus] });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(tracing);
  metrics.setGlobalMeterProvider(metering);
  return {
    spans,
    prometheus,
    stop: () => Promise.all([tracing.shutdown(), metering.shutdown()]),
  };
}

/** One order: its lock is taken for others, who try once, or wait in vain. */
async function takeOrder(redsync) {
  await redsync.using('order:42', async (signal, lock) => {
    await redsync.newMutex('order:42').tryLock();
    await redsync.newMutex('order:42', { tries: 1 }).lock().catch(showCode);
    await lock.extend();
  });
}

/** Somebody else releases the lock while the work goes on. */
async function loseLock(redsync) {
  const lock = await redsync.acquire('report');
  const lost = new Promise((resolve) => lock.signal.addEventListener('abort', resolve));
  await redsync.newMutex('report', { value: lock.value }).unlock();
  await lost;
  showCode(lock.signal.reason);
  await lock.extend().catch(showCode);
}

function showCode({ code }) {
  console.log(`told: ${code}`);
}

function showSpan({ name, attributes, parentSpanContext }) {
  const outcome = attributes['lock.outcome'] ?? '-';
  console.log(`span ${name}: ${outcome}, ${parentSpanContext ? 'in a span' : 'root'}`);
}

async function main() {
  const { spans, prometheus, stop } = startOpenTelemetry();
  const stopInstrument = instrument();
  const server = http.createServer((request, response) =>
    prometheus.getMetricsRequestHandler(request, response),
  );
  await once(server.listen(process.env.PORT ?? 0), 'listening');
  const nodes = await findNodes();
  const redsync = new Redsync(nodes.urls, { keyPrefix: `example:${process.pid}:` });
  try {
    await trace.getTracer('shop').startActiveSpan('order', async (span) => {
      await takeOrder(redsync);
      span.end();
    });
    await loseLock(redsync);
    spans.getFinishedSpans().forEach(showSpan);
    const scraped = await fetch(`http://localhost:${server.address().port}/metrics`);
    console.log(await scraped.text());
  } finally {
    stopInstrument();
    await redsync.close();
    await nodes.stop();
    server.close();
    server.closeAllConnections();
    await stop();
  }
}

main();

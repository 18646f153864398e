'use strict';

// What redsync tells on its channels and counts, as spans and metrics of OpenTelemetry.

const diagnostics = require('node:diagnostics_channel');

const { SpanKind, SpanStatusCode, metrics, trace: tracing } = require('@opentelemetry/api');

const { serverOf } = require('./addresses.js');
const { RedsyncError, invalidType, typeError } = require('./errors.js');
const { EXTEND, LOCK, LOST, UNLOCK } = require('./events.js');
const { Redsync, isClosed } = require('./redsync.js');
const { version } = require('../package.json');

const SCOPE = 'redsync';

/** Seconds. A free lock takes a round trip or two, another holder may keep it for as long as he likes. */
const WAIT_BOUNDARIES = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];
const HOLD_BOUNDARIES = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800,
];

/** What is instrumented now: one Redsync each, or `undefined` for all of them. */
const targets = new Set();

function serverAttributes(address, port) {
  if (address === undefined) return {};
  return { 'server.address': address, ...(port === undefined ? {} : { 'server.port': port }) };
}

/** Of a trace whose call has ended: nothing if it went well. */
function errorAttributes(trace) {
  return 'error' in trace ? { 'error.type': errorType(trace.error) } : {};
}

/** Few different ones: codes of ours, else the name of a class. */
function errorType(error) {
  if (error instanceof RedsyncError) return error.code;
  return error instanceof Error ? error.name : '_OTHER';
}

/** The words of stats(). */
function outcomeOf(trace) {
  if (trace.acquired) return 'acquired';
  if (!('error' in trace) || trace.error?.code === 'ERR_LOCK_TAKEN') return 'taken';
  return trace.error instanceof RedsyncError ? 'failed' : 'aborted';
}

/** A span for each call of lock(). */
class Spans {
  #tracer = tracing.getTracer(SCOPE, version);
  #open = new Map();

  begin(trace) {
    const attributes = {
      'lock.name': trace.name,
      ...serverAttributes(trace.serverAddress, trace.serverPort),
    };
    // Internal: it waits for other holders, and asks several servers. As the span of a client, a long wait would
    // count as a slow server.
    this.#open.set(trace, this.#tracer.startSpan('lock', { kind: SpanKind.INTERNAL, attributes }));
  }

  end(trace) {
    const span = this.#open.get(trace);
    if (span === undefined) return; // it began before
    this.#open.delete(trace);
    span.setAttributes({ 'lock.outcome': outcomeOf(trace), ...errorAttributes(trace) });
    const { attempts, waits, votes } = trace;
    for (const [key, value] of Object.entries({ attempts, waits, votes })) {
      if (value !== undefined) span.setAttribute(`lock.${key}`, value);
    }
    if ('error' in trace) {
      // What it was aborted with may be anything.
      const error = trace.error instanceof Error ? trace.error : undefined;
      if (error !== undefined) span.recordException(error);
      span.setStatus({ code: SpanStatusCode.ERROR, message: error?.message });
    }
    span.end();
  }

  /** Of calls that are under way nothing more is told. */
  stop() {
    for (const span of this.#open.values()) span.end();
    this.#open.clear();
  }
}

/** What is recorded when something has happened. */
class Happenings {
  #wait;
  #hold;
  #extensions;
  #losses;

  constructor(meter) {
    this.#wait = meter.createHistogram('lock.wait.duration', {
      description: 'How long calls of lock() and tryLock() took.',
      unit: 's',
      advice: { explicitBucketBoundaries: WAIT_BOUNDARIES },
    });
    this.#hold = meter.createHistogram('lock.hold.duration', {
      description: 'How long locks were held, up to their release or their loss.',
      unit: 's',
      advice: { explicitBucketBoundaries: HOLD_BOUNDARIES },
    });
    this.#extensions = meter.createCounter('lock.extensions', {
      description: 'Calls of extend(). Those that autoExtend makes do not count.',
      unit: '{extension}',
    });
    this.#losses = meter.createCounter('lock.losses', {
      description: 'Locks that were lost while they were held.',
      unit: '{lock}',
    });
  }

  /** So that the first loss is seen as an increase. */
  meet(redsync) {
    this.#losses.add(0, serverAttributesOf(redsync.stats()));
  }

  locked(trace) {
    const outcome = { 'lock.outcome': outcomeOf(trace), ...this.#attributesOf(trace) };
    this.#wait.record(trace.duration / 1000, outcome);
  }

  unlocked(trace) {
    if (trace.heldFor === undefined) return;
    this.#hold.record(trace.heldFor / 1000, this.#attributesOf(trace));
  }

  extended(trace) {
    this.#extensions.add(1, this.#attributesOf(trace));
  }

  lost({ redsync, duration, error }) {
    const attributes = serverAttributesOf(redsync.stats());
    this.#losses.add(1, attributes);
    // NaN: another process had acquired it.
    if (duration >= 0) {
      this.#hold.record(duration / 1000, { ...attributes, 'error.type': error.code });
    }
  }

  #attributesOf(trace) {
    const { serverAddress, serverPort } = trace;
    return { ...serverAttributes(serverAddress, serverPort), ...errorAttributes(trace) };
  }
}

/** As a trace tells it. */
function serverAttributesOf({ nodes }) {
  const server = nodes.length === 1 ? serverOf(nodes[0].endpoint) : undefined;
  return serverAttributes(server?.address, server?.port);
}

/** What is, whenever somebody asks for it: of each Redsync that has been met and is not closed. */
class State {
  #met = new WeakSet();
  #redsyncs = new Set(); // weak references
  // What was told once is told on: an SDK keeps the last value of what is told no more.
  #sums = new Map(); // of what has the same attributes
  #nodes = new Map(); // 1 or 0, by their endpoints
  #meter;
  #observables;
  #observe = (result) => this.#tell(result);

  constructor(meter) {
    this.#meter = meter;
    const held = meter.createObservableUpDownCounter('lock.held', {
      description: 'Locks that are held now.',
      unit: '{lock}',
    });
    const waiting = meter.createObservableUpDownCounter('lock.waiting', {
      description: 'Calls of lock() and tryLock() that are under way now.',
      unit: '{call}',
    });
    const up = meter.createObservableGauge('lock.node.up', {
      description: '0 if the last call got no answer from the node, else 1.',
      unit: '{node}',
    });
    this.#observables = [held, waiting, up];
    meter.addBatchObservableCallback(this.#observe, this.#observables);
  }

  /** @returns {boolean} whether it is a new one */
  meet(redsync) {
    if (this.#met.has(redsync)) return false;
    this.#met.add(redsync);
    this.#redsyncs.add(new WeakRef(redsync));
    return true;
  }

  #tell(result) {
    for (const sum of this.#sums.values()) Object.assign(sum, { held: 0, waiting: 0 });
    for (const endpoint of this.#nodes.keys()) this.#nodes.set(endpoint, 1);
    for (const redsync of this.#open()) this.#add(redsync.stats());

    const [held, waiting, up] = this.#observables;
    for (const sum of this.#sums.values()) {
      result.observe(held, sum.held, sum.attributes);
      result.observe(waiting, sum.waiting, sum.attributes);
    }
    for (const [endpoint, value] of this.#nodes) {
      const server = serverOf(endpoint);
      const attributes = serverAttributes(server?.address, server?.port);
      result.observe(up, value, { 'lock.node.endpoint': endpoint, ...attributes });
    }
  }

  #add(stats) {
    const attributes = serverAttributesOf(stats);
    const key = JSON.stringify(attributes);
    const { held, waiting } = this.#sums.get(key) ?? { held: 0, waiting: 0 };
    const sum = { held: held + stats.held, waiting: waiting + stats.waiting };
    this.#sums.set(key, { attributes, ...sum });
    for (const { endpoint, status } of stats.nodes) {
      const isUp = status === 'up' && this.#nodes.get(endpoint) !== 0;
      this.#nodes.set(endpoint, isUp ? 1 : 0);
    }
  }

  *#open() {
    for (const reference of this.#redsyncs) {
      const redsync = reference.deref();
      if (redsync === undefined || isClosed(redsync)) this.#redsyncs.delete(reference);
      else yield redsync;
    }
  }

  stop() {
    this.#meter.removeBatchObservableCallback(this.#observe, this.#observables);
  }
}

function checkTarget(redsync) {
  if (redsync !== undefined && !(redsync instanceof Redsync)) {
    // A URL that lands here may have a password.
    throw invalidType('redsync', redsync, 'a Redsync, or undefined for all of them', true);
  }
  const isOneOfAll = targets.has(undefined) || (redsync === undefined && targets.size > 0);
  if (isOneOfAll || targets.has(redsync)) {
    throw typeError(
      'The "redsync" argument must not be instrumented twice, for all would count twice: call what the first ' +
        'instrument() returned, or let one call instrument all',
    );
  }
}

function instrument(redsync) {
  checkTarget(redsync);
  const meter = metrics.getMeter(SCOPE, version);
  const spans = new Spans();
  const happenings = new Happenings(meter);
  const state = new State(meter);
  const meet = ({ redsync }) => {
    if (state.meet(redsync)) happenings.meet(redsync);
  };
  if (redsync !== undefined) meet({ redsync });

  const listeners = [
    [LOCK.traced.start, meet],
    [LOCK.traced.start, (trace) => spans.begin(trace)],
    [LOCK.traced.asyncEnd, (trace) => spans.end(trace)],
    [LOCK.traced.asyncEnd, (trace) => happenings.locked(trace)],
    [UNLOCK.traced.start, meet],
    [UNLOCK.traced.asyncEnd, (trace) => happenings.unlocked(trace)],
    [EXTEND.traced.start, meet],
    [EXTEND.traced.asyncEnd, (trace) => happenings.extended(trace)],
    [LOST, (message) => happenings.lost(message)],
  ].map(([{ name }, hear]) => {
    const isMeant = (message) => redsync === undefined || message.redsync === redsync;
    return [name, (message) => isMeant(message) && hear(message)];
  });
  for (const [name, hear] of listeners) diagnostics.subscribe(name, hear);
  targets.add(redsync);

  let isStopped = false;
  return () => {
    if (isStopped) return;
    isStopped = true;
    targets.delete(redsync);
    for (const [name, hear] of listeners) diagnostics.unsubscribe(name, hear);
    spans.stop();
    state.stop();
  };
}

module.exports = { instrument };

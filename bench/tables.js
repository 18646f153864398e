'use strict';

// The figures as Markdown tables.

const { render } = require('../tools/tables.js');
const { CONTENDERS } = require('./contenders.js');
const { summary } = require('./statistics.js');

const UNKNOWN = '–';
const TITLES = Object.fromEntries(CONTENDERS.map(({ id, title }) => [id, title]));

/** Three digits are enough: the next one changes from run to run. */
function number(value) {
  if (value >= 99_950) return `${Math.round(value / 1000)}k`;
  if (value >= 9995) return `${(value / 1000).toFixed(1)}k`;
  if (value >= 99.95) return String(Math.round(value));
  return value.toFixed(value >= 9.995 ? 1 : 2);
}

/** Median (smallest–largest). */
function figure(values) {
  const known = summary(values);
  if (!known) return UNKNOWN;
  return `${number(known.median)} (${number(known.min)}–${number(known.max)})`;
}

function median(results, id, metric) {
  const rounds = results[id];
  return rounds ? summary(rounds.map((round) => round[metric]))?.median : undefined;
}

/** How many times the figure of another contender. */
function ratio(results, id, other, metric) {
  const [own, others] = [median(results, id, metric), median(results, other, metric)];
  if (!own || !others) return UNKNOWN;
  const times = own / others;
  return `${times.toFixed(times < 0.1 ? 3 : 2)}×`;
}

function column(title, metric) {
  return { title, cell: (results, id) => figure(results[id].map((round) => round[metric])) };
}

function comparison(title, other, metric) {
  return { title, cell: (results, id) => ratio(results, id, other, metric) };
}

const LATENCY = [
  column('p50, µs', 'p50'),
  column('p99, µs', 'p99'),
  comparison('p50 / node-redlock', 'redlock', 'p50'),
  comparison('p50 / ioredis', 'ioredis', 'p50'),
];
const THROUGHPUT = [
  column('cycles/s', 'rate'),
  comparison('/ node-redlock', 'redlock', 'rate'),
  comparison('/ ioredis', 'ioredis', 'rate'),
  comparison('/ Rust', 'rust', 'rate'),
];
const PROCESSOR = [
  column('JavaScript thread, µs', 'threadCpu'),
  column('process, µs', 'processCpu'),
  column('servers, µs', 'serverCpu'),
];

function pointTitle({ nodes, inFlight }) {
  const load = inFlight === 1 ? 'one at a time' : `${inFlight} at once`;
  return `${nodes} ${nodes === 1 ? 'node' : 'nodes'}, ${load}`;
}

/** All that was measured under one condition. */
function pointTable({ inFlight, results }) {
  const columns = [...(inFlight === 1 ? LATENCY : THROUGHPUT), ...PROCESSOR];
  return render(
    ['', ...columns.map(({ title }) => title)],
    Object.keys(results).map((id) => [TITLES[id], ...columns.map(({ cell }) => cell(results, id))]),
  );
}

/** A figure for each condition, with what it is of node-redlock's. */
function summaryTable(points) {
  const columns = points.flatMap(({ inFlight, results }) => {
    const condition = inFlight === 1 ? 'one at a time' : `${inFlight} at once`;
    const metrics = inFlight === 1 ? [['p50, µs', 'p50']] : [['cycles/s', 'rate']];
    if (inFlight === 512) metrics.push(['JavaScript thread, µs per cycle', 'threadCpu']);
    return metrics.map(([unit, metric]) => ({
      title: `${condition}: ${unit}`,
      cell: (id) => overview(results, id, metric),
    }));
  });
  const ids = Object.keys(points[0].results);
  return render(
    ['', ...columns.map(({ title }) => title)],
    ids.map((id) => [TITLES[id], ...columns.map(({ cell }) => cell(id))]),
  );
}

function overview(results, id, metric) {
  const value = median(results, id, metric);
  if (value === undefined) return UNKNOWN;
  const times = ratio(results, id, 'redlock', metric);
  return times === UNKNOWN ? number(value) : `${number(value)} (${times})`;
}

module.exports = { TITLES, figure, number, pointTable, pointTitle, summaryTable };

'use strict';

// The dashboard and the alerts ask for metrics, labels and values that the example really exports: it is run on real
// servers, and what Prometheus would get is compared with every query. Prometheus itself, as promtool, reads every query
// and plays the alerts.

const childProcess = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');

const { parser } = require('@prometheus-io/lezer-promql');
const test = require('ava');
const { parse, stringify } = require('yaml');

const { findPromtool } = require('../tools/promtool.js');
const { useServers } = require('./helpers/servers.js');

const EXAMPLES = path.join(__dirname, '..', 'examples');
const TIMEOUT = 60_000;

const execFile = promisify(childProcess.execFile);

/** Labels that Prometheus gives to what it scrapes. */
const SCRAPED = ['job', 'instance'];

function read(name) {
  return fs.readFileSync(path.join(EXAMPLES, name), 'utf8');
}

/** The queries of the dashboard, with a value for each of its variables. */
function dashboardQueries() {
  const { panels } = JSON.parse(read('grafana-dashboard.json'));
  return panels.flatMap(({ targets }) =>
    targets.map(({ expr }) => expr.replaceAll('$__rate_interval', '1m')),
  );
}

function alertQueries() {
  const { groups } = parse(read('prometheus-alerts.yml'));
  return groups.flatMap(({ rules }) => rules.map(({ expr }) => expr));
}

/** All parts of a query, as [kind, text]. */
function partsOf(query) {
  const parts = [];
  parser.parse(query).iterate({
    enter({ name, from, to }) {
      parts.push([name, query.slice(from, to)]);
    },
  });
  return parts;
}

function textsOf(query, kind) {
  return partsOf(query)
    .filter(([name]) => name === kind)
    .map(([, text]) => text);
}

/** The labels and the values that a query asks for. */
function matchersOf(query) {
  return textsOf(query, 'UnquotedLabelMatcher').map((text) => {
    const [, label, value] = /^(\w+)\s*(?:=|!=|=~|!~)\s*"(.*)"$/.exec(text);
    return { label, value };
  });
}

/** What was scraped: the labels of each series, by its name. */
function seriesOf(lines) {
  const series = new Map();
  for (const line of lines) {
    const [, name, list] = /^(\w+)(?:\{(.*)\})? \S+$/.exec(line) ?? [];
    if (name === undefined) continue;
    const labels = [...(list ?? '').matchAll(/(\w+)="([^"]*)"/g)].map(([, label]) => label);
    series.set(name, new Set([...(series.get(name) ?? []), ...labels]));
  }
  return series;
}

test('every query asks for what the example exports', async (t) => {
  const servers = await useServers(t, 3);
  const REDIS_URLS = servers.map(({ url }) => url).join(',');
  const { stdout } = await execFile(process.execPath, [path.join(EXAMPLES, 'opentelemetry.js')], {
    env: { ...process.env, REDIS_URLS },
    timeout: TIMEOUT,
  });
  const series = seriesOf(stdout.split('\n'));
  t.true(series.size >= 10, [...series.keys()].join());

  const queries = [...dashboardQueries(), ...alertQueries()];
  t.true(queries.length >= 15, `${queries.length}`);
  const asked = new Set();
  for (const query of queries) {
    t.deepEqual(textsOf(query, '⚠'), [], query);
    const names = textsOf(query, 'Identifier');
    t.true(names.length > 0, query);
    for (const name of names) {
      asked.add(name);
      t.true(series.has(name), `${name} of ${query}`);
      for (const label of textsOf(query, 'LabelName')) {
        t.true(SCRAPED.includes(label) || series.get(name).has(label), `${label} of ${query}`);
      }
    }
  }
  // Nothing that redsync measures is shown nowhere.
  const measured = [...series.keys()]
    .filter((name) => name.startsWith('lock_'))
    .map((name) => name.replace(/_(bucket|count|sum)$/, ''));
  const shown = [...asked].map((name) => name.replace(/_(bucket|count|sum)$/, ''));
  t.deepEqual([...new Set(shown)].sort(), [...new Set(measured)].sort());
});

test('every value that a query asks for is one that there is', (t) => {
  const outcomes = ['acquired', 'taken', 'failed', 'aborted'];
  const values = { lock_outcome: outcomes, error_type: errorCodes() };
  let found = 0;
  for (const query of [...dashboardQueries(), ...alertQueries()]) {
    for (const { label, value } of matchersOf(query)) {
      if (SCRAPED.includes(label) || value === '') continue;
      found++;
      t.true(values[label].includes(value), `${label}="${value}"`);
    }
  }
  t.true(found >= 5, `${found}`);
});

/** The codes of the errors of redsync, as their source has them. */
function errorCodes() {
  const source = fs.readFileSync(path.join(__dirname, '..', 'lib', 'errors.js'), 'utf8');
  return [...source.matchAll(/'(ERR_\w+)'/g)].map(([, code]) => code);
}

test('the dashboard lets its reader choose where the data is, and what to look at', (t) => {
  const { templating, panels } = JSON.parse(read('grafana-dashboard.json'));
  const variables = templating.list.map(({ name }) => name);
  t.deepEqual(variables, ['datasource', 'job']);
  t.is(new Set(panels.map(({ id }) => id)).size, panels.length);
  for (const { targets, datasource } of panels) {
    t.is(datasource.uid, '${datasource}');
    for (const { expr } of targets) t.regex(expr, /job=~"\$job"/);
  }
  const [, metric] = /^label_values\((\w+), job\)$/.exec(templating.list[1].query.query);
  t.true(dashboardQueries().some((query) => textsOf(query, 'Identifier').includes(metric)));
});

test('every alert says how bad it is, and what to do', (t) => {
  const { groups } = parse(read('prometheus-alerts.yml'));
  for (const { rules } of groups) {
    for (const { alert, labels, annotations } of rules) {
      t.regex(alert, /^Lock\w+$/);
      t.true(['critical', 'warning'].includes(labels.severity), alert);
      t.true(annotations.summary.length > 0 && annotations.description.length > 0, alert);
    }
  }
});

const promtool = findPromtool();
const testByPrometheus = promtool
  ? test
  : (title, run) => test.skip(`${title} (not tried: no promtool, which npm test fetches)`, run);

/** Rejects with what promtool has found. */
async function runPromtool(...args) {
  try {
    return (await execFile(promtool, args, { cwd: EXAMPLES, timeout: TIMEOUT })).stdout;
  } catch (error) {
    const told = `${error.stdout}${error.stderr}`;
    throw new Error(`promtool ${args[0]} ${args[1]}:\n${told}`, { cause: error });
  }
}

testByPrometheus('Prometheus can read the alerts, and every query of the dashboard', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'redsync-rules-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true }));
  const rules = dashboardQueries().map((expr, i) => ({ record: `panel:query:${i}`, expr }));
  const file = path.join(folder, 'dashboard.yml');
  fs.writeFileSync(file, stringify({ groups: [{ name: 'dashboard', rules }] }));
  const told = await runPromtool('check', 'rules', 'prometheus-alerts.yml', file);
  const counts = [...told.matchAll(/SUCCESS: (\d+) rules found/g)].map(([, count]) =>
    Number(count),
  );
  t.deepEqual(counts, [alertQueries().length, rules.length]);
});

testByPrometheus('every alert fires when it should', async (t) => {
  t.regex(await runPromtool('test', 'rules', 'prometheus-alerts.test.yml'), /SUCCESS/);
});

test('of every alert it is tested when it fires, and when it is silent', (t) => {
  const { groups } = parse(read('prometheus-alerts.yml'));
  const { tests } = parse(read('prometheus-alerts.test.yml'));
  const tried = tests.flatMap(({ alert_rule_test: each }) => each);
  for (const { alert } of groups.flatMap(({ rules }) => rules)) {
    const expected = tried.filter(({ alertname }) => alertname === alert);
    const firing = expected.filter(({ exp_alerts: alerts = [] }) => alerts.length > 0);
    t.true(firing.length > 0 && firing.length < expected.length, alert);
  }
});

'use strict';

// Bar charts as SVG: the bar is the median, the line across its end goes from min to max. They
// follow the reader's colour scheme, also inside an <img>.

const { CONTENDERS } = require('./contenders.js');
const { summary } = require('./statistics.js');
const { TITLES, number } = require('./tables.js');

const WIDTH = 760;
const LABELS = 210; // left of the bars
const VALUES = 80; // right of them
const BAR = 18;
const ROW = 24;
const GROUP = 34;
const HEAD = 62;

const LIMITS = new Set(CONTENDERS.filter(({ isRust }) => isRust).map(({ id }) => id));

const STYLE = `
    text { font: 13px system-ui, sans-serif; fill: #24292f; }
    .title { font-size: 16px; font-weight: 600; }
    .note, .value { fill: #57606a; }
    .group { font-weight: 600; }
    .own { fill: #c2410c; }
    .other { fill: #8b98a9; }
    .limit { fill: #c8d1dc; }
    .range { stroke: #24292f; stroke-width: 1.5; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .note, .value { fill: #9aa5b1; }
      .own { fill: #f97316; }
      .other { fill: #6e7b8b; }
      .limit { fill: #3d4754; }
      .range { stroke: #e6edf3; }
    }`;

function kind(id) {
  if (id.startsWith('redsync')) return 'own';
  return LIMITS.has(id) ? 'limit' : 'other';
}

function escape(text) {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

/** The bars of one condition: those contenders of which the figure is known. */
function group(label, { results }, metric) {
  const bars = Object.entries(results).flatMap(([id, rounds]) => {
    const figure = summary(rounds.map((round) => round[metric]));
    return figure ? [{ id, ...figure }] : [];
  });
  return { label, bars };
}

function bar({ id, median, min, max }, y, scale) {
  const middle = y + BAR / 2;
  const end = (value) => (LABELS + value * scale).toFixed(1);
  return `
  <text x="${LABELS - 10}" y="${middle + 4}" text-anchor="end">${escape(TITLES[id])}</text>
  <rect class="${kind(id)}" x="${LABELS}" y="${y}" width="${(median * scale).toFixed(1)}"
    height="${BAR}" rx="2"/>
  <line class="range" x1="${end(min)}" x2="${end(max)}" y1="${middle}" y2="${middle}"/>
  <text class="value" x="${Number(end(max)) + 8}" y="${middle + 4}">${number(median)}</text>`;
}

function draw({ title, note, groups }) {
  const longest = Math.max(...groups.flatMap(({ bars }) => bars.map(({ max }) => max)));
  const scale = (WIDTH - LABELS - VALUES) / longest;
  let y = HEAD;
  let body = '';
  for (const { label, bars } of groups) {
    body += `\n  <text class="group" x="${LABELS}" y="${y + 14}">${escape(label)}</text>`;
    y += ROW;
    for (const one of bars) {
      body += bar(one, y, scale);
      y += ROW;
    }
    y += GROUP - ROW;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" role="img"
  aria-label="${escape(title)}">
  <style>${STYLE}
  </style>
  <text class="title" x="10" y="24">${escape(title)}</text>
  <text class="note" x="10" y="44">${escape(note)}</text>${body}
</svg>
`;
}

function nodesLabel(nodes) {
  return `${nodes} ${nodes === 1 ? 'node' : 'nodes'}`;
}

/** Three nodes are the usual number; without them, the largest. */
function usualNodes(points) {
  const counts = points.map(({ nodes }) => nodes);
  return counts.includes(3) ? 3 : Math.max(...counts);
}

/** The charts of a run: { file, title, svg } each, the file relative to docs/. */
function drawCharts(points) {
  const nodes = usualNodes(points);
  const usual = points.filter((point) => point.nodes === nodes);
  const at = (inFlight) => usual.find((point) => point.inFlight === inFlight);
  const alone = points.filter(({ inFlight }) => inFlight === 1);
  return [
    {
      file: 'img/throughput.svg',
      title: `Lock+unlock cycles per second, ${nodesLabel(nodes)}`,
      note: 'Median, and a line from the slowest to the fastest round. Longer is better.',
      groups: [64, 512].map((count) => group(`${count} at once`, at(count), 'rate')),
    },
    {
      file: 'img/latency.svg',
      title: 'Microseconds for a lock+unlock cycle, one at a time (p50)',
      note: 'Median of the rounds, and a line from the lowest to the highest. Shorter is better.',
      groups: alone.map((point) => group(nodesLabel(point.nodes), point, 'p50')),
    },
    {
      file: 'img/cpu.svg',
      title: 'Microseconds of the JavaScript thread per lock+unlock cycle',
      note: `${nodesLabel(nodes)}. What the event loop has less for other work. Shorter is better.`,
      groups: [64, 512].map((count) => group(`${count} at once`, at(count), 'threadCpu')),
    },
  ]
    .filter(({ groups }) => groups.some(({ bars }) => bars.length > 0))
    .map((chart) => ({ ...chart, svg: draw(chart) }));
}

module.exports = { drawCharts, usualNodes };

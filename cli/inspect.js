'use strict';

const { ownerOf } = require('../lib/owner.js');
const { permitKey } = require('../lib/permits.js');
const { Redsync } = require('../lib/redsync.js');
const { tokenOf } = require('../lib/token.js');
const { READERS } = require('../lib/values.js');
const { EXIT } = require('./exit-codes.js');
const { left, quoted, shown, table } = require('./table.js');
const { milliseconds, permitCount } = require('./usage.js');

/** Shows node by node who holds a lock. */
async function inspect({ name, nodes, prefix, json, ...usage }) {
  const timeout = milliseconds('--timeout', usage.timeout, 1);
  const permits = permitCount(usage.permits);
  const redsync = new Redsync(nodes, { keyPrefix: prefix });
  const key = (prefix ?? '') + name;
  try {
    const found = await redsync.inspect(name, { timeout, permits });
    const each = Array.from({ length: permits ?? 1 }, (_, i) => {
      const own = found.slice(i * redsync.size, (i + 1) * redsync.size);
      return {
        ...(permits !== undefined && { permit: i + 1 }),
        key: permitKey(key, i + 1),
        found: own,
        verdict: judge(own, redsync.quorum),
      };
    });
    process.stdout.write(json ? asJson(name, each) : asText(key, each, redsync));
    const isKnown = each.every(({ verdict }) => verdict.status !== 'unknown');
    return isKnown ? EXIT.OK : EXIT.FAILED;
  } finally {
    await redsync.close();
  }
}

/** What the nodes say together. */
function judge(found, quorum) {
  const votes = new Map();
  for (const { status, value } of found) {
    if (status === 'held') votes.set(value, (votes.get(value) ?? 0) + 1);
  }
  const [value, count = 0] = [...votes].sort(([, one], [, other]) => other - one)[0] ?? [];
  if (count >= quorum) {
    return { status: 'held', value, ...ownerOf(value), token: tokenOf(value), votes: count };
  }
  const answered = found.filter(({ status }) => status !== 'unknown').length;
  const free = found.filter(({ status }) => status === 'free').length;
  if (answered < quorum) return { status: 'unknown', votes: answered };
  return free >= quorum ? { status: 'free', votes: free } : { status: 'undecided', votes: count };
}

/** Of permits those that are not free, and how many of all are held. */
function asText(key, each, redsync) {
  const parts = each
    .filter(({ permit, verdict }) => permit === undefined || verdict.status !== 'free')
    .map((each) => {
      const title = each.permit === undefined ? '' : `permit ${each.permit}, `;
      const verdict = sentence(each.verdict, redsync);
      return `${asTable(each.found)}\n\n${title}key ${quoted(each.key)}: ${verdict}${doubt(each.found)}\n`;
    });
  if (each[0].permit !== undefined) {
    const held = each.filter(({ verdict }) => verdict.status === 'held');
    parts.push(`${held.length} of ${each.length} permits of key ${quoted(key)} are held\n`);
  }
  return parts.join('\n');
}

const OPTIONAL = [
  ['TOKEN', ({ value = '' }) => tokenOf(value)],
  ['OWNER', ({ owner }) => owner],
  ['SINCE', ({ since }) => since?.toISOString()],
];

function asTable(found) {
  // What not every value has has a column if one of these has it.
  const columns = OPTIONAL.filter(([, show]) => found.some((node) => show(node) !== undefined));
  const rows = [
    ['NODE', 'ENDPOINT', 'STATUS', 'REMAINING', ...columns.map(([title]) => title), 'VALUE'],
  ];
  for (const each of found) {
    const { node, endpoint, status, remaining, value, error } = each;
    const own = columns.map(([, show]) => `${show(each) ?? ''}`);
    const last = error === undefined ? shown(value) : reason(error);
    rows.push([`${node}`, endpoint, status, left(remaining), ...own, last]);
  }
  return table(rows).join('\n');
}

function sentence({ status, value, owner = shown(value), votes }, { size, quorum }) {
  const share = `${votes} of ${size} nodes`;
  return {
    held: `held by ${value === READERS ? 'readers' : owner} on ${share}`,
    free: `free on ${share}`,
    undecided: `undecided: nobody holds it on ${quorum} of ${size} nodes`,
    unknown: `unknown: ${share} answered, ${quorum} are needed`,
  }[status];
}

/** Every lock expires. */
function doubt(found) {
  const endless = found.filter(({ remaining }) => remaining === Infinity).map(({ node }) => node);
  return endless.length === 0
    ? ''
    : `; without an expiry on node ${endless.join(', ')}: not a lock?`;
}

function reason({ cause }) {
  return `${cause.message} (${cause.code})`;
}

function asJson(name, each) {
  const [first] = each;
  const all = each.map(({ found, verdict, permit, key }) => ({
    permit,
    key,
    ...verdict,
    nodes: found.map(plain),
  }));
  const shown = first.permit === undefined ? { name, ...all[0] } : { name, permits: all };
  return `${JSON.stringify(shown, undefined, 2)}\n`;
}

function plain({ error, remaining, permit, ...node }) {
  return {
    ...node,
    token: tokenOf(node.value ?? ''),
    // JSON has no Infinity.
    ...(remaining !== undefined && { remaining: remaining === Infinity ? null : remaining }),
    ...(error !== undefined && { error: reason(error) }),
  };
}

module.exports = { inspect };

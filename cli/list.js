'use strict';

const { Redsync } = require('../lib/redsync.js');
const { EXIT } = require('./exit-codes.js');
const { left, shown, table } = require('./table.js');
const { milliseconds, whole } = require('./usage.js');

/** Shows the names that are locked now, and by whom. */
async function list({ name: pattern, nodes, prefix, json, ...usage }) {
  const options = readOptions(usage);
  const redsync = new Redsync(nodes, { keyPrefix: prefix });
  try {
    const names = await redsync.list(pattern, options);
    process.stdout.write(json ? asJson(names) : `${asLines(names, Date.now()).join('\n')}\n`);
    return EXIT.OK;
  } finally {
    await redsync.close();
  }
}

/** @returns {{ timeout?: number, limit?: number }} */
function readOptions(usage) {
  return {
    timeout: milliseconds('--timeout', usage.timeout, 1),
    limit: whole('--limit', usage.limit, 1, 10_000),
  };
}

const TITLES = ['NAME', 'KIND', 'OWNER', 'HELD', 'REMAINING', 'NODES'];

/** A line for each owner, and what is to be said of them all. */
function asLines(names, now) {
  const rows = names.flatMap(({ name, kind, owners }) =>
    owners.map(({ owner, since, remaining, nodes }) => [
      shown(name),
      kind,
      owner ?? '',
      since === undefined ? '' : forHowLong(now - since.getTime()),
      left(remaining),
      nodes.join(','),
    ]),
  );
  const lines = rows.length === 0 ? [] : [...table([TITLES, ...rows]), ''];
  return [...lines, sentence(names)];
}

/** Clocks differ: what is held since a moment that is still to come is held for no time. */
function forHowLong(milliseconds) {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 100) return `${seconds.toFixed(1)} s`;
  if (seconds < 6000) return `${Math.floor(seconds / 60)} min`;
  return seconds < 360_000
    ? `${Math.floor(seconds / 3600)} h`
    : `${Math.floor(seconds / 86_400)} d`;
}

const MORE = {
  limit: 'more are: give a PATTERN or a greater --limit',
  time: 'there may be more: there was no time to look at all; give a PATTERN or a longer --timeout',
  size: 'there may be more: there are too many keys to look at; give a PATTERN',
  nodes: 'there may be more: too few nodes have told of all',
};

function sentence({ length, incomplete }) {
  const count = length === 1 ? '1 name is locked' : `${length || 'no'} names are locked`;
  return incomplete === undefined ? count : `${count}; ${MORE[incomplete]}`;
}

function asJson(names) {
  const { incomplete } = names;
  const plain = names.map(({ owners, ...name }) => ({ ...name, owners: owners.map(plainOwner) }));
  return `${JSON.stringify({ names: plain, incomplete }, undefined, 2)}\n`;
}

/** JSON has no Infinity. */
function plainOwner({ remaining, ...owner }) {
  return { ...owner, remaining: remaining === Infinity ? null : remaining };
}

module.exports = { asLines, list, readOptions };

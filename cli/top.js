'use strict';

const { setTimeout: delay } = require('node:timers/promises');

const { RedsyncError } = require('../lib/errors.js');
const { Redsync } = require('../lib/redsync.js');
const { EXIT } = require('./exit-codes.js');
const { asLines, list, readOptions } = require('./list.js');
const { milliseconds } = require('./usage.js');

const INTERVAL = 2000;

/** Of a terminal that does not tell how large it is, or that it has no size at all. */
const ROWS = 24;
const COLUMNS = 80;

const HOME = '\x1b[H';
const END_OF_LINE = '\x1b[K';
const END_OF_SCREEN = '\x1b[J';

/** What ends it: nothing is amiss then. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** Shows on a terminal, again and again, what `list` shows once. */
async function top(usage, output = process.stdout) {
  const { name: pattern, nodes, prefix } = usage;
  const interval = milliseconds('--interval', usage.interval, 100) ?? INTERVAL;
  const options = readOptions(usage);
  if (!output.isTTY) return list(usage);
  const stop = new AbortController();
  const end = () => stop.abort();
  for (const signal of SIGNALS) process.once(signal, end);
  const redsync = new Redsync(nodes, { keyPrefix: prefix });
  try {
    for (;;) {
      const lines = await look(redsync, pattern, { ...options, signal: stop.signal });
      output.write(screen(redsync, lines, output));
      await delay(interval, undefined, { signal: stop.signal });
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    return EXIT.OK;
  } finally {
    for (const signal of SIGNALS) process.off(signal, end);
    await redsync.close();
  }
}

/** Nodes that are down now may be up the next time. */
async function look(redsync, pattern, options) {
  try {
    return asLines(await redsync.list(pattern, options), Date.now());
  } catch (error) {
    if (error instanceof RedsyncError) return [error.message];
    throw error;
  }
}

/** Of what is longer than the screen the beginning, and what is said at the end. */
function screen({ size }, lines, { rows, columns }) {
  const title = `${new Date().toISOString()}  ${size} ${size === 1 ? 'node' : 'nodes'}`;
  const room = Math.max(1, (rows || ROWS) - 3);
  const fitting = lines.length > room ? [...lines.slice(0, room - 1), lines.at(-1)] : lines;
  const width = (columns || COLUMNS) - 1;
  const all = [title, '', ...fitting].map((line) => `${line.slice(0, width)}${END_OF_LINE}\n`);
  return `${HOME}${all.join('')}${END_OF_SCREEN}`;
}

module.exports = { top };

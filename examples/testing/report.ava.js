'use strict';

// npx ava --config examples/testing/ava.config.js

const { once } = require('node:events');

const test = require('ava');

const { Redsync } = require('redsync');
const { newClock } = require('redsync/testing');
const { writeReport } = require('./report.js');

test.beforeEach((t) => {
  t.context.clock = newClock();
  t.context.redsync = new Redsync(t.context.clock.nodes());
});

test.afterEach.always((t) => t.context.redsync.close());

test('one at a time writes the report', async (t) => {
  const { redsync } = t.context;
  t.is(await writeReport(redsync, () => {}), 'written');
  const results = await Promise.all([1, 2, 3].map(() => writeReport(redsync, () => {})));
  t.is(results.filter((result) => result === 'written').length, 1);
});

test('who is too slow is told, and another may write', async (t) => {
  const { clock, redsync } = t.context;
  const slow = writeReport(redsync, async (signal) => {
    await once(signal, 'abort');
    signal.throwIfAborted();
  });
  t.is(await writeReport(redsync, () => {}), 'somebody else is at it');
  await clock.advance(10_000);
  t.is(await slow, 'too slow');
  t.is(await writeReport(redsync, () => {}), 'written');
});

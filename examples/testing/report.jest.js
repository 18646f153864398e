'use strict';

// npx jest --rootDir examples/testing --testMatch '**/*.jest.js'

const { once } = require('node:events');

const { Redsync } = require('redsync');
const { newClock } = require('redsync/testing');
const { writeReport } = require('./report.js');

describe('writeReport', () => {
  let clock;
  let redsync;

  beforeEach(() => {
    clock = newClock();
    redsync = new Redsync(clock.nodes());
  });

  afterEach(() => redsync.close());

  test('one at a time writes the report', async () => {
    expect(await writeReport(redsync, () => {})).toBe('written');
    const results = await Promise.all([1, 2, 3].map(() => writeReport(redsync, () => {})));
    expect(results.filter((result) => result === 'written')).toHaveLength(1);
  });

  test('who is too slow is told, and another may write', async () => {
    const slow = writeReport(redsync, async (signal) => {
      await once(signal, 'abort');
      signal.throwIfAborted();
    });
    expect(await writeReport(redsync, () => {})).toBe('somebody else is at it');
    await clock.advance(10_000);
    expect(await slow).toBe('too slow');
    expect(await writeReport(redsync, () => {})).toBe('written');
  });

  test("jest's own timers may be fake: redsync does not use them", async () => {
    jest.useFakeTimers();
    try {
      expect(await writeReport(redsync, () => {})).toBe('written');
      await clock.advance(10_000);
    } finally {
      jest.useRealTimers();
    }
  });
});

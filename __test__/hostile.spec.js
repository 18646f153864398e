'use strict';

const test = require('ava');

const { attack } = require('./helpers/hostile.js');

// `npm run hostile` makes a million.
const CALLS = 20_000;

test('hostile arguments get a clear error: no crash, no hang, no conversion', async (t) => {
  const { accepted, refused } = await attack(CALLS);
  t.is(accepted + refused, CALLS);
  t.true(refused > CALLS / 4, `${refused} were refused`);
  t.true(accepted > 0, `${accepted} were fine after all`);
});

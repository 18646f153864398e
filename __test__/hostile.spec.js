'use strict';

const test = require('ava');

const { Redsync } = require('../index.js');
const { attack, withPollution } = require('./helpers/hostile.js');
const { useServers } = require('./helpers/servers.js');

// `npm run hostile` makes a million.
const CALLS = 20_000;

test('hostile arguments get a clear error: no crash, no hang, no conversion', async (t) => {
  const { accepted, refused } = await attack(CALLS);
  t.is(accepted + refused, CALLS);
  t.true(refused > CALLS / 4, `${refused} were refused`);
  t.true(accepted > 0, `${accepted} were fine after all`);
});

test('a polluted prototype says nothing of where a node is and how to get in', async (t) => {
  const [server] = await useServers(t, 1);
  const fields = [
    'name',
    'clock',
    'ahead',
    'host',
    'port',
    'path',
    'seeds',
    'masterName',
    'username',
    'password',
    'sentinelUsername',
    'sentinelPassword',
    'db',
    'connectTimeout',
    'clientName',
    'tls',
    'ca',
    'cert',
    'key',
    'servername',
    'asksUptime',
  ];
  for (const field of fields) {
    for (const nodes of ['memory:', server.url]) {
      const redsync = new Redsync(nodes, { tries: 1 });
      const locking = withPollution([field, () => 'polluted'], () =>
        redsync.newMutex(field).lock(),
      );
      const lock = await locking;
      t.true(await lock.unlock(), `${field} of ${nodes}`);
      await redsync.close();
    }
  }
});

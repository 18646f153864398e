'use strict';

const test = require('ava');

const { useServers } = require('../__test__/helpers/servers.js');
const { exclude, testPairing } = require('./pairing.js');
const { useParty } = require('./party.js');

testPairing(test, 'redsync', 'go-redsync');
testPairing(test, 'fenced', 'go-redsync');
testPairing(test, 'drop-in', 'go-redsync');

test.serial('everybody at once, on 3 servers', async (t) => {
  const servers = await useServers(t, 3);
  const libraries = ['redsync', 'drop-in', 'go-redsync', 'redlock', 'redis-semaphore'];
  await exclude(
    t,
    libraries.map((library) => useParty(t, library, servers)),
    servers,
  );
});

test.serial(
  'fenced holders of two processes, and plain ones between them, on 3 servers',
  async (t) => {
    const servers = await useServers(t, 3);
    const libraries = ['fenced', 'fenced', 'redsync', 'go-redsync', 'redlock'];
    await exclude(
      t,
      libraries.map((library) => useParty(t, library, servers)),
      servers,
    );
  },
);

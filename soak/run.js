'use strict';

// `npm run soak`: see HELP.

const { spawnSync } = require('node:child_process');
const path = require('node:path');

const { count, readOptions } = require('../tools/command-line.js');
const { SetupError, build, install, main, requireRedisServer } = require('../tools/setup.js');
const { apart } = require('./apart.js');
const { prepareHistory } = require('./history.js');

const MINUTES = 10;
const HELP = `Usage: npm run soak -- [options]

Processes take mutexes, semaphores, and locks to read and to write on redis-servers while both are killed and stopped,
the servers have no memory or disk left, and the network between them fails. Ends with an error if more ever held one lock
than may, the history of a lock is not linearizable, a call got stuck, a key is left, or a store that compares fencing
tokens refused who held the lock.

Where Linux allows it (unshare, as root or not) and ip and nft are there, the soak runs in a network of its own that loses
packets, and on disks of its own that get full. Elsewhere these faults are left out.

  --minutes N  (default ${MINUTES})
  --network    ends with an error where there is no network of its own
  --help       prints this
`;

main(() => {
  const { help, minutes, network } = readOptions(process.argv.slice(2), {
    minutes: { type: 'string', default: `${MINUTES}` },
    network: { type: 'boolean', default: false },
  });
  if (help) return console.log(HELP);
  count(minutes, '--minutes');
  const beginning = apart();
  if (!beginning && network) {
    throw new SetupError('this system gives no network of its own; it takes unshare, ip and nft');
  }
  install();
  build();
  requireRedisServer();
  prepareHistory(); // which may ask the network that is not there any more behind this
  const [command, ...args] = [
    ...(beginning ?? []),
    process.execPath,
    path.join(__dirname, 'soak.js'),
    minutes,
    ...(beginning ? ['apart'] : []),
  ];
  process.exitCode = spawnSync(command, args, { stdio: 'inherit' }).status ?? 1;
});

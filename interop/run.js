'use strict';

// One lock across languages and libraries: `npm run test:interop -- [--seconds N] [--if-found]`.
// `--seconds` is how long two libraries contend in each test, `--if-found` leaves out what needs Go
// where there is none, instead of installing it.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const { parseArgs } = require('node:util');

const setup = require('../tools/setup.js');
const { prepare } = require('./prepare.js');

setup.main(() => {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '20' },
      'if-found': { type: 'boolean', default: false },
    },
  });
  if (!(Number(values.seconds) > 0)) {
    throw new setup.SetupError(`--seconds must be a number greater than 0, not ${values.seconds}`);
  }
  const hasGo = prepare({ installGo: !values['if-found'] });
  if (!hasGo) setup.announce('go-redsync: left out, Go was not found (https://go.dev/dl)');
  const specs = fs
    .readdirSync(__dirname)
    .filter((name) => name.endsWith('.spec.js') && (hasGo || !name.startsWith('go-')));
  const { status } = spawnSync(setup.bin('ava'), specs, {
    cwd: __dirname,
    stdio: 'inherit',
    env: { ...process.env, CONTENTION_SECONDS: values.seconds },
  });
  process.exitCode = status ?? 1;
});

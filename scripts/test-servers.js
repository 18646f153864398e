'use strict';

// Runs the core suite on each server version that the library supports. What cannot be had is named,
// and the run has failed then. `--write` puts the table into docs/platforms.md, `--all` runs every spec.
//
//   node scripts/test-servers.js [--write] [--all] [NAME…]     for example: "Valkey 7.2"

const { spawnSync } = require('node:child_process');
const path = require('node:path');

const { readNames } = require('../tools/command-line.js');
const { CORE_SPECS } = require('../tools/core-specs.js');
const { SERVERS, fetchServer } = require('../tools/fetch-servers.js');
const { announce, main, root } = require('../tools/setup.js');
const { publish } = require('./result-table.js');

const TIMEOUT = 600_000;
const SPECS = [...CORE_SPECS, '__test__/acl.spec.js', '__test__/deletion.spec.js'];

function testServer(server, specs) {
  const { name } = server;
  announce(name);
  let fetched;
  try {
    fetched = fetchServer(server);
  } catch (error) {
    console.log(`${name} was not found: ${error.message}`);
    return { row: [name, 'not found', '-'], succeeded: false };
  }
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [path.join(root, 'node_modules', 'ava', 'entrypoints', 'cli.mjs'), ...specs],
    {
      cwd: root,
      encoding: 'utf8',
      timeout: TIMEOUT,
      maxBuffer: 64 * 1024 * 1024,
      env: {
        ...process.env,
        FORCE_COLOR: '0',
        PATH: `${fetched.bin}${path.delimiter}${process.env.PATH}`,
      },
    },
  );
  const passed = [...stdout.matchAll(/^\s*[✔√] /gm)].length;
  const succeeded = status === 0 && passed > 0;
  if (!succeeded)
    console.log(
      stdout
        .split('\n')
        .filter((line) => !/^\s*[✔√] /.test(line))
        .join('\n'),
      stderr,
    );
  const result = succeeded ? `${passed} specs` : `FAILED, ${passed} specs passed`;
  announce(`${name}, ${fetched.version}: ${result}`);
  return { row: [name, fetched.version, result], succeeded };
}

main(() => {
  const all = SERVERS.map(({ name }) => name);
  const { values, names } = readNames(all, {
    write: { type: 'boolean', default: false },
    all: { type: 'boolean', default: false },
  });
  const specs = values.all ? [] : SPECS;
  const results = names.map((name) =>
    testServer(
      SERVERS.find((server) => server.name === name),
      specs,
    ),
  );
  publish('servers', ['server', 'version', 'passed'], all, results, values.write);
});

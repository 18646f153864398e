'use strict';

// node-redlock's own tests, as they are, over the drop-in: node interop/suite/run.js CHECKOUT
// CHECKOUT is a copy of its repository: the package that it publishes has no tests in it. With
// `--over MODULE` they run over another module than the drop-in, such as node-redlock itself.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const ts = require('typescript');

const { useCluster } = require('../../__test__/helpers/cluster.js');
const { reservePort } = require('../../tools/ports.js');
const { startServer } = require('../../tools/redis-servers.js');
const setup = require('../../tools/setup.js');

// Within this folder, so that its imports find what is installed.
const FOLDER = path.join(__dirname, 'target');

/** The hosts of its docker-compose.yml. */
const INSTANCES = [
  'redis-single-instance',
  'redis-multi-instance-a',
  'redis-multi-instance-b',
  'redis-multi-instance-c',
];
const CLUSTERS = [
  'redis-single-cluster-1',
  'redis-multi-cluster-a-1',
  'redis-multi-cluster-b-1',
  'redis-multi-cluster-c-1',
];

/** What takes the place of the module under test: the tests import ./index.js. */
function place(tests, over) {
  fs.rmSync(FOLDER, { recursive: true, force: true });
  fs.mkdirSync(FOLDER);
  const write = (name, text) => fs.writeFileSync(path.join(FOLDER, name), text);
  write('package.json', JSON.stringify({ type: 'module' }));
  const names = ['default', 'ExecutionError', 'ResourceLockedError'];
  const from = over === undefined ? path.join(setup.root, 'redlock') : over;
  // Through require(), for node-redlock is no module that Node.js could import.
  write(
    'index.js',
    [
      "import { createRequire } from 'node:module';",
      "import { registerCompletionHandler } from 'ava';",
      // The tests leave their connections open.
      'registerCompletionHandler(() => process.exit());',
      `const it = createRequire(import.meta.url)(${JSON.stringify(from)});`,
      `const { ${names.map((name) => `${name}: ${name}_`).join(', ')} } = it;`,
      `export { ${names.map((name) => `${name}_ as ${name}`).join(', ')} };`,
    ].join('\n'),
  );
  const compilerOptions = { module: ts.ModuleKind.ES2020, target: ts.ScriptTarget.ES2022 };
  for (const file of fs.readdirSync(tests).filter((name) => name.endsWith('.test.ts'))) {
    const source = fs.readFileSync(path.join(tests, file), 'utf8');
    write(file.replace(/ts$/, 'js'), ts.transpileModule(source, { compilerOptions }).outputText);
  }
}

/** Starts what the tests connect to; gives the port of each host. */
async function start(t) {
  const ports = {};
  for (const host of INSTANCES) {
    const server = await startServer();
    t.teardown(() => server.stop());
    ports[host] = server.port;
  }
  for (const host of CLUSTERS) ports[host] = (await useCluster(t)).servers[0].port;
  // Where the tests want nobody to listen.
  ports['127.0.0.1'] = await reservePort();
  return ports;
}

async function run() {
  const {
    values: { over },
    positionals: [checkout],
  } = parseArgs({
    options: { over: { type: 'string' } },
    allowPositionals: true,
  });
  const tests = path.join(checkout ?? '', 'src');
  if (checkout === undefined || !fs.existsSync(tests)) {
    throw new setup.SetupError('name a checkout of node-redlock, the one that has src/*.test.ts');
  }
  place(tests, over);
  const stops = [];
  try {
    const ports = await start({ teardown: (stop) => stops.push(stop) });
    const hosts = path.join(__dirname, 'hosts.js');
    const { status } = spawnSync(setup.bin('ava'), ['*.test.js'], {
      cwd: FOLDER,
      stdio: 'inherit',
      env: {
        ...process.env,
        NODE_OPTIONS: `--require=${hosts}`,
        SUITE_PORTS: JSON.stringify(ports),
      },
    });
    process.exitCode = status ?? 1;
  } finally {
    await Promise.all(stops.map((stop) => stop()));
  }
}

setup.main(run);

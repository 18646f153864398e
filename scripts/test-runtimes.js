'use strict';

// Fetches each runtime and each test runner from the npm registry, and runs the core suite there:
// ava's core specs and the packed package on Node.js, the core checks on Bun and Deno, and the package
// inside jest, vitest and ava. `--write` puts the table into docs/platforms.md.
//
//   node scripts/test-runtimes.js [--write] [NAME…]     for example: Bun "Node.js 24" jest

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { readNames } = require('../tools/command-line.js');
const { CORE_SPECS } = require('../tools/core-specs.js');
const { startServers } = require('../tools/redis-servers.js');
const { announce, main, root } = require('../tools/setup.js');
const { publish } = require('./result-table.js');

const CACHE = path.join(root, 'target', 'runtimes');
const TIMEOUT = 300_000;

const platform = process.platform === 'win32' ? 'win' : process.platform;
const exe = process.platform === 'win32' ? '.exe' : '';
const nodePackage = `node-${platform}-${process.arch}`;

const node = (major) => ({
  name: `Node.js ${major}`,
  packages: [`${nodePackage}@${major}`],
  program: ['node_modules', nodePackage, 'bin', `node${exe}`],
  version: /^v(\S+)/,
  isNode: true,
});

const RUNTIMES = [
  node(20),
  node(22),
  node(24),
  node(26),
  {
    name: 'Bun',
    packages: ['bun'],
    program: ['node_modules', 'bun', 'bin', 'bun.exe'], // it has that name everywhere
    version: /^(\S+)/,
    args: ['run'],
  },
  {
    name: 'Deno',
    packages: ['deno'],
    program: ['node_modules', 'deno', `deno${exe}`],
    version: /^deno (\S+)/,
    args: ['run', '--allow-all'],
  },
];

// vitest wants a newer Node.js than the oldest that the library supports.
const RUNNERS_RUN_ON = node(24);

function run(command, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: TIMEOUT,
    killSignal: 'SIGKILL',
    maxBuffer: 64 * 1024 * 1024,
    ...options,
    env: { ...process.env, FORCE_COLOR: '0', ...options.env },
  });
  return { succeeded: status === 0, output: `${stdout}${stderr}${error?.message ?? ''}` };
}

/** Installs packages in a folder of their own; throws if they are not to be had. */
function fetch(name, packages) {
  const folder = path.join(CACHE, name.toLowerCase().replace(/\W+/g, '-'));
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, 'package.json'), '{ "private": true }');
  const { succeeded, output } = run('npm', ['install', '--no-save', ...packages], { cwd: folder });
  if (!succeeded) throw new Error(`${packages.join(' ')} cannot be fetched:\n${output}`);
  return folder;
}

function fetchProgram({ name, packages, program }) {
  const folder = fetch(name, packages);
  const file = path.join(folder, ...program);
  if (fs.existsSync(file)) return file;
  // npm does not run install scripts unless allowed to: do what the package would have done.
  const script = { Bun: ['bun', 'install.js'], Deno: ['deno', 'install.cjs'] }[name];
  if (script)
    run(process.execPath, [script[1]], { cwd: path.join(folder, 'node_modules', script[0]) });
  if (!fs.existsSync(file)) throw new Error(`${name}: the package contains no program`);
  return file;
}

function count(output, pattern) {
  return [...output.matchAll(pattern)].length;
}

function coreSpecs(program) {
  const cli = path.join(root, 'node_modules', 'ava', 'entrypoints', 'cli.mjs');
  const { succeeded, output } = run(program, [cli, ...CORE_SPECS], { cwd: root });
  const passed = count(output, /^\s*[✔√] /gm);
  return { what: 'core specs', passed, succeeded: succeeded && passed > 0, output };
}

function coreChecks(program, args, urls) {
  const file = path.join(root, '__test__', 'runtimes', 'core.js');
  const { succeeded, output } = run(program, [...args, file, ...urls], {
    cwd: root,
    timeout: 60_000,
  });
  const told = /^(\d+) checks, 0 failed$/m.exec(output);
  const passed = count(output, /^ok /gm);
  const all = told !== null && Number(told[1]) === passed;
  return { what: 'core checks', passed, succeeded: succeeded && all, output };
}

function packedPackage(program) {
  const { succeeded, output } = run(process.execPath, [
    path.join(__dirname, 'try-package.js'),
    program,
  ]);
  const passed = count(output, /^> \w+\.[cm]js: /gm);
  return { what: 'programs with the package', passed, succeeded: succeeded && passed > 0, output };
}

function told(results) {
  return results
    .map(({ what, passed, succeeded }) => `${passed} ${what}${succeeded ? '' : ', then FAILED'}`)
    .join(', ');
}

function testRuntime(runtime, urls) {
  const { name, version, args = [], isNode } = runtime;
  let program;
  try {
    program = fetchProgram(runtime);
  } catch (error) {
    console.error(error.message);
    return { row: [name, '-', 'not found in the registry'], succeeded: false };
  }
  const results = [coreChecks(program, args, urls)];
  if (isNode) results.push(coreSpecs(program), packedPackage(program));
  for (const { succeeded, output } of results)
    if (!succeeded) console.log(output.replace(/^\s*[✔√] .*\n/gm, ''));
  const exact = version.exec(run(program, ['--version']).output)?.[1];
  announce(`${name} ${exact}: ${told(results)}`);
  return {
    row: [name, exact, told(results)],
    succeeded: results.every(({ succeeded }) => succeeded),
  };
}

const CONFIGS = {
  jest: (folder) => ({
    file: 'jest.test.js',
    args: [path.join(folder, 'node_modules', 'jest', 'bin', 'jest.js'), '--rootDir', folder],
  }),
  vitest: (folder) => ({
    file: 'vitest.test.mjs',
    args: [path.join(folder, 'node_modules', 'vitest', 'vitest.mjs'), 'run', '--root', folder],
  }),
  ava: (folder) => ({
    file: 'ava.test.mjs',
    args: [path.join(folder, 'node_modules', 'ava', 'entrypoints', 'cli.mjs')],
  }),
};

/** A test runner with the packed package, both installed in a folder of their own. */
function testRunner(name, urls) {
  const packed = JSON.parse(
    spawnSync('npm', ['pack', '--json', '--pack-destination', CACHE], {
      cwd: root,
      encoding: 'utf8',
    }).stdout,
  )[0].filename;
  let folder;
  let program;
  try {
    program = fetchProgram(RUNNERS_RUN_ON);
    folder = fetch(name, [name, path.join(CACHE, packed)]);
  } catch (error) {
    console.error(error.message);
    return { row: [name, '-', 'not found in the registry'], succeeded: false };
  }
  const { file, args } = CONFIGS[name](folder);
  fs.copyFileSync(path.join(root, '__test__', 'runtimes', file), path.join(folder, file));
  const env = { REDIS_URLS: urls.join(',') };
  const { succeeded, output } = run(program, args, { cwd: folder, env });
  if (!succeeded) console.log(output);
  const manifest = path.join(folder, 'node_modules', name, 'package.json');
  const { version } = JSON.parse(fs.readFileSync(manifest, 'utf8'));
  const result = succeeded ? 'loads, locks' : 'FAILED';
  announce(`${name} ${version}: ${result}`);
  return { row: [name, version, result], succeeded };
}

async function testAll() {
  const all = [...RUNTIMES.map(({ name }) => name), ...Object.keys(CONFIGS)];
  const { values, names } = readNames(all, { write: { type: 'boolean', default: false } });
  const servers = await startServers(3);
  const urls = servers.map(({ url }) => url);
  const results = names.map((name) => {
    const runtime = RUNTIMES.find((runtime) => runtime.name === name);
    return runtime ? testRuntime(runtime, urls) : testRunner(name, urls);
  });
  await Promise.all(servers.map((server) => server.stop()));
  publish('runtimes', ['runtime', 'version', 'passed'], all, results, values.write);
}

main(testAll);

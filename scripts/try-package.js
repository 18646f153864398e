'use strict';

// Tries the package as a new user would: packs it, installs the file in an empty folder where there
// is no Rust, and runs the first lines of the README there, as a module and with require(), on real
// servers. Then looks at its types, its exports and its size.
//
//   node scripts/try-package.js [NODE…]     with other Node.js programs than this one

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { version } = require('typescript');

const { startServers } = require('../tools/redis-servers.js');
const { announce, bin, main, root } = require('../tools/setup.js');
const { complaintsAbout, makeProject, resolutionsOf } = require('./typed-project.js');

const MAXIMUM_SIZE = 5_500_000; // bytes, unpacked, with the binary and the module if that is built

function run(command, args, options) {
  return execFileSync(command, args, { encoding: 'utf8', ...options });
}

/** Packs the tree into `folder`; gives the path of the file. */
function pack(folder) {
  const [packed] = JSON.parse(
    run('npm', ['pack', '--json', '--pack-destination', folder], { cwd: root }),
  );
  announce(`${packed.filename}: ${packed.unpackedSize} bytes unpacked, ${packed.entryCount} files`);
  if (packed.unpackedSize > MAXIMUM_SIZE) throw new Error('the package is too large');
  if (packed.files.every(({ path }) => !path.endsWith('.node'))) throw new Error('no binary in it');
  return path.join(folder, packed.filename);
}

/** What the README shows first, on those servers. */
function firstLines(urls) {
  const readme = fs.readFileSync(path.join(root, 'README.md'), 'utf8');
  const [, code] = /```js\n([\s\S]*?)```/.exec(readme);
  const [imported, ...rest] = code.trim().split('\n');
  const nodes = rest.join('\n').replace(/\[('redis:[^\]]*)\]/, JSON.stringify(urls));
  if (!nodes.includes(urls[0])) throw new Error('the first lines of the README name no nodes');
  return { imported, body: `${nodes}\nconsole.log('released');\n` };
}

function programs(urls) {
  const { imported, body } = firstLines(urls);
  const required = imported.replace(/^import (.*) from (.*);$/, 'const $1 = require($2);');
  return {
    'first.mjs': `${imported}\n${body}`,
    'first.cjs': `${required}\n(async () => {\n${body}})();\n`,
    'same.mjs': [
      "import * as imported from 'redsync';",
      "import { createRequire } from 'node:module';",
      "const required = createRequire(import.meta.url)('redsync');",
      'const names = Object.keys(required);',
      'if (names.some((name) => imported[name] !== required[name])) throw new Error("not the same");',
      "console.log('the same', names.length);",
    ].join('\n'),
  };
}

/** Are the types of every entry found, and are they right by the strictest rules? */
function checkTypes(folder) {
  makeProject(folder);
  const how = {
    tsc: require.resolve('typescript/bin/tsc'),
    version: Number.parseFloat(version),
    nodeTypes: path.join(root, 'node_modules', '@types'),
  };
  for (const resolution of resolutionsOf(how.version)) {
    const { moduleResolution } = resolution;
    const complaints = complaintsAbout(folder, { ...how, resolution });
    if (complaints.length > 0) throw new Error(`${moduleResolution}:\n${complaints.join('\n')}`);
    announce(`TypeScript ${version}, ${moduleResolution}: finds all types`);
  }
}

/** Installs the packed file in an empty folder, and runs programs there with each of `nodes`. */
async function tryPackage(nodes) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'redsync-package-'));
  const servers = await startServers(3);
  try {
    const file = pack(folder);
    checkPackage(file);
    run('npm', ['install', '--no-save', '--ignore-scripts', file], { cwd: folder });
    checkTypes(folder);
    const env = { ...process.env, PATH: path.dirname(process.execPath), CARGO_HOME: folder };
    for (const [name, text] of Object.entries(programs(servers.map(({ url }) => url)))) {
      fs.writeFileSync(path.join(folder, name), text);
      for (const node of nodes) {
        const output = run(node, [name], { cwd: folder, env, timeout: 30_000 });
        announce(`${name}: ${output.trim().split('\n').pop()}`);
      }
    }
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
    fs.rmSync(folder, { recursive: true });
  }
}

function checkPackage(file) {
  for (const [name, ...args] of [
    ['publint', 'run', file, '--strict'],
    ['attw', file, '--quiet'],
  ]) {
    run(bin(name), args, { cwd: root, stdio: 'inherit' });
    announce(`${name}: nothing to complain of`);
  }
}

const nodes = process.argv.slice(2).map((node) => path.resolve(node));
main(() => tryPackage(nodes.length > 0 ? nodes : [process.execPath]));

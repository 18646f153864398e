'use strict';

// Fetches every minor version of TypeScript from 4.9 to the newest from the npm registry, and has each look at the packed
// package by its strictest rules, in every way in which it looks for a package, with the clients and without, and where it
// can read them, with the newest types of Node.js. `--write` puts the table into docs/platforms.md.
//
//   node scripts/test-typescript.js [--write] [NAME…]     for example: "TypeScript 5.4"

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { readNames } = require('../tools/command-line.js');
const { announce, main, root } = require('../tools/setup.js');
const { publish } = require('./result-table.js');
const { complaintsAbout, makeProject, resolutionsOf } = require('./typed-project.js');

const CACHE = path.join(root, 'target', 'typescript');

const VERSIONS = ['4.9', ...Array.from({ length: 10 }, (_, i) => `5.${i}`), '6.0', '7.0'];
const named = (version) => `TypeScript ${version}`;

/** From which version on the compiler can read the newest types of Node.js; it can always read ours. */
const NEWEST_NODE_SINCE = 5.6;

/** Installs packages in a folder of their own. */
function fetch(name, packages) {
  const folder = path.join(CACHE, name);
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, 'package.json'), '{ "private": true }');
  const quiet = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel', 'error'];
  execFileSync('npm', ['install', ...quiet, ...packages], { cwd: folder, stdio: 'inherit' });
  return folder;
}

function pack() {
  const args = ['pack', '--json', '--pack-destination', CACHE];
  const [{ filename }] = JSON.parse(execFileSync('npm', args, { cwd: root, encoding: 'utf8' }));
  return path.join(CACHE, filename);
}

function manifestOf(folder) {
  return JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
}

/** How each version looks at the package: [what is told of it, how]. */
function waysOf(version, { bare, clients, own, newest }) {
  const resolutions = resolutionsOf(version);
  const nodenext = resolutions.find(({ moduleResolution }) => moduleResolution === 'nodenext');
  const ways = resolutions.map((resolution) => {
    return [resolution.moduleResolution, { folder: bare, resolution, nodeTypes: own }];
  });
  const withClients = { folder: clients, resolution: nodenext, nodeTypes: own, withClients: true };
  ways.push(['with the clients', withClients]);
  if (version >= NEWEST_NODE_SINCE) {
    const { version } = manifestOf(path.join(newest, 'node'));
    const how = { folder: bare, resolution: nodenext, nodeTypes: newest };
    ways.push([`with @types/node ${version}`, how]);
  }
  return ways;
}

function testVersion(name, places) {
  const version = name.replace(/^\D+/, '');
  const compiler = path.join(places.compilers, 'node_modules', `typescript-${version}`);
  const passed = [];
  const complaints = [];
  for (const [told, { folder, ...how }] of waysOf(Number(version), places)) {
    const tsc = path.join(compiler, 'bin', 'tsc');
    const found = complaintsAbout(folder, { tsc, version: Number(version), ...how });
    if (found.length === 0) passed.push(told);
    else complaints.push(`${name}, ${told}:`, ...found);
  }
  if (complaints.length > 0) console.log(complaints.join('\n'));
  const succeeded = complaints.length === 0;
  const result = `${passed.join(', ')}${succeeded ? '' : ', the rest FAILED'}`;
  const exact = manifestOf(compiler).version;
  announce(`${name} ${exact}: ${result}`);
  return { row: [name, exact, result], succeeded };
}

function testAll() {
  const all = VERSIONS.map(named);
  const { values, names } = readNames(all, { write: { type: 'boolean', default: false } });
  const wanted = VERSIONS.map((version) => `typescript-${version}@npm:typescript@~${version}.0`);
  const compilers = fetch('compilers', [...wanted, 'typescript@latest']);
  const newest = manifestOf(path.join(compilers, 'node_modules', 'typescript')).version;
  if (!VERSIONS.some((version) => newest.startsWith(`${version}.`))) {
    console.error(`TypeScript ${newest} is not in the list of scripts/test-typescript.js`);
    process.exitCode = 1;
  }
  const packed = pack();
  const typesOf = (folder) => path.join(folder, 'node_modules', '@types');
  const places = {
    compilers,
    bare: fetch('bare', [packed]),
    clients: fetch('clients', [packed]),
    own: typesOf(root),
    newest: typesOf(fetch('node-types', ['@types/node@latest'])),
  };
  makeProject(places.bare);
  makeProject(places.clients, { withClients: true });
  const results = names.map((name) => testVersion(name, places));
  publish('typescript', ['compiler', 'version', 'passed'], all, results, values.write);
}

main(testAll);

'use strict';

// Nothing imports in a circle: not the folders, not the files of the facade. And a kind of lock is known in one
// file a layer, as docs/architecture.md says.

const fs = require('node:fs');
const path = require('node:path');

const test = require('ava');
const ts = require('typescript');

const ROOT = path.join(__dirname, '..');

/** From the bottom up, as they may import each other; a file that is in none of them stands for itself. */
const FOLDERS = [
  'lib',
  'cli',
  'redlock',
  'tools',
  '__test__/helpers',
  'examples',
  'bench',
  'soak',
  'interop',
  'scripts',
];

const NOT_OURS = new Set(['node_modules', 'target']);

function filesBelow(folder, extension) {
  return fs.readdirSync(path.join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const name = path.posix.join(folder, entry.name);
    if (entry.isDirectory()) return NOT_OURS.has(entry.name) ? [] : filesBelow(name, extension);
    return extension.test(name) ? [name] : [];
  });
}

function read(file) {
  return fs.readFileSync(path.join(ROOT, file), 'utf8');
}

/** What a file imports of the repository, by require() or import, also late ones. */
function imports(file) {
  return ts
    .preProcessFile(read(file), true, true)
    .importedFiles.filter(({ fileName }) => /^\.\.?(\/|$)/.test(fileName))
    .map(({ fileName }) => require.resolve(path.join(ROOT, path.dirname(file), fileName)))
    .map((name) => path.relative(ROOT, name).split(path.sep).join('/'));
}

/** Edges as [from, to, where], from what `importsOf` says of each file; `nodeOf` names the nodes. */
function edges(files, importsOf, nodeOf = (file) => file) {
  return files
    .flatMap((file) => importsOf(file).map((other) => [nodeOf(file), nodeOf(other), file]))
    .filter(([from, to]) => from !== to);
}

/** The edges that are part of a circle: those whose end leads back to their beginning. */
function circles(all) {
  const next = new Map();
  for (const [from, to] of all) next.set(from, (next.get(from) ?? new Set()).add(to));
  const reached = (start) => {
    const seen = new Set([start]);
    for (const node of seen) for (const other of next.get(node) ?? []) seen.add(other);
    return seen;
  };
  const shown = all
    .filter(([from, to]) => reached(to).has(from))
    .map(([from, to, where]) => `${from} -> ${to}${where === from ? '' : ` (${where})`}`);
  return [...new Set(shown)].sort();
}

function folderOf(file) {
  return FOLDERS.find((folder) => file.startsWith(`${folder}/`)) ?? file;
}

test('folders do not import each other in circles', (t) => {
  const files = ['index.js', ...FOLDERS.flatMap((folder) => filesBelow(folder, /\.m?js$/))].filter(
    (file) => !/\.(spec|jest)\.js$/.test(file),
  ); // nobody imports a test
  const all = edges(files, imports, folderOf);
  t.true(new Set(all.map(([from]) => from)).size >= FOLDERS.length - 1, 'the imports are found'); // tools have none
  t.deepEqual(circles(all), []);
});

test('the files of the facade do not import each other in circles', (t) => {
  const all = edges(filesBelow('lib', /\.js$/), imports);
  t.true(all.length > 50, 'the imports are found');
  t.deepEqual(circles(all), []);
});

/** The files of the engine and the addon with such a word, tests apart. */
function filesWith(word) {
  const files = ['crates/engine/src', 'src'].flatMap((folder) => filesBelow(folder, /\.rs$/));
  const code = (file) => read(file).split('#[cfg(test)]')[0];
  return files.filter((file) => word.test(code(file))).sort();
}

test('one file a layer knows a kind of lock, and none of those that wait, ask or keep alive', (t) => {
  t.deepEqual(filesWith(/(?<!Error)\bKind::[A-Z]/), [
    'crates/engine/src/memory.rs',
    'src/binding/wire.rs',
    'src/node/redis/command.rs',
  ]);
});

test('one file a layer knows what an answer brings', (t) => {
  t.deepEqual(filesWith(/\bDetail::[A-Z]/), [
    'crates/engine/src/inspect.rs', // who asks for it
    'crates/engine/src/memory.rs',
    'src/node/redis/command.rs',
  ]);
});

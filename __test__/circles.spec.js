'use strict';

// Nothing imports in a circle: not the folders, not the files of the facade, not the modules in Rust. And one file
// a layer knows a kind of lock, as docs/architecture.md says.

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
  const code = (file) => read(file).split(/#!?\[cfg\(test\)\]/)[0];
  return files.filter((file) => word.test(code(file))).sort();
}

test('one file a layer knows a kind of lock, and none of those that wait, ask or keep alive', (t) => {
  t.deepEqual(filesWith(/(?<!Error)\bKind::[A-Z]/), [
    'crates/engine/src/memory.rs',
    'src/binding/outbox.rs', // what a pool is asked
    'src/binding/wire.rs', // what JavaScript asks for
    'src/node/redis/command.rs',
    'src/node/redis/watch.rs', // what is in whose way
    'src/node/side_keys.rs', // what is kept beside a name
  ]);
});

test('one file a backend knows what an answer brings, and who asks for it', (t) => {
  t.deepEqual(filesWith(/\bDetail::[A-Z]/), [
    'crates/engine/src/inspect.rs', // who asks for it
    'crates/engine/src/memory.rs',
    'crates/engine/src/readers.rs',
    'crates/engine/src/round.rs', // which fencing token a quorum would grant, and who has met readers
    'crates/engine/src/scan.rs', // who asks for it
    'src/node/pool.rs',
    'src/node/redis/cluster.rs', // the end of a walk over its keys
    'src/node/redis/command.rs',
  ]);
});

/** The paths that `{a, b::{c, self}}` and the like stand for, as lists of words. */
function pathsOf(tree) {
  const [, prefix, group] = /^([^{]*?)(?:::)?(?:\{([^]*)\})?$/.exec(tree.trim());
  const words = prefix
    .split('::')
    .map((word) => word.trim().split(' as ')[0])
    .filter(Boolean);
  if (group === undefined) return [words];
  const parts = [''];
  let depth = 0;
  for (const char of group) {
    if (char === ',' && depth === 0) {
      parts.push('');
      continue;
    }
    depth += { '{': 1, '}': -1 }[char] ?? 0;
    parts[parts.length - 1] += char;
  }
  return parts
    .filter((part) => part.trim() !== '')
    .flatMap((part) => pathsOf(part).map((rest) => [...words, ...rest]));
}

/** A crate's modules by their names, `a::b`, each with the paths that it uses; the crate itself is ''. */
function modulesOf(folder) {
  return new Map(
    filesBelow(folder, /\.rs$/).map((file) => {
      const name = path.posix
        .relative(folder, file)
        .slice(0, -'.rs'.length)
        .replace(/(^|\/)(lib|mod)$/, '')
        .replaceAll('/', '::');
      const text = read(file)
        .replace(/^\s*\/\/.*$/gm, '')
        .replace(/^#\[cfg\(test\)\]\nmod \w+ \{[^]*?^\}/gm, ''); // a test may use what it likes
      const used = [...text.matchAll(/^\s*(?:pub(?:\([\w ]+\))? )?use ([^;]+);/gm)].flatMap(
        ([, tree]) => pathsOf(tree),
      );
      const named = [...text.matchAll(/\b(?:crate|super)(?:::\w+)+/g)].map(([words]) =>
        words.split('::'),
      );
      return [name, { paths: [...used, ...named], isRoot: /\/(lib|mod)\.rs$/.test(file) }];
    }),
  );
}

function below(module, name) {
  return module === '' ? name : `${module}::${name}`;
}

function above(module) {
  return module.replace(/(^|::)\w+$/, '');
}

/** The module that a path leads to from another one, also through what a `mod.rs` passes on; or undefined. */
function lead(modules, from, [first, ...rest], passed = 0) {
  let at;
  if (first === 'crate') at = '';
  else if (first === 'self') at = from;
  else if (first === 'super') at = above(from);
  else if (modules.has(below(from, first))) at = below(from, first);
  else return undefined; // another crate
  for (; rest[0] === 'super'; rest.shift()) at = above(at);
  while (modules.has(below(at, rest[0]))) at = below(at, rest.shift());
  const { isRoot, paths } = modules.get(at);
  const onward =
    isRoot && passed < 5 && paths.find((path) => path.length > 1 && path.at(-1) === rest[0]);
  return (onward && lead(modules, at, onward, passed + 1)) || at;
}

for (const folder of ['crates/engine/src', 'src']) {
  test(`the modules of ${folder} do not use each other in circles`, (t) => {
    const modules = modulesOf(folder);
    const names = [...modules.keys()].filter((name) => !modules.get(name).isRoot);
    const usedBy = (name) =>
      modules
        .get(name)
        .paths.map((words) => lead(modules, name, words))
        .filter((other) => other !== undefined && !modules.get(other).isRoot);
    const all = edges(names, usedBy);
    t.true(all.length > 20, 'what they use is found');
    t.deepEqual(circles(all), []);
  });
}

'use strict';

// The version of a release: every file that names it has to name the same.

const fs = require('node:fs');
const path = require('node:path');

const { SetupError } = require('../tools/setup.js');

/** Users install what they ask for. */
const EXAMPLES = ['bullmq', 'fastify', 'nestjs', 'nextjs'].map(
  (name) => `examples/${name}/package.json`,
);

const CRATES = [
  'Cargo.toml',
  'crates/engine/Cargo.toml',
  'crates/mutants/Cargo.toml',
  'crates/mutator/Cargo.toml',
];

function read(root, file) {
  return fs.readFileSync(path.join(root, file), 'utf8');
}

/** Which version each file names. */
function versionsOf(root) {
  const lock = JSON.parse(read(root, 'package-lock.json'));
  const loader = [...read(root, 'native.js').matchAll(/bindingPackageVersion !== '([^']+)'/g)];
  const crates = [
    ...read(root, 'Cargo.lock').matchAll(/^name = "(redsync[\w-]*)"\nversion = "(.*)"$/gm),
  ];
  const asked = EXAMPLES.map((file) => [file, JSON.parse(read(root, file)).dependencies.redsync]);
  return [
    ['package.json', JSON.parse(read(root, 'package.json')).version],
    ['package-lock.json', lock.version],
    ['package-lock.json, packages', lock.packages[''].version],
    ...asked.map(([file, range]) => [file, range.replace('^', '')]),
    ...CRATES.map((file) => [file, /^version = "(.*)"$/m.exec(read(root, file))?.[1]]),
    ...crates.map(([, name, version]) => [`Cargo.lock, ${name}`, version]),
    ...[...new Set(loader.map(([, version]) => version))].map((each) => ['native.js', each]),
  ];
}

/**
 * @param {string} root
 * @param {string} [tag] of what is published: it names the version, and so does the changelog then
 * @returns {string} the version
 */
function checkVersions(root, tag) {
  const [[, version], ...others] = versionsOf(root);
  const wrong = others.filter(([, other]) => other !== version);
  if (wrong.length > 0) {
    const told = wrong.map(([file, other]) => `${file} ${other}`).join('; ');
    throw new SetupError(`package.json is of version ${version}, but: ${told}`);
  }
  if (tag === undefined) return version;
  if (tag !== `v${version}`) {
    throw new SetupError(`version ${version} is released by the tag v${version}, not "${tag}"`);
  }
  const [first] = sections(root);
  if (first?.title !== version) {
    const found = `begins with "${first?.title}"`;
    throw new SetupError(`CHANGELOG.md ${found}, not with "## ${version} - YYYY-MM-DD"`);
  }
  return version;
}

/** The sections of the changelog that have something to say, the newest first. */
function sections(root) {
  return read(root, 'CHANGELOG.md')
    .split(/^## /m)
    .slice(1)
    .map((section) => {
      const end = section.indexOf('\n');
      const [, title] =
        /^\[?([^\] ]+)\]?(?: - \d{4}-\d\d-\d\d)?$/.exec(section.slice(0, end)) ?? [];
      return { title, text: section.slice(end).trim() };
    })
    .filter(({ text }) => text !== '');
}

/** What the changelog says of a version, or of the next one. */
function notesOf(root, version) {
  const all = sections(root);
  const found = all.find(({ title }) => title === version) ?? all[0];
  return `${found.text}\n`;
}

module.exports = { checkVersions, notesOf };

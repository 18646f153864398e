'use strict';

// What a release checks of itself before npm sees it.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const test = require('ava');

const { hostingUrl, named } = require('../scripts/repository.js');
const { checkVersions, notesOf } = require('../scripts/versions.js');
const manifest = require('../package.json');

const ROOT = path.join(__dirname, '..');
const EXAMPLES = ['bullmq', 'fastify', 'nestjs', 'nextjs'].map(
  (name) => `examples/${name}/package.json`,
);
const { version } = manifest;

/** A copy of every file that names the version. */
function copyTree(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'redsync-versions-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true }));
  const files = [
    'CHANGELOG.md',
    'Cargo.lock',
    'Cargo.toml',
    'crates/engine/Cargo.toml',
    'crates/mutants/Cargo.toml',
    'crates/mutator/Cargo.toml',
    ...EXAMPLES,
    'native.js',
    'package-lock.json',
    'package.json',
  ];
  for (const file of files) fs.cpSync(path.join(ROOT, file), path.join(folder, file));
  return folder;
}

function edit(folder, file, change) {
  const name = path.join(folder, file);
  const before = fs.readFileSync(name, 'utf8');
  const after = change(before);
  if (after === before) throw new Error(`nothing was changed in ${file}`);
  fs.writeFileSync(name, after);
}

const CHANGELOG = `# Changelog

## Unreleased

## ${version} - 2026-01-02

### Added

- This.

## 0.0.1 - 2025-01-01

- That.
`;

test('every file of this tree names the same version', (t) => {
  t.is(checkVersions(ROOT), version);
});

const PLACES = [
  ['package-lock.json', `"version": "${version}"`, 'package-lock.json '],
  ['package-lock.json', `"name": "redsync",\n      "version": "${version}"`, ', packages '],
  ['Cargo.toml', `version = "${version}"`, 'Cargo.toml '],
  ['crates/engine/Cargo.toml', `version = "${version}"`, 'crates/engine/Cargo.toml '],
  ['crates/mutants/Cargo.toml', `version = "${version}"`, 'crates/mutants/Cargo.toml '],
  ['crates/mutator/Cargo.toml', `version = "${version}"`, 'crates/mutator/Cargo.toml '],
  ['Cargo.lock', `name = "redsync-engine"\nversion = "${version}"`, 'Cargo.lock, redsync-engine '],
  ...EXAMPLES.map((file) => [file, `"redsync": "^${version}"`, `${file} `]),
  ['native.js', `'${version}'`, 'native.js '],
];

for (const [i, [file, place, told]] of PLACES.entries()) {
  test(`another version in ${file} is told (${i})`, (t) => {
    const folder = copyTree(t);
    edit(folder, file, (text) => text.replace(place, place.replace(version, '9.9.9')));
    const { message } = t.throws(() => checkVersions(folder));
    t.true(message.includes(`${told}9.9.9`), message);
  });
}

test('what is published has the tag of its version, and is in the changelog', (t) => {
  const folder = copyTree(t);
  edit(folder, 'CHANGELOG.md', () => CHANGELOG);
  t.is(checkVersions(folder, `v${version}`), version);
  for (const tag of ['', version, 'v9.9.9']) {
    t.throws(() => checkVersions(folder, tag), { message: /is released by the tag v/ });
  }
  t.is(notesOf(folder, version), '### Added\n\n- This.\n');

  edit(folder, 'CHANGELOG.md', (text) =>
    text.replace('## Unreleased\n', '## Unreleased\n\n- New.\n'),
  );
  const message = `CHANGELOG.md begins with "Unreleased", not with "## ${version} - YYYY-MM-DD"`;
  t.throws(() => checkVersions(folder, `v${version}`), { message });
  // To try a release nobody needs a tag.
  t.is(checkVersions(folder), version);
});

test('a release names the repository that hosts it', (t) => {
  const env = { GITHUB_SERVER_URL: 'https://git.example', GITHUB_REPOSITORY: 'acme/redsync' };
  t.is(hostingUrl(undefined, env, true), 'https://git.example/acme/redsync');
  t.is(hostingUrl('https://git.example/a/b.git', env, true), 'https://git.example/a/b');
  t.throws(() => hostingUrl(undefined, {}, true), { message: /where is the source/ });
  t.notThrows(() => hostingUrl(undefined, {}, false));
  for (const url of ['acme/redsync', 'http://git.example/a/b', 'https://u:p@git.example/a/b']) {
    t.throws(() => hostingUrl(url, env, true), { message: /takes https:\/\/HOST\/OWNER\/NAME/ });
  }

  const { repository, homepage, bugs, ...rest } = named(manifest, 'https://git.example/a/b');
  t.deepEqual(repository, { type: 'git', url: 'git+https://git.example/a/b.git' });
  t.is(homepage, 'https://git.example/a/b#readme');
  t.deepEqual(bugs, { url: 'https://git.example/a/b/issues' });
  t.deepEqual(rest, manifest);
});

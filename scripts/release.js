'use strict';

// Makes the packages of a release in target/packages, with the licenses of what is compiled in, the bill of materials
// (CycloneDX) and the notes. Then it installs them in an empty folder, takes a lock there, and has npm say that it would
// publish them. It publishes nothing, and never changes the tree.
//
//   npm run release
//   node scripts/release.js --artifacts FOLDER --tag vX.Y.Z     as the workflow does it

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { readOptions } = require('../tools/command-line.js');
const {
  SetupError,
  WASM,
  WASM_TARGET,
  announce,
  bin,
  buildWasm,
  main,
  root,
} = require('../tools/setup.js');
const { NOTICES, noticesOf } = require('./notices.js');
const { PACKAGES, ownPlatform, run, tryPackages } = require('./packages.js');
const { publishAll } = require('./publish.js');
const { hostingUrl, named } = require('./repository.js');
const { checkVersions, notesOf } = require('./versions.js');

const USAGE = `Usage: node scripts/release.js [--artifacts FOLDER] [--repository URL] [--tag TAG]

  --artifacts FOLDER  the binaries of all platforms; without it, the one that is built here
  --repository URL    where the source is; of the workflow that it runs in, unless given
  --tag TAG           what releases this version, and what the changelog has to know; nothing may be missing then`;

function readJson(file) {
  return JSON.parse(fs.readFileSync(file, 'utf8'));
}

function writeJson(file, value) {
  fs.writeFileSync(file, `${JSON.stringify(value, undefined, 2)}\n`);
}

/** The files with this ending, in a folder and below. */
function filesBelow(folder, ending) {
  return fs
    .readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith(ending))
    .map((name) => path.join(folder, name));
}

/** A copy of the tree as it is, but for what git ignores; its manifest says where the source is. */
function copyTree(stage, url) {
  const args = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  for (const name of run('git', args, { cwd: root }).split('\0')) {
    const file = path.join(root, name);
    if (name !== '' && fs.existsSync(file)) fs.cpSync(file, path.join(stage, name));
  }
  const manifest = path.join(stage, 'package.json');
  writeJson(manifest, named(readJson(manifest), url));
  fs.copyFileSync(path.join(root, WASM), path.join(stage, WASM)); // which git ignores
}

/** Writes the licenses of what is in any of the binaries, and in the module: one file for all packages. */
function writeNotices(stage) {
  const { targets } = readJson(path.join(root, 'package.json')).napi;
  const text = noticesOf(stage, [...targets, WASM_TARGET]);
  fs.writeFileSync(path.join(stage, NOTICES), text);
  announce(`${NOTICES}: ${text.length} bytes`);
}

/** Puts each binary into a package of its own, which the package then depends on. */
function makePlatforms(stage, artifacts) {
  const napi = (...args) => run(bin('napi'), args, { cwd: stage, stdio: 'inherit' });
  napi('create-npm-dirs');
  napi('artifacts', '--output-dir', artifacts);
  for (const platform of fs.readdirSync(path.join(stage, 'npm'))) {
    const folder = path.join(stage, 'npm', platform);
    for (const name of ['LICENSE', NOTICES]) {
      fs.copyFileSync(path.join(stage, name), path.join(folder, name));
    }
    const file = path.join(folder, 'package.json');
    const manifest = readJson(file);
    writeJson(file, { ...manifest, type: 'commonjs', files: [...manifest.files, NOTICES] });
  }
  napi('pre-publish', '--tag-style', 'npm', '--no-gh-release', '--skip-optional-publish');
  // It has put them beside the loader, too.
  for (const name of fs.readdirSync(stage)) {
    if (name.endsWith('.node')) fs.rmSync(path.join(stage, name));
  }
}

/** Without the binaries of the other platforms, the release is that of those which are built here. */
function keepOwnPlatform(stage) {
  const built = fs.readdirSync(root).filter((name) => name.endsWith('.node'));
  if (built.length === 0) throw new SetupError('there is no binary: npm run build makes it');
  const { name, triple } = ownPlatform();
  const own = `redsync.${name}.node`;
  if (!built.includes(own)) throw new SetupError(`${own} is not built`);
  const artifacts = path.join(stage, 'artifacts');
  fs.mkdirSync(artifacts);
  fs.copyFileSync(path.join(root, own), path.join(artifacts, own));
  const file = path.join(stage, 'package.json');
  const manifest = readJson(file);
  const targets = manifest.napi.targets.filter((target) => target === triple);
  writeJson(file, { ...manifest, napi: { ...manifest.napi, targets } });
  announce(`of this machine's binary only: ${triple}`);
  return artifacts;
}

/** Packs a folder; gives what npm says of the file, and its path. */
function pack(folder) {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', PACKAGES];
  const [packed] = JSON.parse(run('npm', args, { cwd: folder }));
  const manifest = readJson(path.join(folder, 'package.json'));
  announce(`${packed.filename}: ${packed.entryCount} files, ${packed.unpackedSize} bytes`);
  return { ...packed, manifest, file: path.join(PACKAGES, packed.filename) };
}

/** What a package must have for npm to show where it comes from, and to prove it. */
function checkPackage({ name, version, files, manifest }, url, expected) {
  const fail = (what) => {
    throw new SetupError(`${name}: ${what}`);
  };
  const paths = files.map(({ path }) => path);
  if (version !== expected) fail(`is of version ${version}, not ${expected}`);
  if (manifest.repository?.url !== `git+${url}.git`) fail('does not name the repository');
  if (!manifest.homepage || !manifest.bugs?.url) fail('names no homepage, or no place for bugs');
  if (manifest.license !== 'MIT') fail('names no license');
  for (const name of ['README.md', 'LICENSE', NOTICES]) {
    if (!paths.includes(name)) fail(`has no ${name}`);
  }
  const binaries = paths.filter((name) => name.endsWith('.node'));
  if (manifest.main.endsWith('.node')) {
    if (binaries.join() !== manifest.main) fail(`has ${binaries.length} binaries`);
  } else if (binaries.length > 0) {
    fail('has a binary, which belongs into a package of its own');
  } else if (!paths.includes(WASM)) {
    fail(`has no ${WASM}`);
  }
}

/** What others check a package by, before npm has it. */
function lint({ name, file }) {
  run(bin('publint'), ['run', file, '--strict'], { cwd: root });
  announce(`${name}: publint has nothing to complain of`);
}

/** Writes what the release consists of: of npm by npm, of Rust by cargo-cyclonedx, if there is one. */
function writeBills(stage, version) {
  const npm = ['sbom', '--package-lock-only', '--omit', 'dev', '--sbom-format', 'cyclonedx'];
  writeBill('redsync.npm.cdx.json', run('npm', npm, { cwd: stage }), version);
  const { error, status } = spawnSync('cargo', ['cyclonedx', '--version'], { stdio: 'ignore' });
  if (error || status !== 0) return false;
  const name = 'redsync.cargo.cdx';
  const form = ['--format', 'json', '--spec-version', '1.5', '--override-filename', name];
  run('cargo', ['cyclonedx', '--quiet', '--target', 'all', ...form], { cwd: stage });
  // Crates of the tree have the folder in their names.
  const bill = fs.readFileSync(path.join(stage, `${name}.json`), 'utf8');
  writeBill(`${name}.json`, bill.replaceAll(stage, '/redsync'), version);
  return true;
}

function writeBill(name, bill, version) {
  const { metadata, components } = JSON.parse(bill);
  const { component } = metadata;
  if (component.name !== 'redsync' || component.version !== version) {
    throw new SetupError(`${name} is of ${component.name} ${component.version}`);
  }
  fs.writeFileSync(path.join(PACKAGES, name), bill);
  announce(`${name}: redsync and ${components.length} others`);
}

function release({ artifacts, repository, tag }) {
  const url = hostingUrl(repository, process.env, tag !== undefined);
  const version = checkVersions(root, tag);
  buildWasm();
  fs.rmSync(PACKAGES, { recursive: true, force: true });
  fs.mkdirSync(PACKAGES, { recursive: true });
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'redsync-stage-'));
  const stage = path.join(folder, 'redsync'); // the bill of materials takes its name from there
  try {
    copyTree(stage, url);
    writeNotices(stage);
    makePlatforms(stage, artifacts ? path.resolve(artifacts) : keepOwnPlatform(stage));
    const manifests = filesBelow(path.join(stage, 'npm'), 'package.json');
    const packages = [...manifests.map((file) => path.dirname(file)), stage].map(pack);
    for (const each of packages) {
      checkPackage(each, url, version);
      lint(each);
    }
    if (!writeBills(stage, version)) {
      const missing = 'there is no cargo-cyclonedx: cargo install cargo-cyclonedx';
      if (tag !== undefined) throw new SetupError(missing);
      announce(`no bill of materials of Rust, ${missing}`);
    }
    fs.writeFileSync(path.join(PACKAGES, 'NOTES.md'), notesOf(root, version));
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
  tryPackages(version);
  publishAll(version, true);
}

main(() => {
  const { help, ...options } = readOptions(process.argv.slice(2), {
    artifacts: { type: 'string' },
    repository: { type: 'string' },
    tag: { type: 'string' },
  });
  if (help) console.log(USAGE);
  else release(options);
});

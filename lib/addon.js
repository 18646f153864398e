'use strict';

const path = require('node:path');

// The addon, through the generated loader, which knows where the binary of each platform is. What the
// loader says when it finds none is of no use to a person; what is missing, and how to get it, is. Without
// an addon there is the same engine as WebAssembly, which has no connections of its own.

/** The platforms that binaries are published for: the `napi.targets` of package.json. */
const PLATFORMS = [
  'darwin-arm64',
  'darwin-x64',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'linux-x64-gnu',
  'linux-x64-musl',
  'win32-x64-msvc',
];

const BUILD =
  'To build it, with Rust (https://rustup.rs), in a copy of the source: ' +
  '`npm run build && npm pack`, then `npm install` the packed file here.';

const UNBUNDLE =
  'redsync: a bundler has packed the package without its binary. Leave `redsync` out of the bundle: `external` of ' +
  'esbuild, rolldown and Vite, `externals` of webpack, `serverExternalPackages` of Next.js; and install it where the ' +
  'bundle runs (docs/bundlers.md).';

/** The name of this platform, as the packages of the binaries have it. */
function platform() {
  const { platform, arch } = process;
  if (platform === 'linux') return `linux-${arch}-${isGlibc() ? 'gnu' : 'musl'}`;
  return platform === 'win32' ? `win32-${arch}-msvc` : `${platform}-${arch}`;
}

function isGlibc() {
  const report = process.report?.getReport();
  // Bun and Deno make no such report; nearly every Linux has the library of GNU.
  return report?.header === undefined || report.header.glibcVersionRuntime !== undefined;
}

/** Is there a file of this package? One that cannot be loaded is another matter. */
function isInstalled(name) {
  try {
    require.resolve(`${name}/package.json`);
    return true;
  } catch {
    return false;
  }
}

/** Is this in a file of its own no more? A module that a bundler has made knows the name of none. */
function isBundled() {
  return typeof __filename !== 'string' || path.basename(__filename) !== 'addon.js';
}

function explain(cause) {
  const here = platform();
  const name = `redsync-${here}`;
  let message;
  if (isBundled()) {
    message = UNBUNDLE;
  } else if (!PLATFORMS.includes(here)) {
    message = `redsync: no binary is published for ${here}. ${BUILD}`;
  } else if (isInstalled(name)) {
    message = `redsync: the binary of the package ${name} cannot be loaded, see the cause. ${BUILD}`;
  } else {
    message =
      `redsync: the package ${name}, the binary for this platform, is not installed. It is an ` +
      'optional dependency: install again with `npm install --include=optional`, on this platform. ' +
      BUILD;
  }
  return Object.assign(new Error(message, { cause }), { code: 'ERR_ADDON_NOT_LOADED' });
}

/** @returns {object} with `missing`, the reason why it is no addon, if it is none */
function load() {
  try {
    if (process.env.REDSYNC_ENGINE === 'wasm') throw new Error('REDSYNC_ENGINE is "wasm"');
    const addon = require('../native.js');
    // Some bundlers put the path of a file in the place of what it exports.
    if (typeof addon.Engine !== 'function') throw new Error('it is no addon');
    return addon;
  } catch (error) {
    const missing = explain(error);
    let wasm;
    try {
      wasm = require('./wasm.js');
    } catch {
      throw missing;
    }
    missing.message +=
      ' Without it, nodes can be clients of yours: newPool(), see docs/clients.md.';
    return { ...wasm, missing };
  }
}

module.exports = load();

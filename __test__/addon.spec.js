'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const test = require('ava');

const { endedWell, runProcess } = require('./helpers/processes.js');
const { napi } = require('../package.json');

const ROOT = path.join(__dirname, '..');

/** A copy of the package without any binary. */
function withoutBinary(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'redsync-addon-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true }));
  for (const file of ['index.js', 'native.js', 'package.json']) {
    fs.copyFileSync(path.join(ROOT, file), path.join(folder, file));
  }
  fs.cpSync(path.join(ROOT, 'lib'), path.join(folder, 'lib'), { recursive: true });
  return folder;
}

/** What a process is told that requires the package on that platform. */
async function refusal(t, folder, fake = {}) {
  const result = await runProcess(
    (file, folder, { platform, arch, glibc }) => {
      if (platform) Object.defineProperty(process, 'platform', { value: platform });
      if (arch) Object.defineProperty(process, 'arch', { value: arch });
      if (glibc === false) process.report.getReport = () => ({ header: {}, sharedObjects: [] });
      try {
        require(folder);
      } catch ({ name, code, message, cause }) {
        console.log(JSON.stringify({ name, code, message, cause: cause.message }));
      }
    },
    folder,
    fake,
  );
  endedWell(t, result);
  return JSON.parse(result.stdout);
}

const BUILD = /To build it, with Rust .*`npm run build && npm pack`/;

for (const [platform, arch, name, glibc] of [
  ['linux', 'x64', 'redsync-linux-x64-gnu'],
  ['linux', 'arm64', 'redsync-linux-arm64-gnu'],
  ['linux', 'x64', 'redsync-linux-x64-musl', false],
  ['linux', 'arm64', 'redsync-linux-arm64-musl', false],
  ['darwin', 'x64', 'redsync-darwin-x64'],
  ['darwin', 'arm64', 'redsync-darwin-arm64'],
  ['win32', 'x64', 'redsync-win32-x64-msvc'],
]) {
  test(`without ${name} the error names it, and says how to build it`, async (t) => {
    const error = await refusal(t, withoutBinary(t), { platform, arch, glibc });
    t.is(error.code, 'ERR_ADDON_NOT_LOADED');
    t.true(error.message.includes(`the package ${name}, `), error.message);
    t.regex(error.message, /npm install --include=optional/);
    t.regex(error.message, BUILD);
    t.truthy(error.cause);
  });
}

test('on a platform without a published binary the error says so', async (t) => {
  const error = await refusal(t, withoutBinary(t), { platform: 'freebsd', arch: 'x64' });
  t.is(error.code, 'ERR_ADDON_NOT_LOADED');
  t.regex(error.message, /no binary is published for freebsd-x64\./);
  t.regex(error.message, BUILD);
});

test('a binary that cannot be loaded is no missing package', async (t) => {
  const folder = withoutBinary(t);
  const installed = path.join(folder, 'node_modules', 'redsync-darwin-arm64');
  fs.mkdirSync(installed, { recursive: true });
  fs.writeFileSync(path.join(installed, 'index.js'), 'throw new Error("wrong ELF class")');
  fs.writeFileSync(path.join(installed, 'package.json'), '{ "version": "0.1.0" }');
  const error = await refusal(t, folder, { platform: 'darwin', arch: 'arm64' });
  t.regex(error.message, /the binary of the package redsync-darwin-arm64 cannot be loaded/);
  t.regex(error.message, BUILD);
});

test('import and require give the same classes', async (t) => {
  const required = require('..');
  const imported = await import('../index.js');
  for (const [name, value] of Object.entries(required)) t.is(imported[name], value, name);
  t.deepEqual(
    Object.keys(imported)
      .filter((name) => name !== 'default' && name !== 'module.exports')
      .sort(),
    Object.keys(required).sort(),
  );
});

test('the published platforms are those that errors know', (t) => {
  const names = new Map([
    ['x86_64-unknown-linux-gnu', 'linux-x64-gnu'],
    ['x86_64-unknown-linux-musl', 'linux-x64-musl'],
    ['aarch64-unknown-linux-gnu', 'linux-arm64-gnu'],
    ['aarch64-unknown-linux-musl', 'linux-arm64-musl'],
    ['x86_64-apple-darwin', 'darwin-x64'],
    ['aarch64-apple-darwin', 'darwin-arm64'],
    ['x86_64-pc-windows-msvc', 'win32-x64-msvc'],
  ]);
  const text = fs.readFileSync(path.join(ROOT, 'lib', 'addon.js'), 'utf8');
  const [, list] = /PLATFORMS = \[([^\]]*)\]/.exec(text);
  t.deepEqual(
    [...list.matchAll(/'([^']+)'/g)].map((match) => match[1]),
    napi.targets.map((target) => names.get(target)).sort(),
  );
});

test('N-API is linked, and not looked up for each worker while others call it', (t) => {
  if (process.platform === 'win32') return t.pass('the linker does not know Node.js there');
  require('..');
  const { sharedObjects } = process.report.getReport();
  const addon = sharedObjects.find((file) => /redsync.*\.node$/.test(file));
  t.false(fs.readFileSync(addon).includes('Node-API symbol'), 'napi-rs has "dyn-symbols"');
});

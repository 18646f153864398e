'use strict';

// What docs/bundlers.md says of bundlers and package managers, with the packed file and a server.

const fs = require('node:fs');
const path = require('node:path');

const test = require('ava');

const { rejection } = require('./helpers/async.js');
const { install, newFolder, npx, pack, run } = require('./helpers/packed.js');
const { storedOn, useServers } = require('./helpers/servers.js');

const BUNDLERS = { esbuild: '0.28.2', webpack: '5.113.0', rolldown: '1.3.2' };
const PNPM = 'pnpm@10.20.0';
const YARN = '@yarnpkg/cli-dist@4.18.1';

const PROGRAM = `
const { Redsync } = require('redsync');

(async () => {
  const redsync = new Redsync(process.argv.slice(2));
  const released = await redsync.acquire('released');
  await released.unlock();
  const kept = await redsync.acquire('kept');
  kept.letExpire();
  await redsync.close();
})();
`;

const MODULE = `
import { Redsync } from 'redsync';

const redsync = new Redsync(process.argv.slice(2));
const kept = await redsync.acquire('kept');
kept.letExpire();
await redsync.close();
`;

/** Where all is installed, and the packed file. */
let folder;
let packed;

/** A folder with programs that lock, and files of its own. */
function newProject(name, files) {
  const project = path.join(folder, name);
  fs.mkdirSync(project);
  const all = { 'package.json': '{ "private": true }', 'app.js': PROGRAM, 'app.mjs': MODULE };
  for (const [file, text] of Object.entries({ ...all, ...files })) {
    fs.writeFileSync(path.join(project, file), text);
  }
  return project;
}

test.before('pack, and install the bundlers', async (t) => {
  t.timeout(300_000, 'packages come from the registry');
  folder = newFolder('bundlers');
  packed = await pack(folder);
  const bundle = fs.readFileSync(path.join(__dirname, 'helpers', 'bundle.mjs'), 'utf8');
  const project = newProject('bundled', { 'bundle.mjs': bundle });
  await install(project, packed, ...Object.entries(BUNDLERS).map(([name, at]) => `${name}@${at}`));
});

test.after.always('remove it', () => fs.rmSync(folder, { recursive: true, force: true }));

/** What `execute(url)` runs, locks on a real server. */
async function locks(t, execute) {
  const servers = await useServers(t, 1);
  const { stderr } = await execute(servers[0].url);
  t.is(stderr, '');
  t.deepEqual(await storedOn(servers), [['kept']]);
}

/** Bundles the program; gives the file. */
async function bundle(bundler, how) {
  const cwd = path.join(folder, 'bundled');
  const file = path.join(cwd, 'out', bundler, how, 'app.cjs');
  await run(process.execPath, ['bundle.mjs', bundler, how, file], { cwd });
  return file;
}

const execute = (file) => (url) => run(process.execPath, [file, url]);

async function saysWhatToDo(t, file) {
  const { stderr } = await rejection(execute(file)('redis://127.0.0.1:1'));
  t.regex(stderr, /code: 'ERR_ADDON_NOT_LOADED'/);
  t.regex(stderr, /redsync: a bundler has packed the package without its binary/);
  t.regex(stderr, /Leave `redsync` out of the bundle: `external` of esbuild/);
}

for (const bundler of Object.keys(BUNDLERS)) {
  test.serial(`${bundler}: with the package external the bundle locks`, async (t) => {
    await locks(t, execute(await bundle(bundler, 'external')));
  });

  test.serial(
    `${bundler}: with nothing external there is no bundle, and the binary is named`,
    async (t) => {
      const { stderr } = await rejection(bundle(bundler, 'as it comes'));
      t.regex(stderr, /node_modules\/redsync\/redsync\.[\w-]+\.node/);
    },
  );

  test.serial(`${bundler}: a bundle without the binary says what to do`, async (t) => {
    await saysWhatToDo(t, await bundle(bundler, 'without the binary'));
  });
}

test.serial('esbuild: so does one with a path in its place', async (t) => {
  await saysWhatToDo(t, await bundle('esbuild', 'with a path for the binary'));
});

test.serial('esbuild: with a copy of the binary beside it the bundle locks', async (t) => {
  await locks(t, execute(await bundle('esbuild', 'with a copy of the binary')));
});

test.serial('pnpm installs what locks', async (t) => {
  t.timeout(300_000, 'pnpm comes from the registry');
  const cwd = newProject('pnpm');
  await npx([PNPM, 'add', '--store-dir', path.join(folder, 'store'), packed], cwd);
  for (const file of ['app.js', 'app.mjs']) {
    await locks(t, (url) => run(process.execPath, [file, url], { cwd }));
  }
});

test.serial('Yarn with Plug and Play installs what locks', async (t) => {
  t.timeout(300_000, 'Yarn comes from the registry');
  const cwd = newProject('yarn', {
    'yarn.lock': '', // it is a project of its own
    '.yarnrc.yml': [
      'nodeLinker: pnp',
      'pnpEnableEsmLoader: true',
      'enableGlobalCache: false',
      'enableTelemetry: false',
      '',
    ].join('\n'),
  });
  await npx([YARN, 'add', `redsync@file:${packed}`], cwd);
  t.false(fs.existsSync(path.join(cwd, 'node_modules')));
  const pnp = ['-r', './.pnp.cjs', '--no-warnings', '--loader', './.pnp.loader.mjs'];
  for (const file of ['app.js', 'app.mjs']) {
    await locks(t, (url) => run(process.execPath, [...pnp, file, url], { cwd }));
  }
});

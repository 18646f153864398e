'use strict';

// A program that was written for node-redlock 5 compiles and runs with only its import changed.

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');

const test = require('ava');

const { useServers } = require('../__test__/helpers/servers.js');

const run = promisify(execFile);

const SOURCE = fs.readFileSync(path.join(__dirname, 'program', 'program.ts'), 'utf8');
const TARGET = path.join(__dirname, 'target');
const TSC = path.join(__dirname, 'node_modules', 'typescript', 'bin', 'tsc');
const OPTIONS = {
  strict: true,
  skipLibCheck: true,
  target: 'es2022',
  types: ['node'],
  // node-redlock's types are not found by the newer ways to resolve modules.
  moduleResolution: 'node10',
  preserveSymlinks: true,
};

const FORMATS = [
  { title: 'CommonJS', extension: 'ts', module: 'commonjs', esModuleInterop: false },
  {
    title: 'CommonJS with esModuleInterop',
    extension: 'ts',
    module: 'commonjs',
    esModuleInterop: true,
  },
  { title: 'ESM', extension: 'mts', module: 'es2022', esModuleInterop: true },
];

/** Compiles the program; a type error rejects. */
async function compile(t, library, { title, extension, ...options }) {
  fs.mkdirSync(TARGET, { recursive: true });
  const directory = fs.mkdtempSync(path.join(TARGET, 'program-'));
  t.teardown(() => fs.rmSync(directory, { recursive: true }));
  const source = SOURCE.replace("} from 'redlock';", `} from '${library}';`);
  fs.writeFileSync(path.join(directory, `program.${extension}`), source);
  fs.writeFileSync(
    path.join(directory, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: { ...OPTIONS, ...options },
      files: [`program.${extension}`],
    }),
  );
  await run(process.execPath, [TSC, '-p', directory]).catch(({ stdout }) => {
    throw new Error(`${library} does not compile: ${stdout}`);
  });
  return path.join(directory, `program.${extension.replace('ts', 'js')}`);
}

/** What the program prints on servers of its own. */
async function transcript(t, program, size) {
  const servers = await useServers(t, size);
  const { stdout, stderr } = await run(
    process.execPath,
    [program, servers.map(({ url }) => url).join(',')],
    { timeout: 60_000 },
  );
  t.is(stderr, '');
  return stdout.trim().split('\n');
}

for (const format of FORMATS) {
  test.serial(`only the import changes: ${format.title}`, async (t) => {
    const [before, after] = await Promise.all(
      ['redlock', 'redsync/redlock'].map(async (library) =>
        transcript(t, await compile(t, library, format), 3),
      ),
    );
    t.deepEqual(after, before);
    t.is(before.at(-1), 'quit [true,true,true]');
  });
}

test.serial('the types are there for the newer ways to resolve modules, too', async (t) => {
  const compiled = [
    { module: 'es2022', moduleResolution: 'bundler', extension: 'ts' },
    ...['cts', 'mts'].map((extension) => ({
      module: 'nodenext',
      moduleResolution: 'nodenext',
      extension,
      skipLibCheck: false,
    })),
  ];
  for (const options of compiled) {
    t.true(fs.existsSync(await compile(t, 'redsync/redlock', options)));
  }
});

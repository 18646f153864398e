'use strict';

// A project in TypeScript with the package in node_modules: a program that uses every entry, and the tests of the types as
// such a project would have them. Any compiler can look at it.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const ts = require('typescript');

const { root } = require('../tools/setup.js');

/** With options that a program may have no value for. */
const PROGRAM = `
import { Redsync, type Lock } from 'redsync';
import Redlock, { ExecutionError } from 'redsync/redlock';
import { newPool as overIoredis } from 'redsync/ioredis';
import { newPool as overIovalkey } from 'redsync/iovalkey';
import { newPool as overNodeRedis } from 'redsync/node-redis';
import { newPool as overGlide } from 'redsync/valkey-glide';
import { instrument } from 'redsync/opentelemetry';
import { newClock } from 'redsync/testing';

const clock = newClock();
const signal = undefined;
const redsync = new Redsync(clock.nodes(), { expiry: undefined, autoExtend: { interval: undefined } });
const redlock = new Redlock(clock.nodes(), { retryCount: undefined });
const node = { host: '10.0.0.1', tls: { ca: undefined }, sentinels: undefined };
export const lock: Promise<Lock> = redsync.acquire('name', { signal, value: undefined });
export const pools = [overIoredis, overIovalkey, overNodeRedis, overGlide].map(({ length }) => length);
export const others = [new Redsync(node), redlock.acquire(['name'], 1000), ExecutionError.name];
export const stop: () => void = instrument(redsync);
`;

/** What the tests import from tsd. That what they call wrong is wrong, is looked at below. */
const EXPECT = `
export declare function expectType<T>(value: T): void;
export declare function expectAssignable<T>(value: T): void;
export declare function expectNotAssignable<T>(value: any): void;
export declare function expectError<T = any>(value: T): void;
`;

/** Of whose types those of the package speak. Theirs are big, so a project has them or not. */
const CLIENTS = [
  '@ioredis',
  '@iovalkey',
  '@protobufjs',
  '@redis',
  '@valkey',
  'ioredis',
  'iovalkey',
  'long',
  'protobufjs',
  'redis',
  'redis-4',
];

const TESTS = ['__test__/types/index', '__test__/types/undefined', 'redlock/index'];
const TEST_OF_CLIENTS = '__test__/types/clients';
const TEST_OF_USING = '__test__/types/using';
const USING_SINCE = 5.2;

/** Every way in which TypeScript looks for a package, by the versions that know it. */
const RESOLUTIONS = [
  { module: 'commonjs', moduleResolution: 'node', since: 4.9, until: 6 },
  { module: 'node16', moduleResolution: 'node16', since: 4.9 },
  { module: 'nodenext', moduleResolution: 'nodenext', since: 4.9 },
  { module: 'esnext', moduleResolution: 'bundler', since: 5 },
];

/** A test as it stands in a project: what it imports of the tree is the package there. */
function asInProject(test) {
  const entries = { '.': 'redsync/redlock', '../..': 'redsync', tsd: './expect' };
  const text = fs.readFileSync(path.join(root, `${test}.test-d.ts`), 'utf8');
  return text.replace(/ from '([^']+)';$/gm, (_, name) => {
    const entry = entries[name] ?? name.replace(/^\.\.\/\.\.\/lib\/(adapters\/)?/, 'redsync/');
    return ` from '${entry}';`;
  });
}

function fileOf(test) {
  return `${test.replace(/\W+/g, '-')}.ts`;
}

/** Writes the project into a folder that has the package in node_modules. */
function makeProject(folder, { withClients = false } = {}) {
  for (const name of withClients ? CLIENTS : []) {
    const link = path.join(folder, 'node_modules', name);
    if (fs.existsSync(link)) continue;
    fs.symlinkSync(path.join(root, 'node_modules', name), link, 'junction');
  }
  for (const ending of ['ts', 'cts', 'mts']) {
    fs.writeFileSync(path.join(folder, `program.${ending}`), PROGRAM);
  }
  fs.writeFileSync(path.join(folder, 'expect.d.ts'), EXPECT);
  for (const test of [...TESTS, TEST_OF_CLIENTS, TEST_OF_USING]) {
    fs.writeFileSync(path.join(folder, fileOf(test)), asInProject(test));
  }
}

/** Where a test says that something is wrong, as [first line, last line]. */
function wrongLines(text) {
  const source = ts.createSourceFile('test.ts', text, ts.ScriptTarget.Latest);
  const lineOf = (position) => source.getLineAndCharacterOfPosition(position).line + 1;
  const found = [];
  const visit = (node) => {
    if (ts.isCallExpression(node) && node.expression.getText(source) === 'expectError') {
      found.push([lineOf(node.getStart(source)), lineOf(node.end)]);
    } else {
      ts.forEachChild(node, visit);
    }
  };
  visit(source);
  return found;
}

/** What a compiler has printed, as { file, line, text }; what belongs to no file has none. */
function readComplaints(output) {
  return output
    .split('\n')
    .filter((line) => /\berror TS\d+:/.test(line))
    .map((text) => {
      const [, file = '', line] = /^(.+?)\((\d+),\d+\): /.exec(text) ?? [];
      return { file, line: Number(line), text };
    });
}

/** Whether the types of a client are right is not ours to ask, nor is a client there that a project does not have. */
function isOfClients({ file, text }) {
  const name = /node_modules\/((?:@[^/]+|(?!redsync\/)[^/@]+))\//.exec(file)?.[1];
  if (name !== undefined) return CLIENTS.includes(name);
  return /node_modules\/redsync\//.test(file) && CLIENTS.some((each) => text.includes(`'${each}`));
}

/** What is wrong with a test: that a compiler complains, and where it does not though it should. */
function judgeTest(folder, file, complaints) {
  const wrong = wrongLines(fs.readFileSync(path.join(folder, file), 'utf8'));
  const isIn = ({ line }, [first, last]) => first <= line && line <= last;
  const unexpected = complaints.filter((each) => !wrong.some((lines) => isIn(each, lines)));
  const missing = wrong.filter((lines) => !complaints.some((each) => isIn(each, lines)));
  return [
    ...unexpected.map(({ text }) => text),
    ...missing.map(([line]) => `${file}(${line}): no error, though one is expected`),
  ];
}

/**
 * What a compiler has against the package in a project, by its strictest rules.
 *
 * @param {string} folder
 * @param {object} how
 * @param {string} how.tsc the compiler
 * @param {number} how.version of it: 5.4
 * @param {object} how.resolution one of RESOLUTIONS
 * @param {string} how.nodeTypes the folder `node_modules/@types` that has those of Node.js
 * @param {boolean} [how.withClients] the project has the types of the clients
 * @returns {string[]}
 */
function complaintsAbout(folder, { tsc, version, resolution, nodeTypes, withClients = false }) {
  const { module, moduleResolution } = resolution;
  const ofProject = withClients ? [TEST_OF_CLIENTS] : TESTS;
  const tests = [...ofProject, ...(version >= USING_SINCE ? [TEST_OF_USING] : [])].map(fileOf);
  const endings = module.startsWith('node') ? ['ts', 'cts', 'mts'] : ['ts'];
  const config = path.join(folder, 'tsconfig.json');
  const compilerOptions = {
    module,
    moduleResolution,
    noEmit: true,
    strict: true,
    exactOptionalPropertyTypes: true,
    esModuleInterop: true,
    preserveSymlinks: true,
    skipLibCheck: false,
    target: 'es2022',
    types: ['node'],
    typeRoots: [nodeTypes],
    ...(version === 6 && { ignoreDeprecations: '6.0' }), // node
  };
  const files = [...endings.map((ending) => `program.${ending}`), ...tests];
  fs.writeFileSync(config, JSON.stringify({ compilerOptions, files }));
  const args = [tsc, '--project', config, '--pretty', 'false'];
  const options = { cwd: folder, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 };
  const { stdout, stderr, error } = spawnSync(process.execPath, args, options);
  if (error || stderr) throw new Error(`${tsc}: ${error?.message ?? stderr}`);
  const complaints = readComplaints(stdout).filter((each) => !isOfClients(each));
  const ofTests = tests.flatMap((name) => {
    const about = complaints.filter(({ file }) => file === name);
    return judgeTest(folder, name, about);
  });
  const others = complaints.filter(({ file }) => !tests.includes(file));
  return [...others.map(({ text }) => text), ...ofTests];
}

/** The ways in which a version of TypeScript looks for a package. */
function resolutionsOf(version) {
  return RESOLUTIONS.filter(({ since, until = Infinity }) => since <= version && version <= until);
}

module.exports = { complaintsAbout, makeProject, resolutionsOf };

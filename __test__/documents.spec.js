'use strict';

// What the documents say holds: their code has the right types, their commands and links exist, and the
// API reference is that of index.d.ts.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const test = require('ava');
const ts = require('typescript');

const { engines, scripts } = require('../package.json');

const ROOT = path.join(__dirname, '..');
const DOCUMENTS = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md'].concat(
  fs
    .readdirSync(path.join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
);

/** What a page has introduced before a block, or leaves to the reader. */
const CONTEXT = `
import type * as Library from 'redsync';
declare global {
  const redsync: Library.Redsync;
  const mutex: Library.Mutex;
  const lock: Library.Lock;
  const Redsync: typeof Library.Redsync;
  const job: { value: string };
  const queue: { push(job: unknown): Promise<void> };
  const rs: Library.Redsync;
  const custom: any;
  const take: any;
  const giveBack: any;
  const log: any;
  const account: any;
  // From the page's earlier blocks: other libraries, and our pools around them.
  const Redis: any;
  const createClient: any;
  const GlideClient: any;
  const Redlock: any;
  const newPool: any;
  const work: () => Promise<void>;
  function writeReport(options: { signal: AbortSignal }): Promise<void>;
}
`;

function read(document) {
  return fs.readFileSync(path.join(ROOT, document), 'utf8');
}

/** The fenced blocks of these languages, with the line that each begins on. */
function blocks(document, languages) {
  return [...read(document).matchAll(/^```(\w*)\n([^]*?)^```$/gm)]
    .filter(([, language]) => languages.includes(language))
    .map(({ 1: language, 2: code, index }) => {
      return {
        document,
        language,
        code,
        line: read(document).slice(0, index).split('\n').length + 1,
      };
    });
}

/** A block as a module of its own; what is left is the body of a function if it returns. */
function asModule({ code }) {
  const imports = [];
  const rest = code
    .replace(/^const (\{[^}]*\}|\w+) = require\(('[^']+')\);$/gm, (_, what, from) => {
      imports.push(`import ${what.startsWith('{') ? what : `* as ${what}`} from ${from};`);
      return '';
    })
    .replace(/^import .* from .*;$/gm, (line) => {
      imports.push(line);
      return '';
    });
  const body = /^\s*(if .*)?return\b/m.test(rest) ? `async () => { ${rest}\n};` : rest;
  return `${imports.join(' ')} export {}; ${body}\n`;
}

const TYPED = DOCUMENTS.flatMap((document) => blocks(document, ['js', 'ts', 'mjs']));

test.serial('every code block has the right types', (t) => {
  t.true(TYPED.length > 20, 'the blocks were found');
  const folder = path.join(ROOT, 'target', 'documents'); // below the package, whose name it can import
  const files = new Map([[path.join(folder, 'context.d.ts'), CONTEXT]]);
  TYPED.forEach((block, i) => files.set(path.join(folder, `${i}.ts`), asModule(block)));
  const options = {
    allowJs: true,
    lib: ['lib.esnext.d.ts'],
    module: ts.ModuleKind.NodeNext,
    moduleDetection: ts.ModuleDetectionKind.Force,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    noEmit: true,
    strict: false,
    strictNullChecks: true, // the rest of `strict` asks for annotations, which JavaScript has not
    skipLibCheck: true,
    target: ts.ScriptTarget.ESNext,
    types: ['node'],
    typeRoots: [path.join(ROOT, 'node_modules', '@types')],
  };
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, 'package.json'), '{ "type": "module" }');
  fs.mkdirSync(path.join(folder, 'node_modules'));
  fs.symlinkSync(ROOT, path.join(folder, 'node_modules', 'redsync'));
  for (const [file, text] of files) fs.writeFileSync(file, text);
  const program = ts.createProgram([...files.keys()], options);
  const complaints = [];
  for (const { file, start, messageText } of ts.getPreEmitDiagnostics(program)) {
    const block = TYPED[Number.parseInt(path.basename(file?.fileName ?? ''), 10)];
    const line = block && block.line + file.getLineAndCharacterOfPosition(start).line;
    complaints.push(
      `${block?.document}:${line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`,
    );
  }
  t.deepEqual(complaints, []);
});

test('every npm command exists', (t) => {
  let found = 0;
  for (const { document, code, line } of DOCUMENTS.flatMap((name) => blocks(name, ['sh']))) {
    for (const [, script] of code.matchAll(/^npm (?:run )?([\w:]+)/gm)) {
      found++;
      const isKnown = ['ci', 'install', 'pack', 'audit'].includes(script) || script in scripts;
      t.true(isKnown, `${document}:${line}: npm run ${script}`);
    }
    for (const [, file] of code.matchAll(/^node (\S+\.js)/gm)) {
      t.true(fs.existsSync(path.join(ROOT, file)), `${document}:${line}: ${file}`);
    }
  }
  t.true(found > 0);
});

/** The anchors that a document's headings make, as the places that show it write them. */
function anchors(document) {
  const headings = read(document).matchAll(/^#+ +(.*)$/gm);
  return new Set(
    [...headings].map(([, heading]) =>
      heading
        .toLowerCase()
        .replace(/[^\w\s-]/g, '')
        .trim()
        .replaceAll(' ', '-'),
    ),
  );
}

test('every link leads somewhere', (t) => {
  for (const document of DOCUMENTS) {
    for (const [, link] of read(document).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue;
      const [target, anchor] = link.split('#');
      const file = target === '' ? document : path.join(path.dirname(document), target);
      t.true(fs.existsSync(path.join(ROOT, file)), `${document}: ${link}`);
      if (anchor !== undefined) t.true(anchors(file).has(anchor), `${document}: ${link}`);
    }
  }
});

test('the figures of the README are those of the benchmarks', (t) => {
  const rows = read('README.md').matchAll(/^\|[^|]* [¹²³] \|(.*)\|$/gm);
  const figures = [...rows].flatMap(([, cells]) => cells.match(/\d[\d.]*k?/g));
  t.true(figures.length > 20, `${figures.length}`);
  const measured = new Set(read('docs/benchmarks.md').match(/\d[\d.]*k?/g));
  t.deepEqual(
    figures.filter((figure) => !measured.has(figure)),
    [],
  );
});

/** The versions of something from which on it is supported, as a page says. */
function supported(document, what) {
  const names = new RegExp(`\\b${what}(?: \\|)? ([\\d.]+\\d|\\d+),? (?:and|or) newer`, 'g');
  return [...read(document).matchAll(names)].map(([, version]) => version);
}

test('every page says the same of what is supported', (t) => {
  const [, node] = /^>=(\d+)$/.exec(engines.node);
  const floors = { 'Node.js': node, Redis: '6.2', Valkey: '7.2', TypeScript: '4.9' };
  for (const [what, floor] of Object.entries(floors)) {
    const [, tried] = new RegExp(`^\\| ${what} ([\\d.]+) \\|`, 'm').exec(read('docs/platforms.md'));
    t.is(tried, floor, `the first ${what} that was tried`);
    for (const document of ['docs/support.md', 'docs/platforms.md']) {
      t.deepEqual(supported(document, what), [floor], `${what} in ${document}`);
    }
  }
  for (const what of ['Node.js', 'TypeScript']) {
    for (const document of DOCUMENTS) {
      for (const version of supported(document, what)) t.is(version, floors[what], document);
    }
  }
});

test('every answer to a question is short and leads to more', (t) => {
  const [, ...answers] = read('docs/faq.md').split(/^### /m);
  t.true(answers.length >= 25, `${answers.length}`);
  for (const answer of answers) {
    const [question, , ...lines] = answer
      .replace(/^## .*$/m, '')
      .trimEnd()
      .split('\n');
    t.regex(question, /\?/);
    t.true(lines.length <= 4, question);
    t.regex(lines.at(-1), /^→ \[.*\]\(.*\)$/, question);
  }
});

/** The files below a folder of ours; others' are not followed, for those of interop/ have a link to all of this. */
function filesBelow(folder) {
  const entries = fs.readdirSync(path.join(ROOT, folder), { withFileTypes: true });
  return entries
    .filter(({ name }) => name !== 'node_modules')
    .flatMap((entry) => {
      const file = path.join(folder, entry.name);
      return entry.isDirectory() ? filesBelow(file) : [file];
    });
}

test('every source file that is named exists', (t) => {
  const sources = [
    'crates/engine',
    'crates/mutants',
    'crates/mutator',
    'src',
    'lib',
    '__test__',
    'cli',
    'redlock',
    'bench',
    'interop',
    'examples',
    'fuzz',
    'scripts',
    'soak',
    'tools',
  ];
  const files = ['index.js', 'build.rs', 'native.js'].concat(sources.flatMap(filesBelow));
  let found = 0;
  for (const document of DOCUMENTS) {
    for (const [, name] of read(document).matchAll(/`([\w/.-]+\.(?:rs|js|lua))`/g)) {
      found++;
      t.true(
        files.some((file) => `/${file}`.endsWith(`/${name}`)),
        `${document}: ${name}`,
      );
    }
  }
  t.true(found > 20, `${found}`);
});

test('the API reference is that of index.d.ts', (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'redsync-docs-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true }));
  const typedoc = path.join(ROOT, 'node_modules', 'typedoc', 'bin', 'typedoc');
  execFileSync(process.execPath, [typedoc, '--out', folder], { cwd: ROOT, stdio: 'pipe' });
  const generated = fs.readFileSync(path.join(folder, 'README.md'), 'utf8');
  t.true(generated === read('docs/api/README.md'), 'run `npm run docs`');
});

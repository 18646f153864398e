'use strict';

// The licenses of what is compiled into the binaries and the WebAssembly module: of the crates, from their own files; of Rust's
// standard library and of wasi-libc, from the documents of Rust. A part without a license text ends a release.

const fs = require('node:fs');
const path = require('node:path');

const { SetupError } = require('../tools/setup.js');
const { run } = require('./packages.js');

const NOTICES = 'THIRD-PARTY-NOTICES.txt';

const LICENSE_FILE = /^(?:licen[cs]e|copying|unlicense)/i;
const ALWAYS = /^notices?\b|third-party/i;

/** Crates of the standard library for systems that have no binary of ours. */
const ELSEWHERE = /^(?:fortanix-sgx-abi|hermit-abi|moto-rt|r-efi|r-efi-alloc|unwinding|vex-sdk) /;

/** Rust has no document of what wasi-libc is made of: these are the words of its source. */
const WASI_LIBC = [
  ['musl, in wasi-libc', 'MIT', 'Copyright © 2005-2020 Rich Felker, et al.'],
  ['cloudlibc, in wasi-libc', 'BSD-2-Clause', 'Copyright (c) 2015-2016 Nuxi, https://nuxi.nl/'],
  [
    'libpreopen, in wasi-libc',
    'BSD-2-Clause',
    'Copyright (c) 2016-2017 Stanley Uche Godfrey\nCopyright (c) 2016-2018 Jonathan Anderson',
  ],
  ['wasi-libc', 'MIT', 'The contributors of wasi-libc'],
];

function cargoMetadata(folder, triples) {
  const filters = triples.flatMap((triple) => ['--filter-platform', triple]);
  const args = ['metadata', '--format-version', '1', '--locked', ...filters];
  return JSON.parse(run('cargo', args, { cwd: folder }));
}

/** The crates that are compiled into the addon for these targets; those that only build it are not in it. */
function cratesOf(folder, triples) {
  const { packages, resolve } = cargoMetadata(folder, triples);
  const byId = new Map(packages.map((each) => [each.id, each]));
  const nodes = new Map(resolve.nodes.map((node) => [node.id, node]));
  const found = new Set();
  const visit = (id) => {
    const isMacro = byId.get(id).targets.some(({ kind }) => kind.includes('proc-macro'));
    if (found.has(id) || isMacro) return;
    found.add(id);
    for (const { pkg, dep_kinds: kinds } of nodes.get(id).deps) {
      if (kinds.some(({ kind }) => kind === null)) visit(pkg);
    }
  };
  visit(resolve.root);
  return [...found].map((id) => byId.get(id)).filter(({ source }) => source !== null);
}

/** The names of the texts to show: where a license may be chosen it is MIT, for its text names who wrote the crate. */
function chosen(license, names) {
  const texts = names.filter((name) => LICENSE_FILE.test(name));
  const notices = names.filter((name) => ALWAYS.test(name));
  const isChoice = /\bMIT\b/.test(license) && !/\bAND\b/.test(license);
  const mit = isChoice ? texts.filter((name) => /mit/i.test(name)) : [];
  return new Set([...(mit.length > 0 ? mit : texts), ...notices]);
}

function read(...parts) {
  return fs.readFileSync(path.join(...parts), 'utf8');
}

/** A text of Rust's documents, with these holders of the copyright; none if they do not have it. */
function standardTexts(documents, license, holders) {
  const file = path.join(documents, 'licenses', `${license}.txt`);
  if (!fs.existsSync(file)) return [];
  const text = read(file)
    .replace(/^MIT License\n+/, '')
    .replace(/^.*Copyright.*<.*\n+/m, '');
  return [`${holders}\n\n${text}`];
}

/** A crate, as { name, license, texts }. */
function noticeOfCrate({ name, version, license, authors, manifest_path: manifest }, documents) {
  const folder = path.dirname(manifest);
  const texts = [...chosen(license ?? '', fs.readdirSync(folder))].map((file) =>
    read(folder, file),
  );
  // C code that a crate brings has a license of its own.
  for (const file of name === 'libmimalloc-sys' ? ['c_src/mimalloc/v2/LICENSE'] : []) {
    texts.push(read(folder, file));
  }
  if (texts.length === 0) {
    const holders = authors.length > 0 ? authors.join(', ') : `the authors of ${name}`;
    texts.push(...standardTexts(documents, license, `Copyright (c) ${holders}`));
  }
  return { name: `${name} ${version}`, license, texts };
}

function textOf(html) {
  return html
    .replace(/<[^>]*>/g, '')
    .replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)));
}

/** A crate in Rust's document of its standard library. */
function readCrate(html) {
  const name = html.slice(0, html.indexOf('<')).replace(/-(?=\d+\.\d+\.\d)/, ' ');
  const license = textOf(/<b>License:<\/b>(.*?)<\/p>/s.exec(html)[1]).trim();
  const found = html.matchAll(/<code>([^<]*)<\/code><\/summary>\s*<pre>\n?(.*?)<\/pre>/gs);
  const files = new Map([...found].map(([, file, body]) => [file, textOf(body)]));
  const texts = [...chosen(license, [...files.keys()])].map((file) => files.get(file));
  return { name: `${name}, in Rust's standard library`, license, texts };
}

/** Of Rust's standard library and the crates in it, as its document says. */
function noticesOfStandardLibrary(documents) {
  const [own, ...crates] = read(documents, 'COPYRIGHT-library.html').split('<h3>📦 ');
  const holders = [...own.matchAll(/<b>Copyright:<\/b>(.*?)<\/p>/gs)].map(([, all]) =>
    textOf(all).trim(),
  );
  if (holders.length === 0) throw new SetupError('COPYRIGHT-library.html names nobody');
  const lines = [...new Set(holders)].map((holder) => `Copyright: ${holder}`).join('\n');
  return [
    {
      name: 'Rust standard library',
      license: 'Apache-2.0 OR MIT, in parts Unicode-3.0 or BSD-2-Clause',
      texts: ['MIT', 'Unicode-3.0', 'BSD-2-Clause'].flatMap((each) =>
        standardTexts(documents, each, lines),
      ),
    },
    ...crates.map(readCrate).filter(({ name }) => !ELSEWHERE.test(name)),
  ];
}

/** The lines of a text, without what differs from crate to crate for nothing. */
function tidy(text) {
  return text
    .replace(/\r/g, '')
    .replace(/[ \t]+$/gm, '')
    .replace(/^\n+|\s+$/g, '');
}

/**
 * The text of the notices. What several have in common stands once.
 *
 * @param {string} folder with the Cargo.lock
 * @param {string[]} triples the targets of the binaries
 */
function noticesOf(folder, triples) {
  const documents = path.join(run('rustc', ['--print', 'sysroot']).trim(), 'share', 'doc', 'rust');
  const all = [
    ...cratesOf(folder, triples).map((each) => noticeOfCrate(each, documents)),
    ...noticesOfStandardLibrary(documents),
    ...WASI_LIBC.map(([name, license, holders]) => {
      return { name, license, texts: standardTexts(documents, license, holders) };
    }),
  ];
  const byText = new Map();
  for (const { name, license, texts } of all) {
    if (!license || texts.length === 0) throw new SetupError(`${name} has no license text`);
    for (const text of texts.map(tidy)) {
      byText.set(text, [...(byText.get(text) ?? []), `${name} (${license})`]);
    }
  }
  const rule = '-'.repeat(80);
  const parts = [...byText].map(([text, names]) => `${rule}\n${names.join('\n')}\n\n${text}\n`);
  const head = 'The binaries of redsync and its WebAssembly module contain the following.\n';
  return [head, ...parts].join('\n');
}

module.exports = { NOTICES, noticesOf };

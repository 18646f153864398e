'use strict';

// A release says what is compiled into it, and under which license.

const { execFileSync } = require('node:child_process');
const os = require('node:os');
const path = require('node:path');

const test = require('ava');

const { noticesOf } = require('../scripts/notices.js');
const { WASM_TARGET } = require('../tools/setup.js');
const { napi } = require('../package.json');

const ROOT = path.join(__dirname, '..');
const TARGETS = [...napi.targets, WASM_TARGET];

const notices = noticesOf(ROOT, TARGETS);

/** Each part, as [names, text]. */
const parts = notices
  .split(/^-{80}\n/m)
  .slice(1)
  .map((part) => {
    const end = part.indexOf('\n\n');
    return [part.slice(0, end).split('\n'), part.slice(end + 2)];
  });

/** What cargo itself says is linked for a target, as "name version". */
function linkedFor(target) {
  const form = ['--edges', 'normal,no-proc-macro', '--prefix', 'none', '--format', '{p}'];
  const args = ['tree', '--locked', '--package', 'redsync', '--target', target, ...form];
  return execFileSync('cargo', args, { cwd: ROOT, encoding: 'utf8' })
    .split('\n')
    .filter((line) => line !== '' && !line.includes(ROOT)) // ours
    .map((line) => line.replace(/^(\S+) v(\S+).*$/, '$1 $2'));
}

test('every crate that is linked for any target is named with its license', (t) => {
  const named = new Set(
    parts.flatMap(([names]) => names.map((name) => name.replace(/ \(.*$/, ''))),
  );
  for (const target of TARGETS) {
    const linked = linkedFor(target);
    t.true(linked.length >= 10, target);
    t.deepEqual(
      linked.filter((name) => !named.has(name)),
      [],
      target,
    );
  }
});

test('what builds the addon and is not in it is not named', (t) => {
  for (const name of ['napi-build', 'syn', 'stateright']) {
    t.false(
      parts.some(([names]) => names.some((each) => each.startsWith(`${name} `))),
      name,
    );
  }
});

test('the standard library and the C library of the module are named', (t) => {
  const all = parts.flatMap(([names]) => names);
  for (const name of [/^Rust standard library/, /^hashbrown .* in Rust's/, /^musl/, /^wasi-libc/]) {
    t.true(
      all.some((each) => name.test(each)),
      String(name),
    );
  }
});

test('every part has the text of a license, and nothing of this machine', (t) => {
  for (const [names, text] of parts) {
    t.true(names.length > 0 && names.every((name) => /^\S.* \(.+\)$/.test(name)), names.join());
    t.regex(text, /permi(t|ss)|licen[cs]e/i, names.join());
    t.notRegex(text, /<year>|<owner>/, names.join());
  }
  for (const place of [ROOT, os.homedir()]) t.false(notices.includes(`${place}/`));
});

'use strict';

// The engine as a WebAssembly module, where no addon can be loaded: it has what lib/calls.js asks of the addon. It
// runs on the event loop, and asks pools only. The exports of the module are in src/binding/wasm.rs.

const { webcrypto } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { performance } = require('node:perf_hooks');

const { WebAssembly } = globalThis;

const FILE = require.resolve('../redsync.wasm');

const KINDS = { pool: 0, cluster: 1, memory: 2 };

const SUCCESS = 0;
const NOT_SUPPORTED = 58;
const WALL_CLOCK = 0;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

let exported;

function view() {
  return new DataView(exported.memory.buffer);
}

/**
 * What Rust's library wants of its host, and no more: time and luck.
 * https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md
 */
const host = {
  clock_time_get(clock, precision, at) {
    const now = performance.now();
    const milliseconds = clock === WALL_CLOCK ? performance.timeOrigin + now : now;
    view().setBigUint64(at, BigInt(Math.round(milliseconds * 1e6)), true);
    return SUCCESS;
  },
  random_get(at, length) {
    const most = 65_536; // the most that one call gives
    for (let from = 0; from < length; from += most) {
      const some = Math.min(most, length - from);
      webcrypto.getRandomValues(new Uint8Array(exported.memory.buffer, at + from, some));
    }
    return SUCCESS;
  },
  environ_sizes_get(countAt, lengthAt) {
    view().setUint32(countAt, 0, true);
    view().setUint32(lengthAt, 0, true);
    return SUCCESS;
  },
  environ_get: () => SUCCESS,
  fd_write: () => NOT_SUPPORTED,
  proc_exit(code) {
    throw new Error(`the engine has ended: ${code}`);
  },
};

function load() {
  const module = new WebAssembly.Module(readFileSync(FILE));
  const instance = new WebAssembly.Instance(module, { wasi_snapshot_preview1: host });
  exported = instance.exports;
  exported._initialize();
}

/** Leaves numbers and a text for the next call. */
function put(numbers, count, string) {
  const at = exported.numbers(count);
  new Float64Array(exported.memory.buffer, at, count).set(numbers.subarray(0, count));
  const bytes = encoder.encode(string);
  const textAt = exported.text(bytes.length);
  new Uint8Array(exported.memory.buffer, textAt, bytes.length).set(bytes);
}

/** The text that the last call has left. */
function takeText() {
  const length = exported.text_length();
  if (length === 0) return '';
  return decoder.decode(new Uint8Array(exported.memory.buffer, exported.text(length), length));
}

class Engine {
  open(nodes, owner) {
    const numbers = nodes.flatMap(({ kind, isCluster, clock, ahead, name }) => {
      const length = name === undefined ? 0 : encoder.encode(name).length;
      return [KINDS[isCluster ? 'cluster' : kind], clock ?? 0, ahead ?? 0, length];
    });
    const names = nodes.map(({ name }) => name ?? '').join('');
    put(Float64Array.from(numbers), numbers.length, names + (owner ?? ''));
    return exported.open(owner === undefined ? 0 : 1);
  }

  run(records, used, text) {
    put(records, used, text);
    return exported.run();
  }

  drain(completions) {
    const at = exported.drain(completions.length);
    completions.set(new Float64Array(exported.memory.buffer, at, completions.length));
    return takeText();
  }

  until(lease) {
    return exported.until(lease);
  }

  takeUntil(lease) {
    return exported.take_until(lease);
  }
}

function crossing() {
  exported.crossing();
  const sets = {};
  for (const line of takeText().trimEnd().split('\n')) {
    const [set, name, number] = line.split(' ');
    (sets[set] ??= {})[name] = Number(number);
  }
  return sets;
}

function scripts() {
  exported.scripts();
  const [, ...parts] = takeText().split('\0');
  const sources = {};
  for (let i = 0; i < parts.length; i += 2) sources[parts[i]] = parts[i + 1];
  return sources;
}

load();

module.exports = {
  Engine,
  crossing,
  scripts,
  now: () => exported.now(),
  newClock: () => exported.new_clock(),
};

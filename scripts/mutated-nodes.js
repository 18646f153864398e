'use strict';

// The addon with all mutants of `src/node/redis`; its tests, and the specs that ask servers by it.

const fs = require('node:fs');
const path = require('node:path');

const { SetupError, announce, bin, requireRedisServer, root } = require('../tools/setup.js');
const { MutatedCrate, TIMEOUT, execute } = require('./mutated-crate.js');

/** The specs that are about servers. */
const SPECS = [
  'acl',
  'canary',
  'cluster',
  'deleted',
  'deletion',
  'endless',
  'extend',
  'faults',
  'fencing',
  'frozen',
  'garbage',
  'link',
  'list',
  'lock',
  'older-clients',
  'owner',
  'permits',
  'quarantine',
  'readers',
  'redsync',
  'resent',
  'same-server',
  'sentinel',
  'tls',
  'together',
  'unlock',
  'waiting',
  'wrong-server',
];

/** Those that are about a file, and are tried however long they take. */
const OWN = {
  'cluster.rs': 'cluster',
  'link.rs': 'link',
  'news.rs': 'sentinel',
  'question.rs': 'link',
  'route.rs': 'sentinel',
  'sentinel.rs': 'sentinel',
  'server.rs': 'cluster',
  'slot.rs': 'cluster',
  'tracking.rs': 'deleted',
  'turn.rs': 'cluster',
  'watch.rs': 'waiting',
};

const pathOf = (name) => path.join('__test__', `${name}.spec.js`);

const crate = new MutatedCrate({
  name: 'nodes',
  folder: '',
  mutated: path.join('node', 'redis'),
  beside: ['build.rs', 'fuzz'],
  profiles:
    '\n[profile.dev]\nopt-level = 2\ndebug = false\n\n[profile.test]\nopt-level = 2\ndebug = false\n',
});

/** One test is a file of specs. */
class Specs {
  name = 'specs';

  /** In ms without a mutant: who has not been found by then, nor by the file's own spec, has survived. */
  budget = 45_000;

  patience = 2.5;

  /** @param {string} file the addon that they use */
  constructor(file) {
    this.file = file;
  }

  tests() {
    return SPECS.map(pathOf);
  }

  /** Is this test about that file? */
  isOf(test, file) {
    return file in OWN && test === pathOf(OWN[file]);
  }

  async execute(specs, { env, timeout } = {}) {
    let ended;
    // On a busy machine one may fail by itself.
    for (let left = 2; left > 0; left--) {
      ended = await execute(bin('ava'), ['--tap', '--fail-fast', '--concurrency=1', ...specs], {
        failureIn: (output) => /^not ok \d+ - (.*)$/m.exec(output)?.[1],
        cwd: root,
        env: { NAPI_RS_NATIVE_LIBRARY_PATH: this.file, ...env },
        timeout,
      });
      if (!ended.wrong || ended.wrong === TIMEOUT) break;
    }
    return ended;
  }
}

/** The test program of the copy, and the specs. */
function build({ withSpecs }) {
  const programs = crate.testPrograms(['--lib']);
  if (!withSpecs) return programs;
  requireRedisServer();
  announce('cargo build');
  const { succeeded, messages, stderr } = crate.cargo(['build', '--lib']);
  if (!succeeded) throw new SetupError(`the addon does not compile:\n${stderr}`);
  const { filenames } = messages.findLast(({ target }) => target?.name === 'redsync');
  const addon = path.join(crate.folder, 'redsync.node');
  // A file that is the same stays what it was: what was measured with it holds.
  const built = fs.readFileSync(filenames[0]);
  if (!fs.existsSync(addon) || !fs.readFileSync(addon).equals(built))
    fs.writeFileSync(addon, built);
  return [...programs, new Specs(addon)];
}

module.exports = { build, crate };

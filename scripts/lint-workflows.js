'use strict';

// Checks the workflows by actionlint: the one that is installed, or one that Go fetches and builds.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { SetupError, main, root, run } = require('../tools/setup.js');

const ACTIONLINT = 'github.com/rhysd/actionlint/cmd/actionlint@v1.7.12';
const WORKFLOWS = path.join('.github', 'workflows');

function starts(command, args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

/** The command that runs it; `undefined` if there is neither. */
function actionlint() {
  if (starts('actionlint', ['--version'])) return ['actionlint'];
  return starts('go', ['version']) ? ['go', 'run', ACTIONLINT] : undefined;
}

if (require.main === module) {
  main(() => {
    const found = actionlint();
    if (!found) throw new SetupError('install actionlint, or Go, which fetches it');
    const files = fs.readdirSync(path.join(root, WORKFLOWS));
    const [command, ...args] = found;
    run(command, [...args, ...files.map((file) => path.join(WORKFLOWS, file))]);
  });
}

module.exports = { actionlint };

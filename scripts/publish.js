'use strict';

// Publishes the packages that scripts/release.js has made, those very files. Run again after a failure, it goes on where
// it was.
//
//   node scripts/publish.js

const { spawnSync } = require('node:child_process');

const { announce, main } = require('../tools/setup.js');
const { packagesOf, run } = require('./packages.js');

/** Is this version of a package on npm already? Then an earlier run has come that far. */
function isPublished(name, version) {
  const args = ['view', `${name}@${version}`, 'version', '--prefer-online'];
  return spawnSync('npm', args, { encoding: 'utf8' }).stdout.trim() === version;
}

/** The packages of the platforms first: whoever installs the package at once finds them. */
function publishAll(version, isDry) {
  const tag = version.includes('-') ? 'next' : 'latest';
  const how = isDry ? '--dry-run' : '--provenance';
  for (const { name, file } of packagesOf(version)) {
    if (!isDry && isPublished(name, version)) {
      announce(`${name} ${version}: is on npm already`);
      continue;
    }
    const args = ['--access', 'public', '--tag', tag, '--loglevel', 'error', how];
    run('npm', ['publish', file, ...args]);
    announce(`${name} ${version}: ${isDry ? 'npm would publish it' : 'published'}`);
  }
}

if (require.main === module) main(() => publishAll(require('../package.json').version, false));

module.exports = { publishAll };

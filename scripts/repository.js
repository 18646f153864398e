'use strict';

// Where the source of a release is. The tree does not say it: the workflow that releases it knows.

const { SetupError } = require('../tools/setup.js');

/** For a try on a machine that has no such place. */
const EXAMPLE = 'https://github.com/example/redsync';

/**
 * @param {string | undefined} given on the command line
 * @param {Record<string, string | undefined>} env of the workflow
 * @param {boolean} isRequired no example will do
 * @returns {string} an https: URL without an end such as .git
 */
function hostingUrl(given, env, isRequired) {
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository } = env;
  const url = given ?? (server && repository && `${server}/${repository}`);
  if (!url && isRequired) throw new SetupError('where is the source? Give --repository URL');
  if (url && !/^https:\/\/[\w.-]+(?:\/[\w.-]+){2,}$/.test(url)) {
    throw new SetupError(`--repository takes https://HOST/OWNER/NAME, not "${url}"`);
  }
  return (url || EXAMPLE).replace(/\.git$/, '');
}

/**
 * A manifest that says where the source is, where to read about it, and where to report what is wrong. npm refuses
 * provenance of a package that names another repository than the one which publishes it.
 */
function named(manifest, url) {
  return {
    ...manifest,
    repository: { type: 'git', url: `git+${url}.git` },
    homepage: `${url}#readme`,
    bugs: { url: `${url}/issues` },
  };
}

module.exports = { hostingUrl, named };

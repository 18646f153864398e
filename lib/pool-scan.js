'use strict';

// Which keys of the node of a pool may be locks: a page of them. A cluster is walked over master by master, and the
// cursor of each has the index of its master in front, as in `2:1536`.

const { prefixOf } = require('./adapters/conn.js');
const { literal } = require('./glob.js');
const { Lack } = require('./pool-failures.js');
const { text } = require('./pool-replies.js');
const { SCRIPTS } = require('./scripts.js');

/** So many keys a server looks at, as over a URL: see src/node/redis/command.rs. */
const COUNT = 200;

/** Of a cluster. */
const MAX_MASTERS = 1000;

/** What the script tells: the next cursor, and at most so much JSON. */
const PAGE = /^[\d:]{1,32}\n\[[^]{0,65536}$/;

const START = '0';

/**
 * @param {import('..').Conn} conn
 * @param {boolean} isCluster
 * @param {string} pattern of keys
 * @param {string} from where to go on, '' for the beginning
 * @returns {Promise<string>} the next cursor, '0' for the end, a line break and the keys as JSON; '' for what is no page
 */
async function scan(conn, isCluster, pattern, from) {
  if (typeof conn.masters !== 'function') {
    if (!isCluster) return page(conn, pattern, from || START);
    throw new Lack(
      'the connection of the pool has no masters(), by which list() finds the keys of a cluster',
    );
  }
  const masters = await conn.masters();
  if (!Array.isArray(masters) || masters.length > MAX_MASTERS) return '';
  const [index, cursor] = from === '' ? ['0', START] : from.split(':');
  // There are fewer than before.
  if (!(Number(index) < masters.length)) return `${START}\n[]`;
  const found = await page(masters[index], pattern, cursor);
  if (!PAGE.test(found)) return '';
  const [next] = found.split('\n', 1);
  return found.replace(next, following(Number(index), next, masters.length));
}

function following(index, next, count) {
  if (next !== START) return `${index}:${next}`;
  return index + 1 < count ? `${index + 1}:${START}` : START;
}

/** What the client puts in front of keys it does not put in front of patterns, nor take from what it finds. */
async function page(conn, pattern, cursor) {
  const prefix = prefixOf(conn);
  const args = [cursor, literal(prefix) + pattern, COUNT, Buffer.byteLength(prefix)];
  return text(await conn.eval(SCRIPTS.scan, [], args));
}

module.exports = { PAGE, scan };

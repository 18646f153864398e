'use strict';

// Where the examples find their nodes: REDIS_URLS (comma separated) where set, throw-away
// redis-servers where that program is found, nodes in this process where not.

const { reservePort } = require('../tools/ports.js');
const { startServers } = require('../tools/redis-servers.js');
const { hasRedisServer } = require('../tools/setup.js');

/** Nodes that are not ours to stop: a dead address takes the last one's place instead. */
function borrowed(urls, title) {
  return {
    title,
    urls,
    loseOne: async () => [...urls.slice(0, -1), `redis://127.0.0.1:${await reservePort()}`],
    stop: async () => {},
  };
}

async function startedHere() {
  const servers = await startServers(3);
  const urls = servers.map(({ url }) => url);
  return {
    title: 'throw-away redis-servers',
    urls,
    loseOne: async () => {
      await servers.at(-1).kill();
      return urls;
    },
    stop: () => Promise.all(servers.map((server) => server.stop())),
  };
}

/**
 * @param {{ betweenProcesses?: boolean }} [options] betweenProcesses: nodes in this process won't do
 * @returns {Promise<object>} title, urls, loseOne() and stop()
 */
async function findNodes({ betweenProcesses = false } = {}) {
  if (process.env.REDIS_URLS) {
    const urls = process.env.REDIS_URLS.split(',')
      .map((url) => url.trim())
      .filter(Boolean);
    return borrowed(urls, 'nodes of REDIS_URLS');
  }
  if (hasRedisServer()) return startedHere();
  if (betweenProcesses) throw new Error('redis-server was not found: set REDIS_URLS');
  const urls = [1, 2, 3].map((n) => `memory:example-${n}`);
  return borrowed(urls, 'memory: nodes (redis-server was not found)');
}

module.exports = { findNodes };

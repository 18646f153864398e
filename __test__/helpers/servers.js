'use strict';

const { randomUUID } = require('node:crypto');

const { reservePort } = require('../../tools/ports.js');
const { startServer, startServers } = require('../../tools/redis-servers.js');
const { until } = require('./async.js');

/** Starts `count` servers for one test; they end with it, paused or not. */
async function useServers(t, count, options) {
  const servers = await startServers(count, options);
  t.teardown(() => Promise.all(servers.map((server) => server.stop())));
  return servers;
}

/** The keys that each of the servers stores. */
function storedOn(servers) {
  return Promise.all(servers.map((server) => server.command('KEYS', '*')));
}

/** The URL of a node that does not exist: nothing listens on its port. */
async function deadUrl() {
  return `redis://127.0.0.1:${await reservePort()}`;
}

const DELETIONS = ['DELIFEQ', 'DELEX'];

/** The command by which a server releases a lock without a script, if it has one. */
async function deletionOf(server) {
  const infos = await server.command('COMMAND', 'INFO', ...DELETIONS);
  return DELETIONS.find((_, i) => infos[i]?.length > 0);
}

/**
 * Records what clients ask of `server` from now on, as arrays of words, without what scripts call
 * on the server itself. `settle()` waits until everything sent before it has been recorded.
 */
async function monitor(t, server) {
  const client = await server.connect();
  t.teardown(() => client.close());
  const commands = [];
  let marker;
  client.onMessage = (line) => {
    const [, source, words] = /^\S+ \[\d+ (\S+)\] (.*)$/.exec(line);
    if (source === 'lua') return;
    const command = [...words.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map((match) => match[1]);
    if (command[1] === marker) marker = null;
    else commands.push(command);
  };
  await client.command('MONITOR');
  const settle = async () => {
    marker = randomUUID();
    await server.command('ECHO', marker);
    await until(() => marker === null);
    return commands;
  };
  return { commands, settle };
}

module.exports = { deadUrl, deletionOf, monitor, startServer, startServers, storedOn, useServers };

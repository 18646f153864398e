'use strict';

const { poolOver } = require('./conn.js');

/** @param {object} [options] of a command: where a cluster has to send it */
function commandsOf(client, options) {
  return {
    set: (name, value) => client.set(name, value),
    setNX(name, value, expiry) {
      const options = {
        conditionalSet: 'onlyIfDoesNotExist',
        expiry: { type: 'PX', count: expiry },
      };
      return client.set(name, value, options);
    },
    // Its own Script objects live in native memory for as long as they are used.
    run(command, script, keys, args) {
      const words = [command, script, String(keys.length), ...keys, ...args.map(String)];
      return client.customCommand(words, options);
    },
    scriptLoad: (source) => client.customCommand(['SCRIPT', 'LOAD', source]),
    info: isCluster(client) ? undefined : () => client.customCommand(['INFO', 'server']),
  };
}

/** Of a cluster, whose masters are those that one of its servers names. */
function commandsOfCluster(client) {
  const masters = async () => {
    const ranges = await client.customCommand(['CLUSTER', 'SLOTS'], { route: 'randomNode' });
    const places = new Map(ranges.map(([, , [host, port]]) => [`${host}:${port}`, { host, port }]));
    return [...places.keys()].sort().map((place) => {
      const route = { type: 'routeByAddress', ...places.get(place) };
      return commandsOf(client, { route });
    });
  };
  return { ...commandsOf(client), masters };
}

function isCluster(client) {
  return typeof client.invokeScriptWithRoute === 'function';
}

function describe(client) {
  const isOfCluster = isCluster(client);
  const endpoint = isOfCluster ? 'valkey-glide cluster' : 'valkey-glide client';
  const commands = isOfCluster ? commandsOfCluster(client) : commandsOf(client);
  return { commands, endpoint, isCluster: isOfCluster };
}

function newPool(client) {
  return poolOver(client, 'redsync/valkey-glide', describe);
}

module.exports = { newPool };

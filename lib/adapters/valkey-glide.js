'use strict';

const { poolOver } = require('./conn.js');

function commandsOf(client) {
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
      return client.customCommand(words);
    },
    scriptLoad: (source) => client.customCommand(['SCRIPT', 'LOAD', source]),
    info: isCluster(client) ? undefined : () => client.customCommand(['INFO', 'server']),
  };
}

function isCluster(client) {
  return typeof client.invokeScriptWithRoute === 'function';
}

function describe(client) {
  const isOfCluster = isCluster(client);
  const endpoint = isOfCluster ? 'valkey-glide cluster' : 'valkey-glide client';
  return { commands: commandsOf(client), endpoint, isCluster: isOfCluster };
}

function newPool(client) {
  return poolOver(client, 'redsync/valkey-glide', describe);
}

module.exports = { newPool };

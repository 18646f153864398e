'use strict';

const { showServers } = require('../addresses.js');
const { typeError } = require('../errors.js');
const { poolOver } = require('./conn.js');

function commandsOf(client) {
  return {
    set: (name, value) => client.set(name, value),
    setNX(name, value, expiry) {
      // As version 4 has it, and as version 5 and later do, which overlook what they know better.
      const options = {
        NX: true,
        PX: expiry,
        condition: 'NX',
        expiration: { type: 'PX', value: expiry },
      };
      return client.set(name, value, options);
    },
    run(command, script, keys, args) {
      const options = { keys, arguments: args.map(String) };
      return command === 'EVAL' ? client.eval(script, options) : client.evalSha(script, options);
    },
    scriptLoad: (source) => client.scriptLoad(source),
    info: isCluster(client) ? undefined : () => client.info('server'),
  };
}

/** Of a cluster, which connects to its masters as they are needed. */
function commandsOfCluster(client) {
  const masters = async () => {
    const nodes = [...client.masters].sort((one, other) => (one.address < other.address ? -1 : 1));
    return (await Promise.all(nodes.map((node) => client.nodeClient(node)))).map(commandsOf);
  };
  return { ...commandsOf(client), masters };
}

function isCluster(client) {
  return typeof client.getSlotRandomNode === 'function';
}

/** A cluster of version 4 looks for the keys of a script in the wrong place, and sends it anywhere. */
function commandsOfOldCluster(client) {
  return {
    ...commandsOfCluster(client),
    run(command, script, keys, args) {
      const words = [command, script, String(keys.length), ...keys, ...args.map(String)];
      return client.sendCommand(keys[0], false, words);
    },
    scriptLoad: (source) => client.sendCommand(undefined, false, ['SCRIPT', 'LOAD', source]),
  };
}

function describe(client) {
  const isOfCluster = isCluster(client);
  const place = isOfCluster ? 'cluster' : placeOf(client);
  // destroy() came with version 5.
  const isOld = isOfCluster && typeof client.destroy !== 'function';
  const ofCluster = isOld ? commandsOfOldCluster : commandsOfCluster;
  const commands = (isOfCluster ? ofCluster : commandsOf)(client);
  return { commands, endpoint: `node-redis ${place}`, isCluster: isOfCluster };
}

function placeOf({ options }) {
  const { host, port = 6379, path } = options?.socket ?? {};
  const place = path ?? (host === undefined ? 'client' : showServers([{ host, port }]));
  return /^[\w.:[\]/ -]{1,200}$/.test(place) ? place : 'client';
}

/** With it the commands of version 4 take callbacks, and answer nothing. */
function rejectLegacyMode(client) {
  if (client?.options?.legacyMode) {
    throw typeError(
      'The "client" argument must not be a client in legacyMode: give newPool(client.v4)',
    );
  }
}

function newPool(client) {
  rejectLegacyMode(client);
  return poolOver(client, 'redsync/node-redis', describe);
}

module.exports = { newPool };

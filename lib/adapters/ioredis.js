'use strict';

const { showServers } = require('../addresses.js');
const { hasTag } = require('../slots.js');
const { poolOver } = require('./conn.js');

/** Of iovalkey too, which has the same methods. */
function commandsOf(client) {
  return {
    set: (name, value) => client.set(name, value),
    setNX: (name, value, expiry) => client.set(name, value, 'PX', expiry, 'NX'),
    run(command, script, keys, args) {
      const method = command.toLowerCase();
      const words = [script, keys.length, ...keys, ...args];
      if (!client.isCluster || !client.options.enableAutoPipelining)
        return client[method](...words);
      // Its own pipelines are chosen by the slot of the first argument, which is no key here.
      return client
        .pipeline()
        [method](...words)
        .exec()
        .then(onlyReply);
    },
    scriptLoad: (source) => client.script('LOAD', source),
    masters: client.isCluster ? () => mastersOf(client).map(commandsOf) : undefined,
    info: client.isCluster ? undefined : () => client.info('server'),
  };
}

/** In the order of their addresses. */
function mastersOf(cluster) {
  const place = ({ options: { host, port } }) => showServers([{ host, port }]);
  return cluster.nodes('master').sort((one, other) => (place(one) < place(other) ? -1 : 1));
}

function onlyReply([[error, reply]]) {
  if (error !== null) throw error;
  return reply;
}

function describe(name) {
  return (client) => {
    const { keyPrefix = '' } = optionsOf(client);
    return {
      commands: commandsOf(client),
      endpoint: `${name} ${placeOf(client)}`,
      // With a tag in its prefix all names are in one slot.
      isCluster: client.isCluster && !hasTag(keyPrefix),
      keyPrefix,
    };
  };
}

/** Mocks have none. */
function optionsOf({ options }) {
  return options ?? {};
}

function placeOf(client) {
  if (client.isCluster) return 'cluster';
  const { sentinels, name, path, host = 'client', port } = optionsOf(client);
  const place = Array.isArray(sentinels)
    ? `sentinels ${name}`
    : (path ?? showServers([{ host, port }]));
  return /^[\w.:[\]/ -]{1,200}$/.test(place) ? place : 'client';
}

function newPool(client) {
  return poolOver(client, 'redsync/ioredis', describe('ioredis'));
}

module.exports = { newPool, describe };

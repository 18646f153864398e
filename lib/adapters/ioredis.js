'use strict';

const { showServers } = require('../addresses.js');
const { ClientConn, isSet, poolOver } = require('./conn.js');

/** Of iovalkey too, which has the same methods. */
class RedisConn extends ClientConn {
  #client;

  constructor(client) {
    super();
    this.#client = client;
  }

  async set(name, value) {
    return isSet(await this.#client.set(name, value));
  }

  // Mocks give no promises.
  async setNX(name, value, expiry) {
    return isSet(await this.#client.set(name, value, 'PX', expiry, 'NX'));
  }

  evalSha(sha1, keys, args) {
    return this.#run('evalsha', sha1, keys, args);
  }

  evalSource(source, keys, args) {
    return this.#run('eval', source, keys, args);
  }

  scriptLoad({ source }) {
    return this.#client.script('LOAD', source);
  }

  #run(method, script, keys, args) {
    const client = this.#client;
    if (client.isCluster && client.options.enableAutoPipelining) {
      // Its own pipelines are chosen by the slot of the first argument, which is no key here.
      return client
        .pipeline()
        [method](script, keys.length, ...keys, ...args)
        .exec()
        .then(onlyReply);
    }
    return client[method](script, keys.length, ...keys, ...args);
  }
}

function onlyReply([[error, reply]]) {
  if (error !== null) throw error;
  return reply;
}

function describe(name) {
  return (client) => {
    const { keyPrefix = '' } = optionsOf(client);
    return {
      conn: new RedisConn(client),
      endpoint: `${name} ${placeOf(client)}`,
      // With a tag in its prefix all names are in one slot.
      isCluster: client.isCluster && !keyPrefix.includes('{'),
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

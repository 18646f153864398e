'use strict';

const { showServers } = require('../addresses.js');
const { typeError } = require('../errors.js');
const { ClientConn, isSet, poolOver } = require('./conn.js');

class RedisConn extends ClientConn {
  #client;

  constructor(client) {
    super();
    this.#client = client;
  }

  async set(name, value) {
    return isSet(await this.#client.set(name, value));
  }

  setNX(name, value, expiry) {
    // As version 4 has it, and as version 5 and later do, which overlook what they know better.
    const options = {
      NX: true,
      PX: expiry,
      condition: 'NX',
      expiration: { type: 'PX', value: expiry },
    };
    return this.#client.set(name, value, options).then(isSet);
  }

  evalSha(sha1, keys, args) {
    return this.#client.evalSha(sha1, { keys, arguments: args.map(String) });
  }

  evalSource(source, keys, args) {
    return this.#client.eval(source, { keys, arguments: args.map(String) });
  }

  scriptLoad({ source }) {
    return this.#client.scriptLoad(source);
  }
}

/** A cluster of version 4 looks for the keys of a script in the wrong place, and sends it anywhere. */
class OldClusterConn extends RedisConn {
  #client;

  constructor(client) {
    super(client);
    this.#client = client;
  }

  evalSha(sha1, keys, args) {
    return this.#run('EVALSHA', sha1, keys, args);
  }

  evalSource(source, keys, args) {
    return this.#run('EVAL', source, keys, args);
  }

  scriptLoad({ source }) {
    return this.#client.sendCommand(undefined, false, ['SCRIPT', 'LOAD', source]);
  }

  #run(command, script, keys, args) {
    const words = [command, script, String(keys.length), ...keys, ...args.map(String)];
    return this.#client.sendCommand(keys[0], false, words);
  }
}

function describe(client) {
  const isCluster = typeof client.getSlotRandomNode === 'function';
  const place = isCluster ? 'cluster' : placeOf(client);
  // destroy() came with version 5.
  const isOld = isCluster && typeof client.destroy !== 'function';
  const conn = isOld ? new OldClusterConn(client) : new RedisConn(client);
  return { conn, endpoint: `node-redis ${place}`, isCluster };
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

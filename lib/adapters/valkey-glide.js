'use strict';

const { ClientConn, isSet, poolOver } = require('./conn.js');

class GlideConn extends ClientConn {
  #client;

  constructor(client) {
    super();
    this.#client = client;
  }

  async set(name, value) {
    return isSet(await this.#client.set(name, value));
  }

  setNX(name, value, expiry) {
    const options = { conditionalSet: 'onlyIfDoesNotExist', expiry: { type: 'PX', count: expiry } };
    return this.#client.set(name, value, options).then(isSet);
  }

  // Its own Script objects live in native memory for as long as they are used.
  evalSha(sha1, keys, args) {
    return this.#run('EVALSHA', sha1, keys, args);
  }

  evalSource(source, keys, args) {
    return this.#run('EVAL', source, keys, args);
  }

  async scriptLoad({ source }) {
    return String(await this.#client.customCommand(['SCRIPT', 'LOAD', source]));
  }

  #run(command, script, keys, args) {
    return this.#client.customCommand([
      command,
      script,
      String(keys.length),
      ...keys,
      ...args.map(String),
    ]);
  }
}

function describe(client) {
  const isCluster = typeof client.invokeScriptWithRoute === 'function';
  const endpoint = isCluster ? 'valkey-glide cluster' : 'valkey-glide client';
  return { conn: new GlideConn(client), endpoint, isCluster };
}

function newPool(client) {
  return poolOver(client, 'redsync/valkey-glide', describe);
}

module.exports = { newPool };

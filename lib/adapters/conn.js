'use strict';

const { invalidType } = require('../errors.js');
const { newScript } = require('../scripts.js');
const { adapterFor } = require('./clients.js');

// As scripts they go to the master, wherever the client sends its reads.
const GET = newScript("return redis.call('GET', KEYS[1])");
const PTTL = newScript("return redis.call('PTTL', KEYS[1])");

/** Connections of which many names may be asked in one command. Nobody else can be one of these. */
const takingMany = new WeakSet();

/** @param {unknown} conn */
function takesMany(conn) {
  return takingMany.has(conn);
}

/** The server does not allow it. */
function takesOneOnly(conn) {
  takingMany.delete(conn);
}

/**
 * A connection over a client. It is shared, and so never closed.
 *
 * @typedef {object} Commands what differs from client to client
 * @property {(name: string, value: string) => unknown} set
 * @property {(name: string, value: string, expiry: number) => unknown} setNX
 * @property {(command: 'EVALSHA' | 'EVAL', script: string, keys: string[], args: unknown[]) => unknown} run
 * @property {(source: string) => unknown} scriptLoad
 * @property {() => Commands[] | Promise<Commands[]>} [masters] of a cluster: those of each master, in an order that stays
 * @property {() => unknown} [info] INFO of the server; none of a cluster, which has several
 */
class ClientConn {
  #commands;

  /**
   * @param {Commands} commands
   * @param {string} keyPrefix what the client puts in front of all keys
   */
  constructor(commands, keyPrefix) {
    this.#commands = commands;
    this.keyPrefix = keyPrefix;
    const { masters } = commands;
    if (masters === undefined) return;
    this.masters = async () => (await masters()).map((each) => new ClientConn(each, keyPrefix));
  }

  get(name) {
    return this.eval(GET, [name], []);
  }

  async set(name, value) {
    return isSet(await this.#commands.set(name, value));
  }

  async setNX(name, value, expiry) {
    return isSet(await this.#commands.setNX(name, value, expiry));
  }

  pttl(name) {
    return this.eval(PTTL, [name], []).then(Number);
  }

  /** By its name, which a server may not know, and a server of a cluster never has to. */
  eval({ sha1, source }, keys, args) {
    const { run } = this.#commands;
    // Mocks give no promises.
    return Promise.resolve(run('EVALSHA', sha1, keys, args)).then(undefined, (error) => {
      if (!isNoScript(error)) throw error;
      return run('EVAL', source, keys, args);
    });
  }

  async scriptLoad({ source }) {
    return String(await this.#commands.scriptLoad(source));
  }

  /** See runIdOf(). A cluster has several. */
  async runId() {
    const info = await this.#commands.info?.();
    return /^run_id:([\da-f]{40})\r?$/m.exec(String(info))?.[1] ?? '';
  }

  close() {}
}

/**
 * What is put in front of all keys behind a connection.
 *
 * @param {unknown} conn anybody's
 */
function prefixOf(conn) {
  return conn instanceof ClientConn ? conn.keyPrefix : '';
}

/**
 * What the server behind a connection calls itself from its start to its end.
 *
 * @param {unknown} conn anybody's
 * @returns {Promise<string> | undefined} none if that cannot be asked, '' if the server does not say
 */
function runIdOf(conn) {
  return conn instanceof ClientConn ? conn.runId() : undefined;
}

function isNoScript(error) {
  return /\bNO_?SCRIPT/i.test(error?.message);
}

/** Did SET NX set it? Anything but OK and nil is no answer: not even `true`. */
function isSet(reply) {
  if (reply === null) return false;
  return String(reply) === 'OK' ? true : undefined;
}

/** One pool a client, so that a client that is given twice is found out. */
const pools = new WeakMap();

/** Those pools: their connections are there at once. */
const instant = new WeakSet();

/** @param {object} pool anybody's */
function isInstant(pool) {
  return instant.has(pool);
}

/**
 * @typedef {object} Description
 * @property {Commands} commands
 * @property {string} endpoint
 * @property {boolean} isCluster
 * @property {string} [keyPrefix] what the client puts in front of all keys
 */

/**
 * @param {object} client
 * @param {string} adapter the module that this is for
 * @param {(client: object) => Description} describe
 * @returns {import('../../index.js').Pool}
 */
function poolOver(client, adapter, describe) {
  const isObject = typeof client === 'object' && client !== null;
  const found = isObject ? adapterFor(client) : undefined;
  if (found === undefined || !isFor(adapter, found)) {
    const hint = found === undefined ? '' : `. It is one for newPool() of ${found}`;
    const name = adapter.slice('redsync/'.length);
    const error = invalidType('client', client, `a client of ${name}`, true);
    error.message += hint;
    throw error;
  }
  if (!pools.has(client)) {
    const { commands, endpoint, isCluster, keyPrefix = '' } = describe(client);
    const isPrefixed = keyPrefix !== '';
    const conn = new ClientConn(commands, keyPrefix);
    if (!isCluster) takingMany.add(conn);
    const pool = Object.freeze({ get: () => conn, endpoint, isCluster, isPrefixed });
    instant.add(pool);
    pools.set(client, pool);
  }
  return pools.get(client);
}

/** ioredis and iovalkey have the same methods. */
function isFor(adapter, found) {
  const family = ['redsync/ioredis', 'redsync/iovalkey'];
  return adapter === found || (family.includes(adapter) && family.includes(found));
}

module.exports = { poolOver, isInstant, prefixOf, runIdOf, takesMany, takesOneOnly };

'use strict';

// The ways to reach one redis-server that the lock suite runs over: a URL, newPool() of each
// adapter, and a Pool written by hand.

const { GlideClient, GlideClusterClient } = require('@valkey/valkey-glide');
const { Cluster, Redis } = require('ioredis');
const iovalkey = require('iovalkey');
const { createClient, createCluster } = require('redis');

const { HandWrittenPool } = require('./hand-written-pool.js');

const HOST = '127.0.0.1';

const adapter = (name) => require(`../../lib/adapters/${name}.js`);

/** Errors of a connection are told by an event that ends the process if nobody listens. */
function quiet(client) {
  return client.on('error', () => {});
}

/** Each makes a client of a server: { client, pool, close }. */
const CLIENTS = {
  ioredis(server, options) {
    const client = quiet(new Redis(server.port, HOST, options));
    return { client, pool: adapter('ioredis').newPool(client), close: () => client.disconnect() };
  },

  iovalkey(server, options) {
    const client = quiet(new iovalkey.Redis(server.port, HOST, options));
    return { client, pool: adapter('iovalkey').newPool(client), close: () => client.disconnect() };
  },

  async 'node-redis'(server, options) {
    const client = quiet(createClient({ socket: { host: HOST, port: server.port }, ...options }));
    await client.connect();
    return { client, pool: adapter('node-redis').newPool(client), close: () => client.destroy() };
  },

  async 'valkey-glide'(server, options) {
    const addresses = [{ host: HOST, port: server.port }];
    const client = await GlideClient.createClient({ addresses, requestTimeout: 5000, ...options });
    return { client, pool: adapter('valkey-glide').newPool(client), close: () => client.close() };
  },

  'hand-written Pool'(server) {
    const pool = new HandWrittenPool({ host: HOST, port: server.port });
    return { client: pool, pool, close: () => pool.end() };
  },
};

/** The same for the servers of a cluster. */
const CLUSTER_CLIENTS = {
  ioredis(servers, options) {
    const client = quiet(new Cluster(servers.map(({ port }) => ({ host: HOST, port })), options));
    return { client, pool: adapter('ioredis').newPool(client), close: () => client.disconnect() };
  },

  iovalkey(servers, options) {
    const seeds = servers.map(({ port }) => ({ host: HOST, port }));
    const client = quiet(new iovalkey.Cluster(seeds, options));
    return { client, pool: adapter('iovalkey').newPool(client), close: () => client.disconnect() };
  },

  async 'node-redis'(servers, options) {
    const rootNodes = servers.map(({ port }) => ({ socket: { host: HOST, port } }));
    const client = quiet(createCluster({ rootNodes, ...options }));
    await client.connect();
    return { client, pool: adapter('node-redis').newPool(client), close: () => client.destroy() };
  },

  async 'valkey-glide'(servers, options) {
    const addresses = servers.map(({ port }) => ({ host: HOST, port }));
    const client = await GlideClusterClient.createClient({
      addresses, requestTimeout: 5000, ...options,
    });
    return { client, pool: adapter('valkey-glide').newPool(client), close: () => client.close() };
  },
};

module.exports = { CLIENTS, CLUSTER_CLIENTS };

'use strict';

// The ways to reach one redis-server that the lock suite runs over: a URL, newPool() of each
// adapter, and a Pool written by hand.

const { HandWrittenPool } = require('./hand-written-pool.js');

const HOST = '127.0.0.1';

const adapter = (name) => require(`../../lib/adapters/${name}.js`);

/** Errors of a connection are told by an event that ends the process if nobody listens. */
function quiet(client) {
  return client.on('error', () => {});
}

/** Clients of a server, and of the servers of a cluster: ioredis of any version, and iovalkey. */
function likeIoredis(name, { Redis, Cluster }) {
  const made = (client) => ({
    client: quiet(client),
    pool: adapter(name).newPool(client),
    close: () => client.disconnect(),
  });
  const places = (servers) => servers.map(({ port }) => ({ host: HOST, port }));
  return {
    server: (server, options) => made(new Redis(server.port, HOST, options)),
    cluster: (servers, options) => made(new Cluster(places(servers), options)),
  };
}

/** node-redis of any version. */
function likeNodeRedis({ createClient, createCluster }) {
  const made = async (client) => {
    await quiet(client).connect();
    const close = () => (client.destroy ? client.destroy() : client.disconnect());
    return { client, pool: adapter('node-redis').newPool(client), close };
  };
  const place = ({ port }) => ({ socket: { host: HOST, port } });
  return {
    server: (server, options) => made(createClient({ ...place(server), ...options })),
    cluster: (servers, options) =>
      made(createCluster({ rootNodes: servers.map(place), ...options })),
  };
}

/** Valkey GLIDE of any version. */
function likeGlide({ GlideClient, GlideClusterClient }) {
  const make = async (Client, servers, options) => {
    const addresses = servers.map(({ port }) => ({ host: HOST, port }));
    const client = await Client.createClient({ addresses, requestTimeout: 5000, ...options });
    return { client, pool: adapter('valkey-glide').newPool(client), close: () => client.close() };
  };
  return {
    server: (server, options) => make(GlideClient, [server], options),
    cluster: (servers, options) => make(GlideClusterClient, servers, options),
  };
}

const NEWEST = {
  ioredis: likeIoredis('ioredis', require('ioredis')),
  iovalkey: likeIoredis('iovalkey', require('iovalkey')),
  'node-redis': likeNodeRedis(require('redis')),
  'valkey-glide': likeGlide(require('@valkey/valkey-glide')),
};

const of = (place) =>
  Object.fromEntries(Object.entries(NEWEST).map(([kind, makers]) => [kind, makers[place]]));

/** Each makes a client of a server: { client, pool, close }. */
const CLIENTS = {
  ...of('server'),

  'hand-written Pool'(server) {
    const pool = new HandWrittenPool({ host: HOST, port: server.port });
    return { client: pool, pool, close: () => pool.end() };
  },
};

/** The same for the servers of a cluster. */
const CLUSTER_CLIENTS = of('cluster');

module.exports = { CLIENTS, CLUSTER_CLIENTS, likeGlide, likeIoredis, likeNodeRedis };

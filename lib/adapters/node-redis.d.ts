import type { Pool } from '../../index.js';

/**
 * The part of a client that is used: the whole type differs with the modules, functions and scripts
 * that it was made with.
 */
export interface NodeRedisClient {
  set(...args: any[]): Promise<unknown>;
  eval(...args: any[]): Promise<unknown>;
  evalSha(...args: any[]): Promise<unknown>;
}

/**
 * A node over a client of node-redis 4 or newer: what `createClient()`, `createClientPool()`,
 * `createSentinel()` or `createCluster()` made, connected by you. The client stays yours: it is never
 * closed, and its settings hold.
 *
 * @throws {TypeError} For anything but such a client, and for one in `legacyMode`: give its `v4`.
 *
 * @example
 * const { createClient } = require('redis');
 * const { newPool } = require('redsync/node-redis');
 *
 * const client = createClient({ url: 'redis://10.0.0.1' });
 * client.on('error', console.error);
 * await client.connect();
 * const redsync = new Redsync(newPool(client));
 */
export function newPool(client: NodeRedisClient): Pool;

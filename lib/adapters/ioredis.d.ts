import type { Cluster, Redis } from 'ioredis';
import type { Pool } from '../../index.js';

/**
 * A node over a client of ioredis 4 or newer: of a server, behind sentinels, or of a cluster. The
 * client stays yours: it is never closed, and its settings (`db`, `keyPrefix`, ...) hold.
 *
 * @throws {TypeError} For anything but such a client.
 *
 * @example
 * const { Redis } = require('ioredis');
 * const { newPool } = require('redsync/ioredis');
 *
 * const clients = hosts.map((host) => new Redis({ host, enableAutoPipelining: true }));
 * const redsync = new Redsync(clients.map(newPool));
 */
export function newPool(client: Redis | Cluster): Pool;

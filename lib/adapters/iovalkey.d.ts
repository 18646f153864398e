import type { Cluster, Redis } from 'iovalkey';
import type { Pool } from '../../index.js';

/**
 * A node over a client of iovalkey: of a server, behind sentinels, or of a cluster. The client stays
 * yours: it is never closed, and its settings (`db`, `keyPrefix`, ...) hold.
 *
 * @throws {TypeError} For anything but such a client.
 *
 * @example
 * const { Redis } = require('iovalkey');
 * const { newPool } = require('redsync/iovalkey');
 *
 * const redsync = new Redsync(newPool(new Redis({ host: '10.0.0.1' })));
 */
export function newPool(client: Redis | Cluster): Pool;

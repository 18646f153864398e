import type { GlideClient, GlideClusterClient } from '@valkey/valkey-glide';
import type { Pool } from '../../index.js';

/**
 * A node over a client of Valkey GLIDE, of a server with its replicas or of a cluster. The client
 * stays yours: it is never closed, and its settings hold.
 *
 * @throws {TypeError} For anything but such a client.
 *
 * @example
 * const { GlideClient } = require('@valkey/valkey-glide');
 * const { newPool } = require('redsync/valkey-glide');
 *
 * const client = await GlideClient.createClient({ addresses: [{ host: '10.0.0.1' }] });
 * const redsync = new Redsync(newPool(client));
 */
export function newPool(client: GlideClient | GlideClusterClient): Pool;

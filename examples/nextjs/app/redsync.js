import { Redsync } from 'redsync';

const { REDIS_URLS = 'redis://127.0.0.1' } = process.env;

const open = () => new Redsync(REDIS_URLS.split(','), { keyPrefix: 'payments:', expiry: 2000 });

// `next dev` loads a module anew when it has changed, and each route may have a copy: the process keeps one client.
export const redsync = (globalThis[Symbol.for('payments.redsync')] ??= open());

import fp from 'fastify-plugin';
import { Redsync } from 'redsync';

/**
 * Gives the application `app.redsync`, and lets go of its locks when it closes. By then Fastify has answered every request;
 * what goes on without one gets `drain` milliseconds to come to its end.
 */
async function redsyncPlugin(app, { nodes, drain = 10_000, ...options }) {
  const redsync = new Redsync(nodes, options);
  app.decorate('redsync', redsync);
  app.addHook('onClose', () => redsync.close({ drain }));
}

export default fp(redsyncPlugin, { name: 'redsync', fastify: '5.x' });

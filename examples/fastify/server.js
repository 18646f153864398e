// Payments from accounts, in as many processes as you like:
//
//   curl -H 'content-type: application/json' -d '{ "account": "a1", "amount": 1 }' http://127.0.0.1:3000/payments
//
// On SIGTERM it accepts no more, and brings to an end what it has begun.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import Fastify from 'fastify';
import { RedsyncError } from 'redsync';

import redsyncPlugin from './redsync-plugin.js';

const {
  REDIS_URLS = 'redis://127.0.0.1',
  ACCOUNTS = '.',
  PORT = '3000',
  WORK = '20',
} = process.env;

const app = Fastify();
await app.register(redsyncPlugin, {
  nodes: REDIS_URLS.split(','),
  keyPrefix: 'payments:',
  expiry: 2000,
});

/** Stands for a store that all processes share and that knows no transactions. Gives the new balance, if there is enough. */
async function withdraw(account, amount, signal) {
  const file = join(ACCOUNTS, `${account}.txt`);
  const balance = Number(await readFile(file, { encoding: 'utf8', signal }));
  if (balance < amount) return undefined;
  await delay(Number(WORK), undefined, { signal });
  await writeFile(file, `${balance - amount}`, { signal });
  return balance - amount;
}

const schema = {
  body: {
    type: 'object',
    required: ['account', 'amount'],
    properties: {
      account: { type: 'string', pattern: '^\\w{1,32}$' },
      amount: { type: 'number', exclusiveMinimum: 0 },
    },
  },
};

app.post('/payments', { schema }, async ({ body: { account, amount } }, reply) => {
  const balance = await app.redsync.using(`account:${account}`, { wait: 20_000 }, (signal) =>
    withdraw(account, amount, signal),
  );
  if (balance === undefined) return reply.code(409).send({ error: 'there is not enough money' });
  return reply.code(201).send({ balance });
});

app.setErrorHandler((error, _request, reply) => {
  // The lock could not be had in time, or the nodes do not answer.
  if (error instanceof RedsyncError) return reply.code(503).send({ error: 'try again' });
  return reply.send(error);
});

process.once('SIGTERM', () => app.close());
console.log(`listens on ${await app.listen({ port: Number(PORT), host: '127.0.0.1' })}`);

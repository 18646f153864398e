'use strict';

// A process that locks with one library what it is told, as go/main.go does: one JSON object a line
// on stdin, one on stdout. `node contender.js LIBRARY HOST:PORT,...`

const { createInterface } = require('node:readline');
const { setTimeout: delay } = require('node:timers/promises');

const { clientsOf } = require('./addresses.js');

const [library, list] = process.argv.slice(2);
const addresses = list.split(',');
const locks = require(`./libraries/${library}.js`).connect(addresses);
const [counter] = clientsOf(addresses.slice(0, 1));

const OPERATIONS = {
  lock: async (command) => ({ ok: true, value: await locks.lock(command) }),
  unlock: async (command) => ({ ok: await locks.unlock(command) }),
  extend: async (command) => ({ ok: await locks.extend(command) }),
  contend,
};

/** Increments the counter under the lock for as long as it is told, by several workers. */
async function contend(command) {
  const end = Date.now() + command.for;
  const total = { ok: true, increments: 0, failures: 0 };
  await Promise.all(
    Array.from({ length: command.workers }, async () => {
      while (Date.now() < end) {
        if (await increment(command)) total.increments++;
        else total.failures++;
        await delay(Math.random() * 3);
      }
    }),
  );
  return total;
}

/**
 * Loses updates unless nobody else does the same at the same time. A fencing token is written down, in
 * the order of the holders.
 */
async function increment({ name, tries, counter: key, tokens, noLock = false }) {
  const value = noLock ? undefined : await locks.lock({ name, tries }).catch(() => undefined);
  if (value === undefined && !noLock) return false;
  const count = Number(await counter.get(key));
  await delay(Math.random());
  await counter.set(key, count + 1);
  const token = noLock ? undefined : locks.tokenOf?.({ name, value });
  if (token !== undefined) await counter.rpush(tokens, token);
  if (!noLock) await locks.unlock({ name, value });
  return true;
}

createInterface({ input: process.stdin })
  .on('line', async (line) => {
    const { id, op, ...command } = JSON.parse(line);
    const answer = await OPERATIONS[op](command).catch((error) => ({
      ok: false,
      error: `${error.name}: ${error.message}`,
    }));
    console.log(JSON.stringify({ id, ...answer }));
  })
  .on('close', async () => {
    await locks.close();
    counter.disconnect();
  });

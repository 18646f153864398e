// Payments from accounts, in as many processes as you like:
//
//   curl -d '{ "account": "a1", "amount": 1 }' http://127.0.0.1:3000/api/payments

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { RedsyncError } from 'redsync';

import { redsync } from '../../redsync.js';

export const runtime = 'nodejs'; // no edge runtime loads an addon
export const dynamic = 'force-dynamic';

const { ACCOUNTS = '.', WORK = '20' } = process.env;

/** Stands for a store that all processes share and that knows no transactions. Gives the new balance, if there is enough. */
async function withdraw(account, amount, signal) {
  const file = join(ACCOUNTS, `${account}.txt`);
  const balance = Number(await readFile(file, { encoding: 'utf8', signal }));
  if (balance < amount) return undefined;
  await delay(Number(WORK), undefined, { signal });
  await writeFile(file, `${balance - amount}`, { signal });
  return balance - amount;
}

export async function POST(request) {
  const { account, amount } = Object(await request.json().catch(() => undefined));
  if (!/^\w{1,32}$/.test(account) || !(amount > 0)) {
    return Response.json({ error: 'account or amount is missing or wrong' }, { status: 400 });
  }
  try {
    const balance = await redsync.using(`account:${account}`, { wait: 20_000 }, (signal) =>
      withdraw(account, amount, signal),
    );
    if (balance !== undefined) return Response.json({ balance }, { status: 201 });
    return Response.json({ error: 'there is not enough money' }, { status: 409 });
  } catch (error) {
    // The lock could not be had in time, or the nodes do not answer.
    if (error instanceof RedsyncError)
      return Response.json({ error: 'try again' }, { status: 503 });
    throw error;
  }
}

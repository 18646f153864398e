import { setTimeout as delay } from 'node:timers/promises';

import { ConflictException, Injectable } from '@nestjs/common';
import { Redsync } from 'redsync';

import { Accounts } from './accounts.js';

/** Milliseconds that a bank takes. */
const WORK = Number(process.env['WORK'] ?? 20);

@Injectable()
export class Payments {
  constructor(
    private readonly redsync: Redsync,
    private readonly accounts: Accounts,
  ) {}

  /** Gives the new balance. One payment at a time is made from an account, over all processes. */
  async pay(account: string, amount: number): Promise<number> {
    return this.redsync.using(`account:${account}`, { wait: 20_000 }, async (signal) => {
      const balance = await this.accounts.balance(account, signal);
      if (balance < amount) throw new ConflictException('there is not enough money');
      await delay(WORK, undefined, { signal });
      await this.accounts.setBalance(account, balance - amount, signal);
      return balance - amount;
    });
  }
}

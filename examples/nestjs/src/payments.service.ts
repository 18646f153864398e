import { setTimeout as delay } from 'node:timers/promises';

import { ConflictException, Injectable } from '@nestjs/common';

import { Accounts } from './accounts.js';
import { Locked } from './locked.js';

/** Milliseconds that a bank takes. */
const WORK = Number(process.env['WORK'] ?? 20);

@Injectable()
export class Payments {
  constructor(private readonly accounts: Accounts) {}

  /** Gives the new balance. One payment at a time is made from an account, over all processes. */
  @Locked((account: string) => `account:${account}`, { wait: 20_000 })
  async pay(account: string, amount: number, signal?: AbortSignal): Promise<number> {
    const balance = await this.accounts.balance(account, signal);
    if (balance < amount) throw new ConflictException('there is not enough money');
    await delay(WORK, undefined, signal && { signal });
    await this.accounts.setBalance(account, balance - amount, signal);
    return balance - amount;
  }
}

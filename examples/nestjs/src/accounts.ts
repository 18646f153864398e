import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { Injectable } from '@nestjs/common';

/** Stands for a store that all processes share and that knows no transactions: a folder with a file for each account. */
@Injectable()
export class Accounts {
  readonly #folder = process.env['ACCOUNTS'] ?? '.';

  async balance(account: string, signal: AbortSignal | undefined): Promise<number> {
    return Number(await readFile(this.#file(account), { encoding: 'utf8', signal }));
  }

  async setBalance(
    account: string,
    balance: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    await writeFile(this.#file(account), `${balance}`, { signal });
  }

  #file(account: string): string {
    return join(this.#folder, `${account}.txt`);
  }
}

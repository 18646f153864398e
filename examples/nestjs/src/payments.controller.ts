import {
  BadRequestException,
  Body,
  Controller,
  Post,
  ServiceUnavailableException,
} from '@nestjs/common';
import { RedsyncError } from 'redsync';

import { Payments } from './payments.service.js';

@Controller('payments')
export class PaymentsController {
  constructor(private readonly payments: Payments) {}

  @Post()
  async pay(@Body() body: unknown): Promise<{ balance: number }> {
    const { account, amount } = read(body);
    try {
      return { balance: await this.payments.pay(account, amount) };
    } catch (error) {
      // The lock could not be had in time, or the nodes do not answer.
      if (error instanceof RedsyncError) throw new ServiceUnavailableException();
      throw error;
    }
  }
}

function read(body: unknown): { account: string; amount: number } {
  const { account, amount } = Object(body) as Record<string, unknown>;
  if (typeof account !== 'string' || !/^\w{1,32}$/.test(account)) {
    throw new BadRequestException('account must be a word');
  }
  if (typeof amount !== 'number' || !(amount > 0)) {
    throw new BadRequestException('amount must be a number greater than 0');
  }
  return { account, amount };
}

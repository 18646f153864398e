import { Module, type OnApplicationShutdown } from '@nestjs/common';
import { Redsync } from 'redsync';

import { Accounts } from './accounts.js';
import { PaymentsController } from './payments.controller.js';
import { Payments } from './payments.service.js';

const NODES = (process.env['REDIS_URLS'] ?? 'redis://127.0.0.1').split(',');

@Module({
  controllers: [PaymentsController],
  providers: [
    Accounts,
    Payments,
    {
      provide: Redsync,
      useFactory: () => new Redsync(NODES, { keyPrefix: 'payments:', expiry: 2000 }),
    },
  ],
})
export class AppModule implements OnApplicationShutdown {
  constructor(private readonly redsync: Redsync) {}

  /** By now no request is left; what was begun otherwise gets some time to end. */
  async onApplicationShutdown(): Promise<void> {
    await this.redsync.close({ drain: 10_000 });
  }
}

import { Global, Module, type OnApplicationShutdown } from '@nestjs/common';
import { Redsync } from 'redsync';

const NODES = (process.env['REDIS_URLS'] ?? 'redis://127.0.0.1').split(',');

/** One `Redsync` for the whole application, which lets go of its locks at the end of it. */
@Global()
@Module({
  providers: [
    {
      provide: Redsync,
      useFactory: () => new Redsync(NODES, { keyPrefix: 'payments:', expiry: 2000 }),
    },
  ],
  exports: [Redsync],
})
export class RedsyncModule implements OnApplicationShutdown {
  constructor(private readonly redsync: Redsync) {}

  /** By now no request is left; what was begun otherwise gets some time to end. */
  async onApplicationShutdown(): Promise<void> {
    await this.redsync.close({ drain: 10_000 });
  }
}

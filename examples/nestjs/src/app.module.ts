import { Module } from '@nestjs/common';

import { Accounts } from './accounts.js';
import { PaymentsController } from './payments.controller.js';
import { Payments } from './payments.service.js';
import { RedsyncModule } from './redsync.module.js';

@Module({
  imports: [RedsyncModule],
  controllers: [PaymentsController],
  providers: [Accounts, Payments],
})
export class AppModule {}

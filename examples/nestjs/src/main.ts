// Payments from accounts, in as many processes as you like:
//
//   curl -H 'content-type: application/json' -d '{ "account": "a1", "amount": 1 }' http://127.0.0.1:3000/payments
//
// On SIGTERM or Ctrl-C it accepts no more, and brings to an end what it has begun.

import 'reflect-metadata';

import { NestFactory } from '@nestjs/core';

import { AppModule } from './app.module.js';

const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
app.enableShutdownHooks();
await app.listen(process.env['PORT'] ?? 3000, '127.0.0.1');
console.log(`listens on ${await app.getUrl()}`);

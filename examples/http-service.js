'use strict';

// A service that takes in price lists, one at a time over all its processes:
//
//   curl --data-binary @prices.csv http://127.0.0.1:8080/
//
// On SIGTERM it accepts no more requests, lets the list that it is at come to its end, and is gone: nobody
// else waits for a lock that it has left behind.

const { once } = require('node:events');
const http = require('node:http');
const { addAbortSignal } = require('node:stream');

const { Redsync, TakenError } = require('../index.js');
const { findNodes } = require('./nodes.js');

/** Milliseconds: a little less than whoever sends SIGTERM waits before it sends SIGKILL. */
const DRAIN = 25_000;

async function takeIn(list, signal) {
  addAbortSignal(signal, list); // whoever has lost the lock must stop
  let bytes = 0;
  for await (const chunk of list) bytes += chunk.length; // stands for the work
  return bytes;
}

async function answer(redsync, request) {
  try {
    const bytes = await redsync.using('prices', { tries: 1 }, (signal) => {
      console.log('begins a list');
      return takeIn(request, signal);
    });
    console.log('has taken in a list');
    return [200, `${bytes} bytes\n`];
  } catch (error) {
    if (error instanceof TakenError) return [409, 'another list is being taken in\n'];
    console.error(error);
    return [503, 'try again\n'];
  }
}

async function main() {
  const stopped = once(process, 'SIGTERM');
  const nodes = await findNodes();
  const redsync = new Redsync(nodes.urls, { keyPrefix: 'example:' });
  await redsync.ready();

  const service = http.createServer(async (request, response) => {
    const [status, text] = await answer(redsync, request);
    response.writeHead(status, service.listening ? {} : { connection: 'close' }).end(text);
  });
  service.listen(process.env.PORT ?? 8080, '127.0.0.1');
  await once(service, 'listening');
  console.log(`listens on http://127.0.0.1:${service.address().port}`);

  await stopped;
  console.log('accepts no more');
  service.close();
  const closed = once(service, 'close'); // when the last answer is sent
  await redsync.close({ drain: DRAIN });
  await closed;
  await nodes.stop();
  console.log('has stopped');
}

main();

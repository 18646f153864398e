// A route handler of Next.js, served by Node.js alone: `node route-server.mjs FILE`.

import { once } from 'node:events';
import http from 'node:http';
import { buffer } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';

const route = await import(pathToFileURL(process.argv[2]));

const server = http.createServer(async (incoming, outgoing) => {
  const { method, url, headers } = incoming;
  const body = await buffer(incoming);
  const request = new Request(new URL(url, 'http://127.0.0.1'), { method, headers, body });
  const response = await route[method](request);
  const ours = server.listening ? {} : { connection: 'close' };
  outgoing.writeHead(response.status, { ...Object.fromEntries(response.headers), ...ours });
  outgoing.end(Buffer.from(await response.arrayBuffer()));
});
server.listen(process.env.PORT, '127.0.0.1');
await once(server, 'listening');
process.once('SIGTERM', () => server.close());
console.log(`listens on http://127.0.0.1:${server.address().port}`);

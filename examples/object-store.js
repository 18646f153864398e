'use strict';

// A stand-in for S3 in this process: GET, PUT and DELETE over HTTP, with the conditions that S3 knows. As
// there, the ETag of an object is the digest of its content; metadata do not change it.

const { createHash } = require('node:crypto');
const { once } = require('node:events');
const http = require('node:http');
const { buffer } = require('node:stream/consumers');

/** The status of a PUT's conditions: S3 answers 404 where there is nothing to match. */
function refusal({ 'if-match': match, 'if-none-match': noneMatch }, stored) {
  if (match !== undefined && !stored) return 404;
  if (match !== undefined && match !== stored.etag) return 412;
  return noneMatch === '*' && stored ? 412 : undefined;
}

async function startObjectStore() {
  const objects = new Map();

  async function answer(request, response) {
    const { method, url, headers } = request;
    const content = await buffer(request);
    // From here on nothing is awaited: no other request comes between the comparison and the write.
    const stored = objects.get(url);
    if (method === 'PUT') {
      const status = refusal(headers, stored);
      if (status) return response.writeHead(status).end();
      const etag = `"${createHash('md5').update(content).digest('hex')}"`;
      objects.set(url, { content, etag });
      return response.writeHead(200, { etag }).end();
    }
    if (method === 'DELETE') {
      objects.delete(url);
      return response.writeHead(204).end();
    }
    if (!stored) return response.writeHead(404).end();
    return response.writeHead(200, { etag: stored.etag }).end(stored.content);
  }

  const server = http.createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}/bucket`,
    get size() {
      return objects.size;
    },
    stop: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

module.exports = { startObjectStore };

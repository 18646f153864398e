'use strict';

// A TCP proxy in front of one server, in this process, that does what networks and sick servers do.

const net = require('node:net');
const { once } = require('node:events');

const HOST = '127.0.0.1';

/** Strings, with their length before them. */
const STRINGS = ['$', '='];

/** How many values stand in an aggregate, for each that its header counts. */
const VALUES = { '*': 1, '~': 1, '>': 1, '%': 2 };

/** Where the command or reply at `offset` ends; -1 while it is incomplete. */
function endOf(buffer, offset = 0) {
  const end = buffer.indexOf('\r\n', offset) + 2;
  if (end === 1) return -1;
  const kind = String.fromCharCode(buffer[offset]);
  if (!STRINGS.includes(kind) && !(kind in VALUES)) return end;
  const length = Number(buffer.toString('latin1', offset + 1, end - 2));
  if (length === -1) return end;
  if (STRINGS.includes(kind)) return end + length + 2 <= buffer.length ? end + length + 2 : -1;
  let at = end;
  for (let i = 0; i < length * VALUES[kind] && at !== -1; i++) at = endOf(buffer, at);
  return at;
}

/** Cuts a stream into commands or replies. */
class Frames {
  #rest = Buffer.alloc(0);

  *take(chunk) {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    for (let end; this.#rest.length > 0 && (end = endOf(this.#rest)) !== -1;) {
      yield this.#rest.subarray(0, end);
      this.#rest = this.#rest.subarray(end);
    }
  }
}

/** The words of a command, none of which holds CR LF here. */
function wordsOf(frame) {
  return frame
    .toString()
    .split('\r\n')
    .filter((_, i) => i > 0 && i % 2 === 0);
}

/** One client of the proxy, and its connection to the server. */
class Connection {
  /** Forgotten by the other side, without a word. */
  isLost = false;

  #proxy;
  #client;
  #server;
  #commands = new Frames();
  #replies = new Frames();
  #slots = []; // commands in their order, each with its reply as soon as there is one
  #isDraining = false;
  #onRoom = () => {}; // the client has read, or is gone

  constructor(proxy, client) {
    this.#proxy = proxy;
    this.#client = proxy.own(client);
    proxy.pass(() => this.#connect());
    client.setNoDelay(true);
    client.on('data', (chunk) => proxy.pass(() => this.#ask(chunk)));
    client.on('drain', () => this.#onRoom());
    client.on('close', () => this.#onRoom());
    // What the client has sent before is in the network, and will arrive.
    client.on('close', () => proxy.pass(() => this.#server.end()));
  }

  #connect() {
    const { port } = this.#proxy.server;
    this.#server = this.#proxy.own(net.connect({ host: HOST, port, noDelay: true }));
    this.#server.on('data', (chunk) => this.#proxy.pass(() => this.#hear(chunk)));
    this.#server.on('close', () => this.#proxy.pass(() => this.isLost || this.reset()));
  }

  #ask(chunk) {
    if (this.isLost) return;
    if (this.#proxy.isRaw) {
      this.#server.write(chunk);
      return;
    }
    for (const frame of this.#commands.take(chunk)) {
      const words = wordsOf(frame);
      const reply = this.#proxy.answer?.(words);
      this.#slots.push({ words, reply });
      if (reply === undefined) this.#server.write(frame);
    }
    this.#drain();
  }

  #hear(chunk) {
    if (this.isLost) return;
    if (this.#proxy.isRaw) {
      this.write(chunk);
      return;
    }
    for (const frame of this.#replies.take(chunk)) {
      const isPush = frame[0] === '>'.charCodeAt();
      const slot = this.#slots.find(({ reply }) => !isPush && reply === undefined);
      if (slot) slot.reply = frame;
      else this.write(frame);
    }
    this.#drain();
  }

  /** Passes the replies on that are complete, in the order of their commands. */
  async #drain() {
    if (this.#isDraining) return;
    this.#isDraining = true;
    while (this.#slots.length > 0 && this.#slots[0].reply !== undefined) {
      const { words, reply } = this.#slots.shift();
      const bytes = this.#proxy.cutBytes(words);
      if (bytes !== undefined) {
        this.isLost = true; // nothing more gets through
        this.#client.write(reply.subarray(0, bytes), () => this.reset());
        break;
      }
      const written = this.write(reply);
      if (written) await written;
    }
    this.#isDraining = false;
  }

  /**
   * Writes bytes, or several pieces of them, to the client, no faster than it reads: a promise if
   * it has to be waited for.
   */
  write(bytes) {
    if (typeof bytes !== 'string' && !Buffer.isBuffer(bytes)) return this.#writeAll(bytes);
    if (bytes.length > 0) this.#client.write(bytes);
    return undefined;
  }

  async #writeAll(pieces) {
    for (const piece of pieces) {
      if (this.#client.destroyed) return;
      if (this.#client.write(piece)) continue;
      await new Promise((resolve) => {
        this.#onRoom = resolve;
      });
    }
  }

  /** Ends both sides, the client's with FIN. */
  cut() {
    this.#client.end();
    this.#server?.end();
  }

  /** Ends both sides, the client's with RST. */
  reset() {
    this.#client.resetAndDestroy();
    this.#server?.end();
  }
}

class Proxy {
  /** How to answer instead of the server; see answerWith(). */
  answer;

  /** How many connections there ever were. */
  accepted = 0;

  #connections = new Set();
  #sockets = new Set(); // of both sides
  #listener;
  #queue = []; // what is on its way, of all connections, in its order
  #timer;
  #lag = 0;
  #isHolding = false;
  #cut;

  constructor(server, { isRaw = false } = {}) {
    this.server = server;
    this.isRaw = isRaw;
  }

  async listen() {
    const listener = net.createServer((client) => {
      this.accepted++;
      const connection = new Connection(this, client);
      this.#connections.add(connection);
      client.on('close', () => this.#connections.delete(connection));
    });
    this.#listener = listener.listen(this.port ?? 0, HOST);
    await once(listener, 'listening');
    this.port = listener.address().port;
  }

  get url() {
    return `redis://${HOST}:${this.port}`;
  }

  /** How many clients are connected. */
  get connections() {
    return this.#connections.size;
  }

  /** Keeps a socket in mind until it is closed, for whatever reason. */
  own(socket) {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    return socket;
  }

  /** Does `action` when its turn has come. */
  pass(action) {
    this.#queue.push({ due: performance.now() + this.#lag, action });
    this.#pump();
  }

  #pump() {
    clearTimeout(this.#timer);
    while (this.#queue.length > 0 && !this.#isHolding) {
      const left = this.#lag === 0 ? 0 : this.#queue[0].due - performance.now();
      if (left > 0) {
        this.#timer = setTimeout(() => this.#pump(), left);
        return;
      }
      this.#queue.shift().action();
    }
  }

  /**
   * A black hole: connections are accepted and stay open, nothing gets through in either direction.
   * What was sent into it arrives after heal(), as TCP repeats what was not acknowledged.
   */
  swallow() {
    this.#isHolding = true;
  }

  /** Half-open: the connections of now will never hear anything again, new ones will. */
  lose() {
    for (const connection of this.#connections) connection.isLost = true;
  }

  /** Everything takes so long, in each direction. */
  delay(ms) {
    this.#lag = ms;
  }

  /** Ends all connections with FIN. */
  cut() {
    for (const connection of this.#connections) connection.cut();
  }

  /** Ends all connections with RST. */
  reset() {
    for (const connection of this.#connections) connection.reset();
  }

  /** Accepts no more connections. */
  refuse() {
    this.#listener.close();
    this.#listener = undefined;
  }

  /** Writes bytes, or pieces of them, to every client now. */
  forge(bytes) {
    for (const connection of this.#connections) connection.write(bytes);
  }

  /**
   * Answers commands itself, until heal(): with bytes or pieces of them, or as a function of the
   * command's words says, which lets the server answer by `undefined`. No bytes are no answer.
   */
  answerWith(answer) {
    this.answer = typeof answer === 'function' ? answer : () => answer;
  }

  /** Resets a connection so many bytes into the server's reply to such a command, until heal(). */
  cutAfterBytes(count, isMeant = () => true) {
    this.#cut = { count, isMeant };
  }

  /** How much of the reply to this command gets through before the reset; undefined: all of it. */
  cutBytes(words) {
    return this.#cut?.isMeant(words) ? this.#cut.count : undefined;
  }

  /** Does no harm any more. Lost connections stay lost. */
  async heal() {
    this.#isHolding = false;
    this.#lag = 0;
    this.#cut = undefined;
    this.answer = undefined;
    this.#pump();
    if (!this.#listener) await this.listen();
  }

  /** Resolves when nothing is left of it. */
  async stop() {
    clearTimeout(this.#timer);
    this.#isHolding = true; // for good
    this.#listener?.close();
    await Promise.all(
      [...this.#sockets].map(
        (socket) =>
          new Promise((resolve) => {
            socket.once('close', resolve).destroy();
          }),
      ),
    );
  }
}

/**
 * With `isRaw` it passes bytes on as they come, such as those from a master to its replica, which are no
 * replies; it can answer nothing itself then.
 */
async function startProxy(server, options) {
  const proxy = new Proxy(server, options);
  await proxy.listen();
  return proxy;
}

/** Starts a proxy for one test. */
async function useProxy(t, server, options) {
  const proxy = await startProxy(server, options);
  t.teardown(() => proxy.stop());
  return proxy;
}

/** The answer to these commands; all others are the server's: `only('SET', '+OK\r\n')`. */
function only(verbs, answer) {
  const asked = verbs.split(' ');
  return ([verb]) => (asked.includes(verb) ? answer : undefined);
}

/** The commands about a lock that is held, and about any. */
const HOLDING = 'EVAL EVALSHA DELIFEQ DELEX';
const LOCKING = `SET ${HOLDING}`;

module.exports = { HOLDING, LOCKING, only, startProxy, useProxy };

'use strict';

// A TCP proxy in front of one server, in this process, that does what networks and sick servers do.

const net = require('node:net');
const { once } = require('node:events');

const { releasePort, reservePort } = require('../../tools/ports.js');

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

/** The two ways through a connection. */
const DIRECTIONS = ['commands', 'replies'];

/** One direction of a connection: what is on its way, in its order. */
class Lane {
  /** Nothing arrives. */
  isHeld = false;

  /** How long everything takes, in milliseconds. */
  lag = 0;

  /** The milliseconds between two bytes; at 0 they arrive as they were sent. */
  pace = 0;

  #queue = [];
  #last = 0; // when what was sent last is due
  #timer;

  constructor(direction, state) {
    this.direction = direction;
    Object.assign(this, state);
  }

  /** Does `action` when its turn has come, and so much after the one before it. */
  pass(action, pause = 0) {
    this.#last = Math.max(performance.now() + this.lag, this.#last + pause);
    this.#queue.push({ due: this.#last, action });
    this.#flow();
  }

  /** Hands bytes on. */
  carry(bytes, deliver) {
    const pieces = this.pace === 0 ? [bytes] : [...bytes].map((byte) => Buffer.of(byte));
    for (const piece of pieces) this.pass(() => deliver(piece), this.pace);
  }

  /** Changes how it is from now on. */
  become(state) {
    Object.assign(this, state);
    this.#last = 0;
    this.#flow();
  }

  stop() {
    clearTimeout(this.#timer);
    this.isHeld = true; // for good
  }

  #flow() {
    clearTimeout(this.#timer);
    while (this.#queue.length > 0 && !this.isHeld) {
      const isCalm = this.lag === 0 && this.pace === 0;
      const left = isCalm ? 0 : this.#queue[0].due - performance.now();
      if (left > 0) {
        this.#timer = setTimeout(() => this.#flow(), left);
        return;
      }
      this.#queue.shift().action();
    }
  }
}

/** One client of the proxy, and its connection to the server. */
class Connection {
  /** Forgotten by the other side, without a word. */
  isLost = false;

  #proxy;
  #client;
  #server;
  #there;
  #back;
  #commands = new Frames();
  #replies = new Frames();
  #slots = []; // commands in their order, each with its reply as soon as there is one
  #isDraining = false;
  #onRoom = () => {}; // the client has read, or is gone

  /** @param {Lane[]} lanes of the commands and of the replies */
  constructor(proxy, client, [there, back]) {
    this.#proxy = proxy;
    this.#client = proxy.own(client);
    this.#there = there;
    this.#back = back;
    there.pass(() => this.#connect());
    client.setNoDelay(true);
    client.on('data', (chunk) => there.carry(chunk, (bytes) => this.#ask(bytes)));
    client.on('drain', () => this.#onRoom());
    client.on('close', () => this.#onRoom());
    // What the client has sent before is in the network, and will arrive.
    client.on('close', () => there.pass(() => this.#server.end()));
  }

  /** The port of the client. */
  get peer() {
    return this.#client.remotePort;
  }

  #connect() {
    const { port } = this.#proxy.server;
    this.#server = this.#proxy.own(net.connect({ host: HOST, port, noDelay: true }));
    this.#server.on('data', (chunk) => this.#back.carry(chunk, (bytes) => this.#hear(bytes)));
    this.#server.on('close', () => this.#back.pass(() => this.#end()));
  }

  #end() {
    this.#proxy.forget([this.#there, this.#back]);
    if (!this.isLost) this.reset();
  }

  /** Both directions take so long. */
  delay(lag) {
    for (const lane of [this.#there, this.#back]) lane.become({ lag });
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
  #lanes = new Set(); // also of connections that are over for the client
  #held = []; // the directions in which nothing arrives
  #lagOf = () => 0; // of one connection
  #pace = 0;
  #cut;

  constructor(server, { isRaw = false } = {}) {
    this.server = server;
    this.isRaw = isRaw;
  }

  async listen() {
    const listener = net.createServer((client) => {
      this.accepted++;
      const connection = new Connection(this, client, this.#newLanes());
      this.#connections.add(connection);
      client.on('close', () => this.#connections.delete(connection));
    });
    this.#listener = listener;
    this.port ??= await reservePort();
    listener.listen(this.port, HOST);
    await once(listener, 'listening');
  }

  get url() {
    return `redis://${HOST}:${this.port}`;
  }

  /** How many clients are connected. */
  get connections() {
    return this.#connections.size;
  }

  /** The ports of those. */
  get peers() {
    return [...this.#connections].map(({ peer }) => peer);
  }

  /** Keeps a socket in mind until it is closed, for whatever reason. */
  own(socket) {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    return socket;
  }

  #newLanes() {
    const [lag, pace] = [this.#lagOf(), this.#pace];
    const lanes = DIRECTIONS.map(
      (direction) => new Lane(direction, { lag, pace, isHeld: this.#held.includes(direction) }),
    );
    for (const lane of lanes) this.#lanes.add(lane);
    return lanes;
  }

  /** For connections that are over, on both sides. */
  forget(lanes) {
    for (const lane of lanes) this.#lanes.delete(lane);
  }

  /**
   * A black hole: connections are accepted and stay open, nothing gets through, in these directions.
   * What was sent into it arrives after heal(), as TCP repeats what was not acknowledged.
   *
   * @param {...('commands' | 'replies')} directions both if none is given
   */
  swallow(...directions) {
    this.#held = directions.length > 0 ? directions : DIRECTIONS;
    for (const lane of this.#lanes) lane.become({ isHeld: this.#held.includes(lane.direction) });
  }

  /** Bytes arrive one by one, with so many milliseconds between them. Only with `isRaw`: replies are put together else. */
  trickle(ms) {
    this.#pace = ms;
    for (const lane of this.#lanes) lane.become({ pace: ms });
  }

  /** Half-open: the connections of now will never hear anything again, new ones will. */
  lose() {
    for (const connection of this.#connections) connection.isLost = true;
  }

  /**
   * Everything takes so long, in each direction. With a `share` that holds for some connections only: what
   * goes over one then arrives before what went over another earlier.
   */
  delay(ms, share = 1) {
    this.#lagOf = () => (Math.random() < share ? ms : 0);
    for (const connection of this.#connections) connection.delay(this.#lagOf());
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
    this.#held = [];
    this.#lagOf = () => 0;
    this.#pace = 0;
    this.#cut = undefined;
    this.answer = undefined;
    for (const lane of this.#lanes) lane.become({ isHeld: false, lag: 0, pace: 0 });
    if (!this.#listener) await this.listen();
  }

  /** Resolves when nothing is left of it. */
  async stop() {
    for (const lane of this.#lanes) lane.stop();
    this.#listener?.close();
    releasePort(this.port);
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

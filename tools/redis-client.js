'use strict';

// A tiny RESP2 client, so that demo and tests look at a server independently of the code that
// they show or test.

const net = require('node:net');

/** A reply that the server sent as an error; `code` is its first word, such as WRONGPASS. */
class ReplyError extends Error {
  constructor(message) {
    super(message);
    this.code = message.split(' ', 1)[0];
  }
}

/** Parses one reply at `offset`: [reply, next offset], or null while it is incomplete. */
function parse(buffer, offset) {
  const end = buffer.indexOf('\r\n', offset);
  if (end === -1) return null;
  const line = buffer.toString('utf8', offset + 1, end);
  const next = end + 2;
  switch (String.fromCharCode(buffer[offset])) {
    case '+':
      return [line, next];
    case '-':
      return [new ReplyError(line), next];
    case ':':
      return [Number(line), next];
    case '$':
      return parseBulk(buffer, next, Number(line));
    case '*':
      return parseArray(buffer, next, Number(line));
    default:
      throw new Error(`not a RESP2 reply: ${line}`);
  }
}

function parseBulk(buffer, offset, length) {
  if (length === -1) return [null, offset];
  if (buffer.length < offset + length + 2) return null;
  return [buffer.toString('utf8', offset, offset + length), offset + length + 2];
}

function parseArray(buffer, offset, length) {
  if (length === -1) return [null, offset];
  const items = [];
  while (items.length < length) {
    const parsed = parse(buffer, offset);
    if (!parsed) return null;
    items.push(parsed[0]);
    offset = parsed[1];
  }
  return [items, offset];
}

function encode(args) {
  const bulks = args.map(String).map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`);
  return `*${args.length}\r\n${bulks.join('')}`;
}

class RedisClient {
  #socket;
  #received = Buffer.alloc(0);
  #pending = [];
  /** Called with every reply that answers no command, as MONITOR sends them. */
  onMessage = () => {};

  /** `address` is what net.connect() takes: { host, port } or { path }. */
  constructor(address) {
    this.#socket = net.connect(address);
    this.#socket.on('data', (chunk) => this.#receive(chunk));
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('close', () => this.#fail(new Error('the connection was closed')));
  }

  command(...args) {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) return reject(new Error('the connection was closed'));
      this.#pending.push({ resolve, reject });
      this.#socket.write(encode(args));
    });
  }

  get usable() {
    return !this.#socket.destroyed;
  }

  close() {
    this.#socket.destroy();
  }

  #receive(chunk) {
    this.#received = Buffer.concat([this.#received, chunk]);
    for (let parsed; (parsed = parse(this.#received, 0));) {
      this.#received = this.#received.subarray(parsed[1]);
      this.#deliver(parsed[0]);
    }
  }

  #deliver(reply) {
    const call = this.#pending.shift();
    if (!call) this.onMessage(reply);
    else if (reply instanceof Error) call.reject(reply);
    else call.resolve(reply);
  }

  #fail(error) {
    for (const call of this.#pending.splice(0)) call.reject(error);
    this.#socket.destroy();
  }
}

module.exports = { RedisClient, ReplyError };

'use strict';

// Throw-away redis-servers: real processes on ports of their own of the loopback interface, with an
// empty data set, that end with this process at the latest.

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { once } = require('node:events');
const { setTimeout: delay } = require('node:timers/promises');

const { lifeline } = require('./lifeline.js');
const { releasePort, reservePort } = require('./ports.js');
const { RedisClient } = require('./redis-client.js');

const HOST = '127.0.0.1';
const START_TIMEOUT = 10_000;
const PORT_ATTEMPTS = 10;

const running = new Set();
process.on('exit', () => {
  for (const server of running) server.dispose();
});

function launch(args) {
  const [command, ...rest] = [...lifeline(), 'redis-server', ...args];
  return spawn(command, rest, { stdio: 'ignore' });
}

class RedisServer {
  #child;
  #client;
  #configFile;
  #args;
  #tls;
  #directory = fs.mkdtempSync(path.join(os.tmpdir(), 'redsync-'));

  constructor({ args = [], config, password, tls, unixSocket = false }) {
    this.password = password;
    this.socket = unixSocket || tls ? path.join(this.#directory, 'redis.sock') : undefined;
    this.#configFile = config ? [this.file('redis.conf', config)] : [];
    this.#tls = tls;
    this.#args = [
      ...(tls ? this.#tlsArgs(tls) : []),
      '--bind',
      HOST,
      '--save',
      '',
      '--appendonly',
      'no',
      '--daemonize',
      'no',
      '--dir',
      this.#directory,
      '--logfile',
      path.join(this.#directory, 'redis.log'),
      ...(password ? ['--requirepass', password] : []),
      ...(this.socket ? ['--unixsocket', this.socket] : []),
      ...args,
    ];
    running.add(this);
  }

  #tlsArgs({ ca, cert, key, authClients = 'no' }) {
    return [
      '--tls-auth-clients',
      authClients,
      '--tls-ca-cert-file',
      this.file('ca.pem', ca),
      '--tls-cert-file',
      this.file('cert.pem', cert),
      '--tls-key-file',
      this.file('key.pem', key),
    ];
  }

  /** Writes a file that goes with the server; gives its path. */
  file(name, content) {
    const file = path.join(this.#directory, name);
    fs.writeFileSync(file, content);
    return file;
  }

  /** Renews the certificate of a server with TLS while it runs. */
  async useCertificate({ cert, key }) {
    const [certFile, keyFile] = [this.file('next.pem', cert), this.file('next-key.pem', key)];
    await this.command('CONFIG', 'SET', 'tls-cert-file', certFile, 'tls-key-file', keyFile);
  }

  get pid() {
    return this.#child.pid;
  }

  /** For the code under test; without the password, which a test puts in as it likes. */
  get url() {
    return `redis${this.#tls ? 's' : ''}://${HOST}:${this.port}`;
  }

  /** Starts the process; resolves true once it answers, false if it ended (its port is taken). */
  async start(port) {
    this.port = port;
    const ports = this.#tls ? ['--port', 0, '--tls-port', port] : ['--port', port];
    const child = launch([...this.#configFile, ...ports, ...this.#args]);
    this.#child = child;
    child.unref(); // the servers must not keep a finished program alive
    let failure;
    child.on('error', (error) => {
      failure = error;
    });
    const deadline = Date.now() + START_TIMEOUT;
    while (Date.now() < deadline) {
      if (failure) throw failure;
      if (child.exitCode !== null || child.signalCode !== null) return false;
      if (await this.#answers()) return true;
      await delay(5);
    }
    throw new Error(`redis-server did not answer within ${START_TIMEOUT} ms:\n${this.log()}`);
  }

  // Somebody else's server on the same port would answer PING too: compare the process ids.
  async #answers() {
    try {
      await this.command('PING');
      const [, pid] = /process_id:(\d+)/.exec(await this.command('INFO', 'server'));
      return Number(pid) === this.pid;
    } catch {
      return false;
    }
  }

  log() {
    return fs.readFileSync(path.join(this.#directory, 'redis.log'), 'utf8');
  }

  /** A connection of its own, for commands that change the connection, such as SELECT. */
  async connect() {
    // Tests speak no TLS: they come in by the back door.
    const client = new RedisClient(
      this.#tls ? { path: this.socket } : { host: HOST, port: this.port },
    );
    if (this.password) await client.command('AUTH', this.password);
    return client;
  }

  /** Sends one command as the server's administrator. */
  async command(...args) {
    if (!this.#client?.usable) this.#client = await this.connect();
    return this.#client.command(...args);
  }

  /** Stops the process from running: it keeps its sockets and answers nothing, like a hung one. */
  pause() {
    process.kill(this.pid, 'SIGSTOP');
  }

  resume() {
    process.kill(this.pid, 'SIGCONT');
  }

  /** Ends the process at once, as a crash does; restart() brings it back with no data. */
  async kill() {
    this.#client?.close();
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.ref();
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }

  async restart() {
    await this.kill();
    const { port } = this;
    if (!(await this.start(port))) throw new Error(`port ${port} is no longer free`);
  }

  /** Ends the process and removes what it left on disk. */
  async stop() {
    await this.kill();
    this.dispose();
  }

  /** stop() for an exit handler, which cannot wait. */
  dispose() {
    running.delete(this);
    releasePort(this.port);
    this.#client?.close();
    this.#child?.kill('SIGKILL');
    fs.rmSync(this.#directory, { recursive: true, force: true });
  }
}

/**
 * Starts a redis-server. `args` are further arguments of the program, `config` the
 * text of a configuration file that it may write to, `password` its default user's,
 * `unixSocket: true` lets it listen at `server.socket` too. With `tls` ({ ca, cert, key,
 * authClients }) it speaks nothing else on its port.
 */
async function startServer(options = {}) {
  const server = new RedisServer(options);
  try {
    for (let attempt = 0; attempt < PORT_ATTEMPTS; attempt++) {
      if (await server.start(await reservePort())) return server;
    }
    throw new Error(`redis-server does not start:\n${server.log()}`);
  } catch (error) {
    server.dispose();
    throw error;
  }
}

function startServers(count, options) {
  return Promise.all(Array.from({ length: count }, () => startServer(options)));
}

/** The keys of a server but for the last fencing tokens of names, which stay for hours and are no locks. */
async function lockKeys(server) {
  const keys = await server.command('KEYS', '*');
  return keys.filter((key) => !key.endsWith(':fence'));
}

module.exports = { lockKeys, startServer, startServers };

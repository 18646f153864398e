'use strict';

// A throw-away PostgreSQL: a real server with an empty data set, on a Unix socket in a folder of its
// own, that ends with this process at the latest.

const { execFile, spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { once } = require('node:events');
const { setTimeout: delay } = require('node:timers/promises');
const { promisify } = require('node:util');

const { lifeline } = require('./lifeline.js');
const { postgresFolder } = require('./setup.js');

const START_TIMEOUT = 30_000;
const SUPERUSER = 'postgres';

/** Who runs the server: PostgreSQL refuses root. Debian's package brings a user of its own. */
function unprivileged() {
  if (process.getuid?.() !== 0) return {};
  const ask = (flag, name) => spawnSync('id', [flag, name], { encoding: 'utf8' });
  const user = ['postgres', 'nobody'].find((name) => ask('-u', name).status === 0);
  if (!user) throw new Error('PostgreSQL does not run as root: add a user named nobody');
  return { uid: Number(ask('-u', user).stdout), gid: Number(ask('-g', user).stdout) };
}

class Postgres {
  #child;
  #folder = fs.mkdtempSync(path.join(os.tmpdir(), 'redsync-postgres-'));
  #data = path.join(this.#folder, 'data');
  #logFile = path.join(this.#folder, 'log');
  #abandon = () => {
    this.#child?.kill('SIGQUIT');
    this.#remove();
  };

  constructor() {
    process.once('exit', this.#abandon);
  }

  get pid() {
    return this.#child.pid;
  }

  get url() {
    return `postgresql:///postgres?host=${encodeURIComponent(this.#folder)}&user=${SUPERUSER}`;
  }

  async start(programs) {
    const user = unprivileged();
    if (user.uid !== undefined) fs.chownSync(this.#folder, user.uid, user.gid);
    const options = { ...user, cwd: this.#folder };
    const initial = ['--auth', 'trust', '--username', SUPERUSER, '--no-locale', '--no-sync'];
    await promisify(execFile)(
      path.join(programs, 'initdb'),
      [...initial, '-D', this.#data],
      options,
    );
    const [command, ...args] = [
      ...lifeline('QUIT'),
      path.join(programs, 'postgres'),
      ...['-D', this.#data, '-k', this.#folder],
      ...['-c', 'listen_addresses=', '-c', 'fsync=off'],
    ];
    const log = fs.openSync(this.#logFile, 'w');
    this.#child = spawn(command, args, { ...options, stdio: ['ignore', log, log] });
    fs.closeSync(log);
    this.#child.unref(); // the server must not keep a finished program alive
    await this.#untilReady();
  }

  async #untilReady() {
    let failure;
    this.#child.on('error', (error) => {
      failure = error;
    });
    const deadline = Date.now() + START_TIMEOUT;
    while (!this.#isReady()) {
      if (failure) throw failure;
      if (this.#hasEnded() || Date.now() > deadline) {
        throw new Error(`PostgreSQL does not start:\n${fs.readFileSync(this.#logFile, 'utf8')}`);
      }
      await delay(5);
    }
  }

  /** The last line of this file tells how far the server has come. */
  #isReady() {
    const file = path.join(this.#data, 'postmaster.pid');
    return fs.existsSync(file) && /^ready *$/m.test(fs.readFileSync(file, 'utf8'));
  }

  #hasEnded() {
    const { pid, exitCode, signalCode } = this.#child;
    return pid === undefined || exitCode !== null || signalCode !== null;
  }

  /** Ends the process and removes what it left on disk. */
  async stop() {
    if (this.#child && !this.#hasEnded()) {
      this.#child.ref();
      const exited = once(this.#child, 'exit');
      this.#child.kill('SIGQUIT'); // it leaves at once: what it would save is removed anyway
      await exited;
    }
    process.off('exit', this.#abandon);
    this.#remove();
  }

  #remove() {
    fs.rmSync(this.#folder, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** Starts a server that only those who may read its folder can connect to, at its `url`. */
async function startPostgres() {
  const programs = postgresFolder();
  if (!programs) throw new Error('PostgreSQL was not found: set POSTGRES_URL');
  const server = new Postgres();
  try {
    await server.start(programs);
    return server;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

module.exports = { startPostgres };

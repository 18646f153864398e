'use strict';

// The table that behaviours are tested over: {1, 3, 4, 5 nodes} x {memory, redis}. A test gets a
// backend: the nodes themselves, to look at and to change one by one behind the mutex's back.

const { randomUUID } = require('node:crypto');

const { Redsync } = require('../../index.js');
const { startServers } = require('./servers.js');

const SIZES = [1, 3, 4, 5];
const LONG = 60_000;

// Spec files run side by side on few cores: a slow machine must not look like a slow node.
const PATIENT = { timeoutFactor: 0.5 };

/** Looks at real servers by raw commands. */
class RedisNodes {
  constructor(servers) {
    this.servers = servers;
  }

  get urls() {
    return this.servers.map((server) => server.url);
  }

  async isFree(i, name) {
    return await this.servers[i].command('EXISTS', name) === 0;
  }

  async holds(i, name, value) {
    return await this.servers[i].command('GET', name) === value;
  }

  async plant(i, name, value, ttl) {
    await this.servers[i].command('SET', name, value, 'PX', ttl);
  }

  async remove(i, name) {
    await this.servers[i].command('DEL', name);
  }
}

/** Looks at named memory nodes, which a process shares by name, by asking each one alone. */
class MemoryNodes {
  #nodes;

  constructor(count) {
    this.urls = Array.from({ length: count }, () => `memory:${randomUUID()}`);
    this.#nodes = this.urls.map((url) => new Redsync(url, PATIENT));
  }

  // There is no verb to read a node: a lock can be had exactly where there is none.
  async isFree(i, name) {
    const lock = await this.#nodes[i].newMutex(name).tryLock();
    if (!lock) return false;
    await lock.unlock();
    return true;
  }

  holds(i, name, value) {
    return this.#nodes[i].newMutex(name, { value }).valid();
  }

  async plant(i, name, value, ttl) {
    await this.#nodes[i].newMutex(name, { genValue: () => value, expiry: ttl, tries: 1 }).lock();
  }

  async remove(i, name, value) {
    await this.#nodes[i].newMutex(name, { value }).unlock();
  }

  close() {
    return Promise.all(this.#nodes.map((node) => node.close()));
  }
}

/** One row of the table. Its nodes are the first `size` of those that a spec file shares. */
class Backend {
  #nodes;

  constructor(kind, size, nodes) {
    this.kind = kind;
    this.size = size;
    this.quorum = Math.floor(size / 2) + 1;
    this.title = `${size} ${kind}`;
    this.indices = Array.from({ length: size }, (_, i) => i);
    this.#nodes = nodes;
  }

  urls() {
    return this.#nodes().urls.slice(0, this.size);
  }

  /** A Redsync over all nodes that is closed with the test. */
  connect(t, options) {
    const redsync = new Redsync(this.urls(), { ...PATIENT, ...options });
    t.teardown(() => redsync.close());
    return redsync;
  }

  /** A name that no other test uses: the tests of a file share the nodes. */
  name() {
    return `test:${randomUUID()}`;
  }

  isFree(i, name) {
    return this.#nodes().isFree(i, name);
  }

  holds(i, name, value) {
    return this.#nodes().holds(i, name, value);
  }

  /** Puts somebody else's lock on one node. */
  plant(i, name, value = 'foreign', ttl = LONG) {
    return this.#nodes().plant(i, name, value, ttl);
  }

  /** Takes a lock with that value off one node. */
  remove(i, name, value) {
    return this.#nodes().remove(i, name, value);
  }

  plantEverywhere(name, value, ttl) {
    return Promise.all(this.indices.map((i) => this.plant(i, name, value, ttl)));
  }

  removeEverywhere(name, value) {
    return Promise.all(this.indices.map((i) => this.remove(i, name, value)));
  }

  async isFreeEverywhere(name) {
    return all(this.indices.map((i) => this.isFree(i, name)));
  }

  async isHeldEverywhere(name, value) {
    return all(this.indices.map((i) => this.holds(i, name, value)));
  }

  /** Does every node in `taken` store `value` under `name`, and every other node nothing? */
  async isHeldExactlyOn(taken, name, value = 'foreign') {
    return all(this.indices.map((i) => (
      taken.includes(i) ? this.holds(i, name, value) : this.isFree(i, name)
    )));
  }

  /** The raw servers, of the redis rows. */
  get servers() {
    return this.#nodes().servers.slice(0, this.size);
  }
}

async function all(promises) {
  return (await Promise.all(promises)).every(Boolean);
}

/**
 * Gives a function that declares one test for each row of the table, and starts and stops the
 * nodes around a spec file's tests: `eachBackend('title', async (t, backend) => {})`. The tests
 * of a file run one by one: hundreds at once would make every node slow.
 */
function overBackends(test, { kinds = ['memory', 'redis'], sizes = SIZES } = {}) {
  const nodes = {};
  test.before('start the nodes', async () => {
    const count = Math.max(...sizes);
    if (kinds.includes('memory')) nodes.memory = new MemoryNodes(count);
    if (kinds.includes('redis')) nodes.redis = new RedisNodes(await startServers(count));
  });
  test.after.always('stop the nodes', async () => {
    await nodes.memory?.close();
    await Promise.all((nodes.redis?.servers ?? []).map((server) => server.stop()));
  });

  const table = kinds.flatMap((kind) => (
    sizes.map((size) => new Backend(kind, size, () => nodes[kind]))
  ));
  return (title, body, only = () => true) => {
    for (const backend of table.filter(only)) {
      test.serial(`${title} [${backend.title}]`, (t) => body(t, backend));
    }
  };
}

module.exports = { overBackends };

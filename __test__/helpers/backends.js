'use strict';

// The table that behaviours are tested over: {1, 3, 4, 5 nodes} x {memory, redis}, and 3 nodes by way
// of each client. A test gets a backend: the nodes themselves, to look at and to change one by one
// behind the mutex's back.

const { randomUUID } = require('node:crypto');

const { Redsync } = require('../../index.js');
const { CLIENTS } = require('./clients.js');
const { startServers } = require('./servers.js');

const SIZES = [1, 3, 4, 5];
const CLIENT_SIZE = 3;
const LONG = 60_000;

const ALL_KINDS = ['memory', 'redis', ...Object.keys(CLIENTS), 'mixed'];
const NATIVE = ['memory', 'redis'];

/**
 * How long a lock lasts that is to be kept. Over a Pool it takes the event loop, which is the tests'
 * too: one that stood still for two thirds of this would rightly lose the lock.
 */
const KEPT = 1800;

// Spec files run side by side on few cores: a slow machine must not look like a slow node.
const PATIENT = { timeoutFactor: 0.5 };

/** Looks at real servers by raw commands. */
class RedisNodes {
  constructor(servers) {
    this.servers = servers;
  }

  get inputs() {
    return this.servers.map((server) => server.url);
  }

  async isFree(i, name) {
    return (await this.servers[i].command('EXISTS', name)) === 0;
  }

  async holds(i, name, value) {
    return (await this.servers[i].command('GET', name)) === value;
  }

  async plant(i, name, value, ttl) {
    await this.servers[i].command('SET', name, value, 'PX', ttl);
  }

  async remove(i, name) {
    await this.servers[i].command('DEL', name);
  }
}

/** The same servers, reached by way of clients: of one kind, or of all and a URL. */
class ClientNodes extends RedisNodes {
  #inputs;

  static async connect(kind, servers) {
    const nodes = new this(servers);
    const makers = kind === 'mixed' ? Object.values(CLIENTS) : [CLIENTS[kind]];
    nodes.clients = await Promise.all(
      servers.map((server, i) => makers[i % makers.length](server)),
    );
    nodes.#inputs = nodes.clients.map(({ pool }) => pool);
    if (kind === 'mixed') nodes.#inputs[0] = servers[0].url;
    return nodes;
  }

  get inputs() {
    return this.#inputs;
  }

  close() {
    for (const client of this.clients) client.close();
  }
}

/** Looks at named memory nodes, which a process shares by name, by asking each one alone. */
class MemoryNodes {
  #nodes;
  #strangers;

  constructor(count) {
    this.inputs = Array.from({ length: count }, () => `memory:${randomUUID()}`);
    this.#nodes = this.inputs.map((url) => new Redsync(url, PATIENT));
    this.#strangers = this.inputs.map((url) => new Redsync([url, 'memory:'], PATIENT));
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

  // The engine tells all who have opened the same nodes when a quorum of these has released a lock.
  async remove(i, name, value) {
    const unlocked = this.#strangers[i].newMutex(name, { value }).unlock();
    await unlocked.catch(() => {}); // the second node has nothing to release
  }

  close() {
    return Promise.all([...this.#nodes, ...this.#strangers].map((node) => node.close()));
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

  /** What a Redsync is given. */
  inputs() {
    return this.#nodes().inputs.slice(0, this.size);
  }

  /** A Redsync over all nodes that is closed with the test. */
  connect(t, options) {
    const redsync = new Redsync(this.inputs(), { ...PATIENT, ...options });
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

  /** For a lock that was taken while another went: it need not be gone everywhere at that moment. */
  async isHeldByQuorum(name, value) {
    const votes = await Promise.all(this.indices.map((i) => this.holds(i, name, value)));
    return votes.filter(Boolean).length >= this.quorum;
  }

  /** Does every node in `taken` store `value` under `name`, and every other node nothing? */
  async isHeldExactlyOn(taken, name, value = 'foreign') {
    return all(
      this.indices.map((i) =>
        taken.includes(i) ? this.holds(i, name, value) : this.isFree(i, name),
      ),
    );
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
function overBackends(test, { kinds: all = ALL_KINDS, sizes = SIZES } = {}) {
  // `npm run test:quick` looks at one kind only, where a spec has it.
  const quick = all.filter((kind) => kind === process.env.REDSYNC_TEST_KIND);
  const kinds = quick.length > 0 ? quick : all;
  const nodes = {};
  test.before('start the nodes', async () => {
    const count = Math.max(...sizes);
    if (kinds.includes('memory')) nodes.memory = new MemoryNodes(count);
    const servers = kinds.some((kind) => kind !== 'memory') ? await startServers(count) : [];
    for (const kind of kinds) {
      if (kind === 'redis') nodes.redis = new RedisNodes(servers);
      else if (kind !== 'memory') nodes[kind] = await ClientNodes.connect(kind, servers);
    }
  });
  test.after.always('stop the nodes', async () => {
    await Promise.all(Object.values(nodes).map((each) => each.close?.()));
    const servers = new Set(Object.values(nodes).flatMap((each) => each.servers ?? []));
    await Promise.all([...servers].map((server) => server.stop()));
  });

  const table = kinds.flatMap((kind) =>
    sizesOf(kind, sizes).map((size) => new Backend(kind, size, () => nodes[kind])),
  );
  return (title, body, only = () => true) => {
    for (const backend of table.filter(only)) {
      test.serial(`${title} [${backend.title}]`, (t) => body(t, backend));
    }
  };
}

/** The sizes are the engine's business: one is enough to see that a client does its part. */
function sizesOf(kind, sizes) {
  if (NATIVE.includes(kind)) return sizes;
  return [kind === 'mixed' ? Math.max(...sizes) : CLIENT_SIZE];
}

module.exports = { KEPT, overBackends };

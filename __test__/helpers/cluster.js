'use strict';

const { slotOf } = require('../../lib/slots.js');
const { until } = require('./async.js');
const { startServer } = require('./servers.js');

const HOST = '127.0.0.1';
const SLOTS = 16384;
const SETTLED = { timeout: 60_000 };

/** The id of the one who has a slot, and the epoch, as a server tells it. */
async function whoHas(server, slot) {
  const ranges = await server.command('CLUSTER', 'SLOTS');
  const range = ranges.find(([first, last]) => first <= slot && slot <= last);
  const [, epoch] = /cluster_current_epoch:(\d+)/.exec(await server.command('CLUSTER', 'INFO'));
  return `${range?.[2][2]} ${epoch}`;
}

/** Masters that share the slots, and perhaps a replica. */
class Cluster {
  constructor(servers) {
    this.servers = servers;
  }

  /** For the code under test. */
  url(servers = this.servers) {
    return `redis+cluster://${servers.map(({ port }) => `${HOST}:${port}`).join(',')}`;
  }

  /** The master that had the slot of this key at first. */
  ownerOf(key) {
    return this.servers[Math.floor((slotOf(key) * this.servers.length) / SLOTS)];
  }

  /** A name whose slot that server had at first. */
  nameOn(server, prefix = 'name') {
    for (let i = 0; ; i++) {
      if (this.ownerOf(`${prefix}:${i}`) === server) return `${prefix}:${i}`;
    }
  }

  async idOf(server) {
    server.id ??= await server.command('CLUSTER', 'MYID');
    return server.id;
  }

  /** The keys on all servers. */
  async size() {
    const sizes = await Promise.all(this.servers.map((server) => server.command('DBSIZE')));
    return sizes.reduce((total, size) => total + size, 0);
  }

  /** Opens a slot for a move: from now on both servers send on what they do not have. */
  async startMove(slot, from, to) {
    await to.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', await this.idOf(from));
    await from.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', await this.idOf(to));
  }

  async moveKeys(slot, from, to) {
    for (;;) {
      const keys = await from.command('CLUSTER', 'GETKEYSINSLOT', slot, 100);
      if (keys.length === 0) return;
      await from.command('MIGRATE', HOST, to.port, '', 0, 5000, 'KEYS', ...keys);
    }
  }

  /** Waits until all servers know it: the next move, too early, would be counted like this one, and undo it. */
  async endMove(slot, from, to) {
    const id = await this.idOf(to);
    for (const server of [to, from]) await server.command('CLUSTER', 'SETSLOT', slot, 'NODE', id);
    await until(async () => {
      const [first, ...others] = await Promise.all(this.servers.map((each) => whoHas(each, slot)));
      return first.startsWith(id) && others.every((other) => other === first);
    }, SETTLED);
  }

  /**
   * Waits until every server says that the cluster is whole, and knows who has each slot: one that may
   * serve without some slots says so before it has heard of all others, and may never hear of them
   * once a third one is dead.
   */
  async settle(servers = this.servers) {
    await until(async () => {
      const infos = await Promise.all(servers.map((server) => server.command('CLUSTER', 'INFO')));
      return infos.every(
        (info) =>
          /cluster_state:ok/.test(info) && info.includes(`cluster_slots_assigned:${SLOTS}\r`),
      );
    }, SETTLED);
  }

  /** Adds a replica of a master, and waits until it has its data. */
  async addReplica(master, options) {
    const replica = await startMember(options);
    this.replica = replica;
    await replica.command('CLUSTER', 'MEET', HOST, master.port);
    const id = await this.idOf(master);
    await until(() =>
      replica.command('CLUSTER', 'REPLICATE', id).then(
        () => true,
        () => false,
      ),
    );
    await until(async () => /master_link_status:up/.test(await replica.command('INFO')), SETTLED);
    const line = new RegExp(`^${await this.idOf(replica)} \\S+ (myself,)?slave `, 'm');
    const all = [...this.servers, replica];
    const isKnown = async (server) => line.test(await server.command('CLUSTER', 'NODES'));
    await until(async () => (await Promise.all(all.map(isKnown))).every(Boolean), SETTLED);
    await this.settle(all);
    return replica;
  }

  stop() {
    const all = [...this.servers, ...(this.replica ? [this.replica] : [])];
    return Promise.all(all.map((server) => server.stop()));
  }
}

function startMember({ args = [], ...options } = {}) {
  return startServer({
    args: [
      '--cluster-enabled',
      'yes',
      '--cluster-node-timeout',
      '1000',
      '--repl-diskless-sync-delay',
      '0',
      ...(options.tls ? ['--tls-cluster', 'yes', '--tls-replication', 'yes'] : []),
      ...args,
    ],
    ...options,
  });
}

/** Starts a cluster of so many masters, each with the same share of the slots. */
async function useCluster(t, count = 3, options) {
  const servers = await Promise.all(Array.from({ length: count }, () => startMember(options)));
  const cluster = new Cluster(servers);
  t.teardown(() => cluster.stop());
  const slots = Array.from({ length: SLOTS }, (_, slot) => slot);
  await Promise.all(
    servers.map(async (server, i) => {
      const own = slots.filter((slot) => Math.floor((slot * count) / SLOTS) === i);
      await server.command('CLUSTER', 'ADDSLOTS', ...own);
      // Without epochs of their own, the first conflict would have to settle them.
      await server.command('CLUSTER', 'SET-CONFIG-EPOCH', i + 1);
    }),
  );
  const [first, ...others] = servers;
  for (const { port } of others) await first.command('CLUSTER', 'MEET', HOST, port);
  await cluster.settle();
  return cluster;
}

module.exports = { useCluster };

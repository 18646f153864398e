'use strict';

const { until } = require('./async.js');
const { useProxy } = require('./proxy.js');
const { useServers } = require('./servers.js');

// Nothing that a replica keeps on disk for the sake of replication may outlive its process.
const ARGS = [
  '--repl-diskless-sync',
  'yes',
  '--repl-diskless-sync-delay',
  '0',
  '--rdb-del-sync-files',
  'yes',
];

/** A master and its replica, the link between them, and the address where clients find the master. */
class Pair {
  constructor(master, replica, link, address) {
    this.master = master;
    this.replica = replica;
    this.link = link;
    this.address = address;
  }

  /** For the code under test; it leads to the replica after failOver(). */
  get url() {
    return this.address.url;
  }

  /** Waits until the replica has this value. */
  async isReplicated(name, value) {
    await until(async () => (await this.replica.command('GET', name)) === value);
  }

  /** Waits until the replica gets what is written to the master. */
  async isLinked() {
    await until(async () => (await this.master.command('ROLE'))[2].length === 1);
    const ask = (...command) => until(() => this.master.command(...command).catch(() => false));
    await ask('SET', 'linked', 'yes');
    await this.isReplicated('linked', 'yes');
    await ask('DEL', 'linked');
    await this.isReplicated('linked', null);
  }

  /** Ends the link for good, so that the master notices at once. */
  async cutOff() {
    this.link.refuse();
    this.link.reset();
    await until(async () => (await this.master.command('ROLE'))[2].length === 0);
  }

  /** Makes the replica the master, for the clients too. The former master goes on for who still asks it. */
  async failOver() {
    await this.replica.command('REPLICAOF', 'NO', 'ONE');
    this.address.server = this.replica;
    this.address.reset();
  }
}

/** Starts a master and its replica for one test, and waits until they are linked. */
async function usePair(t, { args = [] } = {}) {
  const [master, replica] = await useServers(t, 2, { args: [...ARGS, ...args] });
  const pair = new Pair(
    master,
    replica,
    await useProxy(t, master, { isRaw: true }),
    await useProxy(t, master),
  );
  await replica.command('REPLICAOF', '127.0.0.1', pair.link.port);
  return pair;
}

module.exports = { usePair };

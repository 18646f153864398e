'use strict';

const { until } = require('./async.js');
const { startServer } = require('./servers.js');

const HOST = '127.0.0.1';
const NAME = 'mymaster';

// Sentinels whose clock seems to jump, as on a machine that is far too busy, do nothing for 30 s.
const SETTLED = { timeout: 100_000 };

/** A master with its replicas, and the sentinels that watch over them. */
class SentinelGroup {
  constructor(servers, sentinels) {
    this.name = NAME;
    this.servers = servers;
    this.sentinels = sentinels;
  }

  /** For the code under test; with the master's name, unless another one is given. */
  url(sentinels = this.sentinels, name = this.name) {
    return `redis+sentinel://${sentinels.map(({ port }) => `${HOST}:${port}`).join(',')}/${name}`;
  }

  /** The same as options. */
  options(sentinels = this.sentinels) {
    const servers = sentinels.map(({ port }) => ({ host: HOST, port }));
    return { sentinels: servers, masterName: this.name };
  }

  /** The server that a sentinel calls the master. */
  async master(sentinel = this.sentinels[0]) {
    const [, port] = await sentinel.command('SENTINEL', 'get-master-addr-by-name', NAME);
    return this.servers.find((server) => server.port === Number(port));
  }

  /** Waits until all these sentinels call another server the master, and gives it. */
  async failover(former, sentinels = this.sentinels) {
    return until(async () => {
      const masters = await Promise.all(sentinels.map((sentinel) => this.master(sentinel)));
      const [master] = masters;
      const isAgreed = master !== former && masters.every((each) => each === master);
      return isAgreed && (await roleOf(master)) === 'master' && master;
    }, SETTLED);
  }

  /** Has the living master hand over to a replica, as often as it takes. */
  async handOver(former) {
    const [sentinel] = this.sentinels;
    await until(async () => {
      if ((await this.master()) !== former) return true;
      // Refused while one is under way, which may be given up.
      await sentinel.command('SENTINEL', 'FAILOVER', NAME).catch(() => {});
      return false;
    }, SETTLED);
    return this.failover(former);
  }

  stop() {
    const all = [...this.sentinels, ...this.servers];
    return Promise.all(all.map((server) => server.stop()));
  }
}

async function roleOf(server) {
  const [role] = await server.command('ROLE');
  return role;
}

/** What a sentinel knows about its master, under the names that it has there. */
async function knowledgeOf(sentinel) {
  const fields = await sentinel.command('SENTINEL', 'master', NAME);
  return Object.fromEntries(
    fields.flatMap((field, i) => (i % 2 === 0 ? [[field, fields[i + 1]]] : [])),
  );
}

/** A sentinel of `master`, by which it finds the replicas and the other sentinels. */
async function startSentinel(master, { password, sentinelPassword, tls, quorum = 2 } = {}) {
  const sentinel = await startServer({
    args: ['--sentinel', ...(tls ? ['--tls-replication', 'yes'] : [])],
    password: sentinelPassword,
    tls,
    config: [
      `sentinel monitor ${NAME} ${HOST} ${master.port} ${quorum}`,
      `sentinel down-after-milliseconds ${NAME} 500`,
      `sentinel failover-timeout ${NAME} 2000`,
      `sentinel parallel-syncs ${NAME} 2`,
      ...(password ? [`sentinel auth-pass ${NAME} ${password}`] : []),
      ...(sentinelPassword ? [`sentinel sentinel-pass ${sentinelPassword}`] : []),
      '',
    ].join('\n'),
  });
  // Until they have found each other.
  await hurry(sentinel, { publish: 100 });
  return sentinel;
}

/** Makes a sentinel look every so often instead of every few seconds. Older ones keep to that. */
async function hurry(sentinel, { publish }) {
  await sentinel
    .command(
      'SENTINEL',
      'DEBUG',
      'info-period',
      200,
      'ping-period',
      100,
      'ask-period',
      100,
      'publish-period',
      publish,
    )
    .catch(() => {});
}

/**
 * Starts a master, replicas and sentinels, and waits until they all know each other. `password` is
 * the servers', `sentinelPassword` the sentinels', `tls` what startServer() takes.
 */
async function useSentinels(t, { replicas = 2, sentinels = 3, ...options } = {}) {
  const { password, tls } = options;
  const group = new SentinelGroup([], []);
  t.teardown(() => group.stop());
  const args = [
    '--repl-diskless-sync-delay',
    '0',
    '--repl-ping-replica-period',
    '1',
    ...(password ? ['--masterauth', password] : []),
    ...(tls ? ['--tls-replication', 'yes'] : []),
  ];
  const start = async () => {
    const server = await startServer({ args, password, tls });
    group.servers.push(server);
    return server;
  };
  const master = await start();
  await Promise.all(
    Array.from({ length: replicas }, async () => {
      await (await start()).command('REPLICAOF', HOST, master.port);
    }),
  );
  await until(async () => (await master.command('ROLE'))[2].length === replicas, SETTLED);

  const quorum = Math.floor(sentinels / 2) + 1;
  await Promise.all(
    Array.from({ length: sentinels }, async () => {
      group.sentinels.push(await startSentinel(master, { ...options, quorum }));
    }),
  );
  await until(async () => {
    const all = await Promise.all(group.sentinels.map(knowledgeOf));
    return all.every(
      (known) =>
        Number(known['num-slaves']) === replicas &&
        Number(known['num-other-sentinels']) === sentinels - 1 &&
        known.flags === 'master',
    );
  }, SETTLED);
  // After four of these periods a sentinel makes a replica again of what it takes for one: that has
  // to leave the one that promotes it enough time to tell the others.
  await Promise.all(group.sentinels.map((sentinel) => hurry(sentinel, { publish: 1000 })));
  return group;
}

module.exports = { roleOf, startSentinel, useSentinels };

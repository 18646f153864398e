'use strict';

// A process that stood still: its machine slept, or a platform froze it between two requests. Servers and networks close
// its connections meanwhile, which must not cost the next call the only try that it has.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const test = require('ava');

const { Redsync } = require('../index.js');
const { until } = require('./helpers/async.js');
const { createAuthority } = require('./helpers/certificates.js');
const { useCluster } = require('./helpers/cluster.js');
const { startProcess } = require('./helpers/processes.js');
const { useProxy } = require('./helpers/proxy.js');
const { storedOn, useServers } = require('./helpers/servers.js');

const ROUNDS = 20;
const OPTIONS = { expiry: 10_000, tries: 1 };
const NOTHING = [[], [], []];

// Elsewhere nothing tells that every thread of a process stands still.
const onLinux = process.platform === 'linux' ? test.serial : test.serial.skip;

/** Is stopped in each round, and calls at once when it goes on: before anybody could have told it of its connections. */
async function lockAfterEach(file, nodes, options, thawed, rounds) {
  const fs = require('node:fs');
  const { Redsync } = require(file);
  const redsync = new Redsync(nodes, options);
  const mutex = redsync.newMutex('name');
  await (await mutex.lock()).unlock();
  for (let round = 0; round < rounds; round++) {
    console.log(`rests ${round}.`);
    while (!fs.existsSync(`${thawed}${round}`));
    const lock = await (round % 2 === 0 ? mutex.lock() : mutex.tryLock()).catch((error) => {
      console.log(`round ${round}: ${error.message}`);
    });
    await lock?.unlock();
  }
  await redsync.close();
}

/** Stops a process, and waits until all of it stands still. */
async function freeze(pid) {
  process.kill(pid, 'SIGSTOP');
  const threads = `/proc/${pid}/task`;
  const isStopped = (thread) =>
    fs.readFileSync(path.join(threads, thread, 'stat'), 'utf8').includes(') T ');
  await until(() => fs.readdirSync(threads).every(isStopped));
}

const closed = (server) => server.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');

async function restarted(server) {
  await server.kill();
  await server.restart();
}

async function useTlsServers(t) {
  const authority = await createAuthority();
  const identity = await authority.issue({ addresses: ['127.0.0.1'] });
  const servers = await useServers(t, 3, { tls: identity });
  const tls = { ca: authority.cert };
  return { servers, nodes: servers.map(({ port }) => ({ host: '127.0.0.1', port, tls })) };
}

async function usePlainServers(t) {
  const servers = await useServers(t, 3);
  return { servers, nodes: servers.map(({ url }) => url) };
}

async function useClusterServers(t) {
  const cluster = await useCluster(t);
  return { servers: cluster.servers, nodes: [cluster.url()] };
}

for (const [title, use, lose] of [
  ['were closed by the servers', usePlainServers, closed],
  ['were closed by the servers, over TLS', useTlsServers, closed],
  ['were closed by the servers of a cluster', useClusterServers, closed],
  ['were lost with servers that were restarted', usePlainServers, restarted],
]) {
  onLinux(`a thawed process whose connections ${title} needs one try`, async (t) => {
    const { servers, nodes } = await use(t);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'redsync-frozen-'));
    t.teardown(() => fs.rmSync(folder, { recursive: true }));
    const thawed = path.join(folder, 'round ');
    const running = startProcess({}, lockAfterEach, nodes, OPTIONS, thawed, ROUNDS);
    for (let round = 0; round < ROUNDS; round++) {
      await running.says(`rests ${round}.`);
      await freeze(running.pid);
      await Promise.all(servers.map(lose));
      fs.writeFileSync(`${thawed}${round}`, '');
      process.kill(running.pid, 'SIGCONT');
    }
    const { status, stdout, stderr } = await running.ended;
    t.deepEqual(
      stdout.split('\n').filter((line) => !line.startsWith('rests')),
      [],
    );
    t.is(status, 0, stderr);
    for (const keys of await storedOn(servers)) t.deepEqual(keys, []);
  });
}

function inHex(port) {
  return port.toString(16).toUpperCase().padStart(4, '0');
}

/**
 * Waits until the operating system has told clients of these proxies, from these ports, that their connections are over, and
 * lets nothing else run here meanwhile. Where others flood the network that takes its time, and what is sent until then is
 * lost.
 */
function areOver(ports, proxies) {
  if (process.platform !== 'linux') return; // nothing tells
  const oneOf = (all) => `(${all.map(inHex).join('|')})`;
  const [from, to] = [oneOf(ports), oneOf(proxies.map(({ port }) => port))];
  // A port is one of a connection to somebody else as well.
  const connected = new RegExp(`: \\w+:${from} \\w+:${to} 01 `);
  while (connected.test(fs.readFileSync('/proc/net/tcp', 'utf8')));
}

// A link has not heard of it yet when it is asked, or has just heard of it.
test.serial('a call in the moment in which its connections end needs one try', async (t) => {
  const servers = await useServers(t, 3);
  const proxies = await Promise.all(servers.map((server) => useProxy(t, server)));
  const redsync = new Redsync(
    // The proxies are in this process, which others keep waiting.
    proxies.map(({ url }) => ({ url, connectTimeout: 30_000 })),
    { ...OPTIONS, expiry: 60_000, timeoutFactor: 0.5 },
  );
  t.teardown(() => redsync.close());
  const mutex = redsync.newMutex('name');
  await (await mutex.lock()).unlock();
  for (let round = 0; round < 10 * ROUNDS; round++) {
    const accepted = proxies.map((proxy) => proxy.accepted);
    const peers = proxies.flatMap((proxy) => proxy.peers);
    proxies.forEach((proxy) => proxy.reset());
    areOver(peers, proxies);
    const lock = await mutex.lock();
    await lock.unlock();
    // One of them may be asked a little later than a quorum.
    await until(() => proxies.every((proxy, i) => proxy.accepted > accepted[i]));
  }
  t.deepEqual(await storedOn(servers), NOTHING);
});

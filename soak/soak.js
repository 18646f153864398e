'use strict';

// The soak itself, which run.js starts: `soak.js MINUTES [apart]`. Apart, it has a network and disks of its own.

const { fork } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: delay } = require('node:timers/promises');

const { startProxy } = require('../__test__/helpers/proxy.js');
const { lockKeys, startServer } = require('../tools/redis-servers.js');
const { main } = require('../tools/setup.js');
const { calls, crowds, errors, holds, most, writes } = require('./checker.js');
const { Disk } = require('./disk.js');
const { injectFaults } = require('./faults.js');
const { checkHistory } = require('./history.js');
const { read } = require('./journal.js');
const { LIMITS, NAMES } = require('./kinds.js');
const { Store } = require('./store.js');
const { layWire } = require('./wire.js');

const SERVERS = 5;
const CONTENDERS = 4;
const EXPIRY = 1000;
/** Far beyond the deadline of any call, stops and blocks of the process included. */
const STUCK = 60_000;

/** A server and what is around it; a disk and a wire of its own only where the soak is apart. */
class Node {
  static async start(isApart) {
    const node = new Node();
    if (isApart) node.disk = new Disk();
    node.server = await startServer({ args: node.disk ? ['--dir', node.disk.folder] : [] });
    node.proxy = await startProxy(node.server, { isRaw: true });
    if (isApart) node.wire = await layWire(node.proxy.port);
    return node;
  }

  async stop() {
    await this.proxy.stop();
    await this.server.stop();
    this.disk?.remove();
  }
}

/** A process that takes locks; another one after it was killed. */
class Contender {
  #plan;
  #directory;
  #number;
  #lives = 0;
  #child;
  #exited;

  constructor(directory, number, urls, store) {
    this.#directory = directory;
    this.#number = number;
    this.#plan = { urls, store, expiry: EXPIRY, tasks: 6, workers: 1 };
    this.terminated = 0;
    this.complaints = [];
    this.start();
  }

  start() {
    this.journal = path.join(this.#directory, `${this.#number}-${this.#lives++}`);
    const plan = JSON.stringify({ ...this.#plan, journal: this.journal });
    const stdio = ['ignore', 'inherit', 'pipe', 'ipc'];
    this.#child = fork(path.join(__dirname, 'contender.js'), [plan], { stdio });
    this.#child.stderr.setEncoding('utf8').on('data', (text) => {
      if (!text.includes('REDSYNC_LOCK_DROPPED')) this.complaints.push(text);
    });
    this.#exited = once(this.#child, 'exit');
    this.#child.on('message', () => {
      this.terminated++;
    });
  }

  async replace() {
    const child = this.#child;
    child.kill('SIGKILL');
    await this.#exited;
    // On a busy machine its end takes so long that a second fault may have waited for it, too.
    if (this.#child === child) this.start();
  }

  pause() {
    this.#child.kill('SIGSTOP');
  }

  resume() {
    this.#child.kill('SIGCONT');
  }

  /** Lets it end by itself. */
  async finish() {
    if (this.#child.connected) this.#child.send('finish');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STUCK);
    const [code, signal] = await this.#exited;
    clearTimeout(timer);
    if (code !== 0) this.complaints.push(`ended with ${signal ?? code}`);
  }
}

/** How many keys are left on all servers, but for the last tokens of names, as soon as it is none, or after a while. */
async function keysLeft(servers) {
  const deadline = Date.now() + 5 * EXPIRY;
  for (;;) {
    const left = (await Promise.all(servers.map(lockKeys))).flat().length;
    if (left === 0 || Date.now() > deadline) return left;
    await delay(100);
  }
}

/** Two that were accepted in the wrong order. */
function backward(tokens) {
  return tokens.flatMap((token, i) => (token < tokens[i - 1] ? [[tokens[i - 1], token]] : []));
}

function check(directory, contenders) {
  const journals = fs.readdirSync(directory).map((name) => path.join(directory, name));
  const entries = journals.map((journal) => ({ journal, entries: read(journal) }));
  const all = entries.flatMap((each) => holds(each.entries));
  // Who was killed, or terminated with its thread, has left calls behind.
  const alive = new Set(contenders.map(({ journal }) => journal));
  const stuck = entries
    .filter(({ journal }) => alive.has(journal))
    .flatMap((each) => calls(each.entries).stuck);
  const made = entries.map((each) => calls(each.entries));
  return {
    processes: journals.length,
    holds: all.length,
    crowds: crowds(all, LIMITS),
    most: NAMES.map((name) => [name, most(all, name)]),
    byName: Object.fromEntries(
      NAMES.map((name) => [name, all.filter((hold) => hold.name === name).length]),
    ),
    calls: made.reduce((sum, each) => sum + each.made, 0),
    longest: Math.max(...made.map((each) => each.longest)),
    writes: writes(entries.flatMap((each) => each.entries)),
    errors: errors(entries.flatMap((each) => each.entries)),
    stuck,
  };
}

main(async () => {
  const [minutes, isApart] = [Number(process.argv[2]), process.argv[3] === 'apart'];
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'redsync-soak-'));
  const nodes = await Promise.all(Array.from({ length: SERVERS }, () => Node.start(isApart)));
  const storing = await startServer(); // to which nothing happens
  const urls = nodes.map(({ proxy }) => proxy.url);
  const contenders = Array.from(
    { length: CONTENDERS },
    (_, i) => new Contender(directory, i, urls, storing.url),
  );

  const end = Date.now() + minutes * 60_000;
  const counts = await injectFaults({ nodes, contenders }, EXPIRY, () => Date.now() > end);
  await delay(2 * EXPIRY); // for connections to come back
  await Promise.all(contenders.map((contender) => contender.finish()));
  const left = await keysLeft(nodes.map(({ server }) => server));
  const store = new Store(storing.url);
  const tokens = await Promise.all(NAMES.map((name) => store.tokens(name)));
  store.close();
  await Promise.all([storing, ...nodes].map((each) => each.stop()));

  const { processes, longest, stuck, ...found } = check(directory, contenders);
  const terminated = contenders.reduce((sum, contender) => sum + contender.terminated, 0);
  console.log(
    `${minutes} minutes: ${found.holds} holds, ${found.calls} calls, the longest ` +
      `${longest.toFixed(0)} ms, in ${processes} processes and threads`,
  );
  if (!isApart) console.log('without a network and disks of its own: no packet lost, no disk full');
  for (const [name, count] of Object.entries(counts))
    console.log(`${String(count).padStart(6)} ${name}`);
  console.log(`${String(terminated).padStart(6)} threads terminated`);
  const stopped = nodes.reduce((sum, { wire }) => sum + (wire?.stopped ?? 0), 0);
  console.log(`${String(stopped).padStart(6)} packets that did not arrive`);
  const told = found.errors.map(([code, count]) => `${count} ${code}`).join(', ');
  console.log(`nodes, in calls that failed for them: ${told}`);
  for (const [name, count] of found.most)
    console.log(`"${name}": ${found.byName[name]} holds, at most ${count} at once`);
  const { accepted, refused, wrong } = found.writes;
  console.log(`${accepted} writes to a store that compares tokens, and ${refused} that it refused`);

  const history = checkHistory(directory);
  console.log(history.told.trimEnd());
  const complaints = contenders.flatMap((contender) => contender.complaints);
  const failures = [
    ...found.crowds.map((crowd) => `too many held "${crowd[0].name}": ${JSON.stringify(crowd)}`),
    ...stuck.map(({ name }) => `a call about "${name}" is stuck`),
    ...(longest > STUCK ? [`a call took ${longest} ms`] : []),
    ...(left > 0 ? [`${left} keys are left`] : []),
    ...wrong.map(({ name, left: token }) => `the store refused ${token}, who held "${name}"`),
    ...(accepted > 0 && refused > 0 ? [] : ['the store was not put to the test']),
    ...(isApart && stopped === 0 ? ['no packet was lost'] : []),
    ...(history.isLinearizable ? [] : ['a history is not linearizable']),
    ...tokens.flatMap(backward).map((pair) => `writes went backwards: ${pair}`),
    ...complaints,
  ];
  if (failures.length > 0) {
    console.error(failures.join('\n'), `\nThe journals are in ${directory}`);
    process.exitCode = 1;
    return;
  }
  fs.rmSync(directory, { recursive: true });
  console.log(
    'Never too many at once, every history linearizable, no call stuck, no key left, no holder refused by the store.',
  );
});

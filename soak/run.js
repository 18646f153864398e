'use strict';

// `npm run soak`: see HELP.

const { fork } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: delay } = require('node:timers/promises');

const { startProxy } = require('../__test__/helpers/proxy.js');
const { readNumbers } = require('../tools/command-line.js');
const { lockKeys, startServers } = require('../tools/redis-servers.js');
const { build, install, main, requireRedisServer } = require('../tools/setup.js');
const { calls, crowds, holds, most, writes } = require('./checker.js');
const { injectFaults } = require('./faults.js');
const { checkHistory, prepareHistory } = require('./history.js');
const { read } = require('./journal.js');
const { LIMITS, NAMES } = require('./kinds.js');
const { Store } = require('./store.js');

const SERVERS = 5;
const CONTENDERS = 4;
const EXPIRY = 1000;
/** Far beyond the deadline of any call, stops and blocks of the process included. */
const STUCK = 60_000;

const DEFAULTS = { minutes: 10 };
const HELP = `Usage: npm run soak -- [options]

${CONTENDERS} processes take mutexes, semaphores, and locks to read and to write on ${SERVERS} redis-servers while both are killed
and stopped, and the network between them fails. Ends with an error if more ever held one lock than may, the history of
a lock is not linearizable, a call got stuck, a key is left, or a store that compares fencing tokens refused who held the lock.

  --minutes N  (default ${DEFAULTS.minutes})
  --help       prints this
`;

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
    stuck,
  };
}

main(async () => {
  const { help, minutes } = readNumbers(process.argv.slice(2), DEFAULTS);
  if (help) return console.log(HELP);
  install();
  build();
  requireRedisServer();
  prepareHistory();
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'redsync-soak-'));
  const servers = await startServers(SERVERS);
  const [storing] = await startServers(1); // to which nothing happens
  const proxies = await Promise.all(servers.map(startProxy));
  const urls = proxies.map(({ url }) => url);
  const contenders = Array.from(
    { length: CONTENDERS },
    (_, i) => new Contender(directory, i, urls, storing.url),
  );

  const end = Date.now() + minutes * 60_000;
  const parts = { servers, proxies, contenders };
  const counts = await injectFaults(parts, EXPIRY, () => Date.now() > end);
  await delay(2 * EXPIRY); // for connections to come back
  await Promise.all(contenders.map((contender) => contender.finish()));
  const left = await keysLeft(servers);
  await Promise.all(proxies.map((proxy) => proxy.stop()));
  const store = new Store(storing.url);
  const tokens = await Promise.all(NAMES.map((name) => store.tokens(name)));
  store.close();
  await Promise.all([storing, ...servers].map((server) => server.stop()));

  const { processes, longest, stuck, ...found } = check(directory, contenders);
  const terminated = contenders.reduce((sum, contender) => sum + contender.terminated, 0);
  console.log(
    `${minutes} minutes: ${found.holds} holds, ${found.calls} calls, the longest ` +
      `${longest.toFixed(0)} ms, in ${processes} processes and threads`,
  );
  for (const [name, count] of Object.entries(counts))
    console.log(`${String(count).padStart(6)} ${name}`);
  console.log(`${String(terminated).padStart(6)} threads terminated`);
  for (const [name, count] of found.most)
    console.log(`"${name}": ${found.byName[name]} holds, at most ${count} at once`);
  const { accepted, refused, wrong } = found.writes;
  console.log(`${accepted} writes to a store that compares tokens, and ${refused} that it refused`);

  const history = checkHistory(directory, EXPIRY);
  console.log(history.told.trimEnd());
  const complaints = contenders.flatMap((contender) => contender.complaints);
  const failures = [
    ...found.crowds.map((crowd) => `too many held "${crowd[0].name}": ${JSON.stringify(crowd)}`),
    ...stuck.map(({ name }) => `a call about "${name}" is stuck`),
    ...(longest > STUCK ? [`a call took ${longest} ms`] : []),
    ...(left > 0 ? [`${left} keys are left`] : []),
    ...wrong.map(({ name, left: token }) => `the store refused ${token}, who held "${name}"`),
    ...(accepted > 0 && refused > 0 ? [] : ['the store was not put to the test']),
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

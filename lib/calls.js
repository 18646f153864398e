'use strict';

// The crossing to the engine. Calls are written as records of numbers into one array, their strings
// into one text, and handed over once per turn; completions come back the same way. They are read in
// src/binding/wire.rs, and completions are written in src/binding/outbox.rs. The engine has a thread of
// its own; for clients whose nodes are all pools it runs here, and its completions come at once.

const { clearTimeout, setImmediate, setInterval, setTimeout } = require('node:timers');
const native = require('./addon.js');
const crossing = require('./crossing.js');
const { MAX_INT } = require('./fields.js');
const { quarantineOf } = require('./quarantine.js');

const { OPERATION, OUTCOME, VOTE, FLAG, HEADER, OPERAND, COMPLETION, FIRST } = crossing;

// As it is now: test runners put another in its place.
const { queueMicrotask } = globalThis;

/** What a call may be told ahead of its completion. */
const AHEAD = new Set([OUTCOME.ASK_DELAY, OUTCOME.ASK_VALUE, OUTCOME.REPORT]);

/** No outcome of the engine: the lock was acquired, and over before it could be handed over. */
const STALE = -1;

const RECORDS = 16_384; // numbers; the longest record, of a mutex with 64 names, is far shorter
const NO_CALL = 0;
const NO_EXTENSION = Object.freeze({ interval: 0, maxHold: 0, maxStall: 0 });
const COMPLETIONS_PER_DRAIN = 128; // few: a value keeps the text of its drain alive

/**
 * Receives what the engine says to one call: exactly one completion, before it any questions and a report.
 * @typedef {{ hear(outcome: number, number: number, text: string): void }} Listener
 */

/**
 * Whom a call belongs to, by its number: an array that is used over and over, for a Map whose keys
 * come and go takes four times as long.
 * @type {(Listener | undefined)[]}
 */
const listeners = [undefined];
const freeNumbers = [];
let underWay = 0;

/**
 * Locks that the engine keeps alive or watches, by the number of the call that began it. The number is
 * not free again before the engine has said how the lease has ended, whether or not anybody is told.
 * @type {Map<number, Told | undefined>}
 *
 * @typedef {object} Told
 * @property {(why: number, until: number) => void} lost
 * @property {() => void} ended otherwise, and not by what was asked for under this number
 * @property {() => void} dropped nobody asks for it to be kept alive any more
 */
const leases = new Map();

// What was drained last, and how much of it was told: see tell().
const completions = new Float64Array(1 + COMPLETIONS_PER_DRAIN * COMPLETION.NEXT);
let drained = '';
let count = 0;
let told = 0;
let toldText = 0;

/** Takes the questions to pools, and is told when there is none left for now. */
let hearQuestion;
let endQuestions;

/**
 * Who is told, by the number of a client, when one of its nodes was logged in to.
 * @type {Map<number, { learn(node: number, runId: string): void }>}
 */
const servers = new Map();

let engine;
const records = new Float64Array(RECORDS);
let used = 0;
let text = '';
let isForLoop = false; // whether the records are of clients whose engine runs here

let alarm; // rings when the engine that runs here has something to do

// A pending call keeps the process alive, as a pending read of a socket does, and so does a routine of
// using(), which may wait for nothing but its signal; nothing else does. It is
// made here, and not by the first call, so as not to hold on to the asynchronous context of that.
const keepAlive = setInterval(() => {}, MAX_INT);
keepAlive.unref();

/**
 * @param {readonly object[]} nodes see lib/nodes.js
 * @param {string} [owner] whom random ownership values name
 * @returns {number} the engine's number for this set of nodes
 */
function open(nodes, owner) {
  engine ??= new native.Engine(drain);
  return engine.open(nodes, owner);
}

/** Is the engine of this client run here? */
function isOfLoop(client) {
  return client >= FIRST.LOOP_CLIENT;
}

function reserve(client, count, schedule = queueMicrotask) {
  const isHere = isOfLoop(client);
  // A burst crosses in parts, so that it takes no buffer of its size on either side. What it leads to here may be
  // answered at once, and be in the buffer next.
  while (used > 0 && (used + count > records.length || isHere !== isForLoop)) flush();
  isForLoop = isHere;
  if (used === 0) schedule(flush);
}

function flush() {
  if (used === 0) return;
  const [count, strings] = [used, text];
  used = 0;
  text = '';
  if (isForLoop) run(count, strings);
  else engine.submit(records, count, strings);
}

/** Runs the engine here, with the records if there are any, and takes what it says. */
function run(count, strings) {
  const left = engine.run(records, count, strings);
  if (left >= 0) {
    clearTimeout(alarm);
    alarm = setTimeout(run, Math.min(Math.ceil(left), MAX_INT), 0, '');
    alarm.unref();
  }
  drain();
}

/** Begins a record, of which so many operands follow. */
function begin(operation, client, call, operands, schedule) {
  const length = HEADER.OPERANDS + operands;
  reserve(client, length, schedule);
  records[used + HEADER.LENGTH] = length;
  records[used + HEADER.OPERATION] = operation;
  records[used + HEADER.CALL] = call;
  records[used + HEADER.CLIENT] = client;
  used += HEADER.OPERANDS;
}

/**
 * Adds a string of the record that was begun, which is known to be well-formed: halves of a character
 * would be one when two strings come together, and all lengths behind them wrong.
 *
 * @param {string} string
 * @returns {number} its length, as it crosses
 */
function add(string) {
  text += string;
  return Buffer.byteLength(string);
}

function put(string) {
  records[used++] = add(string);
}

/**
 * One that comes from a pool, or whatever else is not checked before.
 *
 * @param {string} string
 */
function putWellFormed(string) {
  put(string.isWellFormed() ? string : string.toWellFormed());
}

function takeNumber() {
  return freeNumbers.length > 0 ? freeNumbers.pop() : listeners.push(undefined) - 1;
}

function listen(listener) {
  const number = takeNumber();
  listeners[number] = listener;
  enter();
  return number;
}

/** Keeps the process alive, until leave(). */
function enter() {
  if (++underWay === 1) keepAlive.ref();
}

function leave() {
  if (--underWay === 0) keepAlive.unref();
}

/** The call is complete. */
function unlisten(number) {
  listeners[number] = undefined;
  if (!leases.has(number)) freeNumbers.push(number);
  leave();
}

/**
 * The engine looks after a lock under this number.
 *
 * @param {number} number
 * @param {Told} [told] whom to tell, if anybody
 */
function beginLease(number, told) {
  leases.set(number, told);
}

/**
 * Nobody is told of it any more.
 *
 * @param {number} number of a lease whose end was not told
 * @returns {number} when its lock is over, as `until` has it
 */
function endLease(number) {
  leases.set(number, undefined);
  return engine.takeUntil(number);
}

/** The engine has nothing more to say of a lease: its number is used again. */
function freeLease(number) {
  leases.delete(number);
  if (listeners[number] === undefined) freeNumbers.push(number);
}

/**
 * Asks for an operation on a mutex.
 *
 * @param {number} operation
 * @param {number} client
 * @param {import('./resource.js').Resource} target
 * @param {string} value the ownership value that the operation is about, '' for none
 * @param {number} until of a release: when the keys expire, on the engine's clock; 0 for at once
 * @param {Listener} listener
 * @returns {number} the call, for `cancel` and `answer`
 */
function call(operation, client, target, value, until, listener) {
  const number = listen(listener);
  writeCall(operation, client, number, target, value, until);
  return number;
}

function writeCall(operation, client, number, { keys, settings }, value, until, schedule) {
  begin(operation, client, number, OPERAND.KEYS + keys.length, schedule);
  const { retryDelay } = settings;
  const { interval, maxHold, maxStall } = settings.extension ?? NO_EXTENSION;
  records[used + OPERAND.EXPIRY] = settings.expiry;
  records[used + OPERAND.TRIES] = settings.tries;
  records[used + OPERAND.WAIT] = settings.wait;
  records[used + OPERAND.DELAY] = typeof retryDelay === 'number' ? retryDelay : 0;
  records[used + OPERAND.DRIFT_FACTOR] = settings.driftFactor;
  records[used + OPERAND.TIMEOUT_FACTOR] = settings.timeoutFactor;
  records[used + OPERAND.FLAGS] = flags(settings);
  records[used + OPERAND.INTERVAL] = interval;
  records[used + OPERAND.MAX_HOLD] = maxHold;
  records[used + OPERAND.MAX_STALL] = maxStall;
  records[used + OPERAND.UNTIL] = until;
  records[used + OPERAND.QUARANTINE] = quarantineOf(settings);
  records[used + OPERAND.PERMITS] = settings.permits;
  records[used + OPERAND.VALUE] = add(value);
  used += OPERAND.KEYS;
  for (let i = 0; i < keys.length; i++) put(keys[i]);
}

/**
 * Lets the engine tell when a lock is over that it does not keep alive.
 *
 * @param {number} client
 * @param {import('./resource.js').Resource} target
 * @param {string} value
 * @param {number} until on the engine's clock
 * @returns {number} the lease
 */
function watch(client, target, value, until) {
  const number = takeNumber();
  writeCall(OPERATION.WATCH, client, number, target, value, until);
  return number;
}

/**
 * Lets the engine extend a lock no more; it will expire.
 *
 * @param {number} client
 * @param {import('./resource.js').Resource} target
 * @param {string} value
 * @param {number} [lease] that it is not to be extended for; others may have the same lock
 */
function letExpire(client, target, value, lease = NO_CALL) {
  writeCall(OPERATION.LET_EXPIRE, client, lease, target, value, 0);
}

/**
 * Lets the engine hear of changes to a lock that it looks after: somebody listens for its loss. It crosses with
 * whatever crosses next, for most locks are released before that is of use.
 *
 * @param {number} client
 * @param {import('./resource.js').Resource} target
 * @param {string} value
 */
function guard(client, target, value) {
  writeCall(OPERATION.GUARD, client, NO_CALL, target, value, 0, setImmediate);
}

/** When the lock of a lease is over, on the engine's clock; 0 when the lease has ended. */
function until(number) {
  return engine.until(number);
}

function flags({ failFast, shufflePools, setNXOnExtend, genValue, retryDelay, fencing, mode }) {
  return (
    (failFast ? FLAG.FAIL_FAST : 0) |
    (shufflePools ? FLAG.SHUFFLE : 0) |
    (setNXOnExtend ? FLAG.RECREATE_ON_EXTEND : 0) |
    (fencing ? FLAG.FENCING : 0) |
    (mode === 'read' ? FLAG.READ : 0) |
    (mode === 'write' ? FLAG.WRITE : 0) |
    (genValue === undefined ? 0 : FLAG.ASK_VALUE) |
    (retryDelay === undefined ? FLAG.RANDOM_DELAY : 0) |
    (typeof retryDelay === 'function' ? FLAG.ASK_DELAY : 0)
  );
}

/**
 * Asks for an operation on all nodes.
 *
 * @param {number} operation
 * @param {number} client
 * @param {number} timeout
 * @param {Listener} listener
 * @returns {number} the call
 */
function callAll(operation, client, timeout, listener) {
  const number = listen(listener);
  begin(operation, client, number, 1);
  records[used++] = timeout;
  return number;
}

/**
 * Asks every node what it stores under a key.
 *
 * @param {number} client
 * @param {string} key
 * @param {number} timeout
 * @param {Listener} listener
 * @returns {number} the call
 */
function inspect(client, key, timeout, listener) {
  const number = listen(listener);
  begin(OPERATION.INSPECT, client, number, 2);
  records[used++] = timeout;
  put(key);
  return number;
}

/**
 * Asks one node for some of its keys.
 *
 * @param {number} client
 * @param {number} node its index
 * @param {string} pattern of keys
 * @param {string} from where to go on, '' for the beginning
 * @param {number} timeout
 * @param {Listener} listener
 * @returns {number} the call
 */
function scan(client, node, pattern, from, timeout, listener) {
  const number = listen(listener);
  begin(OPERATION.SCAN, client, number, 4);
  records[used++] = timeout;
  records[used++] = node;
  put(pattern);
  put(from);
  return number;
}

/** Ends a call early: its completion comes when what it had acquired is released. */
function cancel(client, number) {
  begin(OPERATION.CANCEL, client, number, 0);
}

/**
 * Answers a question of the engine; `undefined` says that the caller's function failed.
 *
 * @param {number} client
 * @param {number} number
 * @param {number | string | undefined} answer
 */
function answer(client, number, answer) {
  const string = typeof answer === 'string' ? answer : '';
  begin(OPERATION.ANSWER, client, number, 3);
  records[used++] = answer === undefined ? 0 : 1;
  records[used++] = typeof answer === 'number' ? answer : 0;
  putWellFormed(string);
}

/** From now on the servers of a client's nodes are told to somebody, until forgetServers(). */
function followServers(client, follower) {
  servers.set(client, follower);
}

function forgetServers(client) {
  servers.delete(client);
}

/** Gives up a set of nodes that nobody can use any more. */
function abandon(client) {
  begin(OPERATION.CLOSE, client, NO_CALL, 0);
}

/**
 * From now on questions to pools are given to this function, record by record; the other one is
 * called when all that came together were given.
 */
function servePools(hear, end) {
  hearQuestion = hear;
  endQuestions = end;
}

/**
 * Answers a question to a pool.
 *
 * @param {number} client
 * @param {number} node its index
 * @param {number} question
 * @param {number} vote one of VOTE
 * @param {string} [code] of an error
 * @param {string} [message]
 */
function answerPool(client, node, question, vote, code = '', message = '') {
  // Replies come socket by socket, and some clients tell of each in a tick of its own: they cross to the
  // thread together, when all sockets have been read.
  const schedule = isOfLoop(client) ? queueMicrotask : setImmediate;
  begin(OPERATION.POOL_ANSWER, client, question, 4, schedule);
  records[used++] = node;
  records[used++] = vote;
  putWellFormed(code);
  putWellFormed(message);
}

/** A clock for tests is so far ahead of the engine's, in milliseconds. */
function advance(clock, ahead) {
  begin(OPERATION.ADVANCE, clock, NO_CALL, 1);
  records[used++] = ahead;
}

/** Takes what the engine has said. Called by the addon when there is something. */
function drain() {
  tell(); // what a listener that makes the event loop turn has interrupted
  do {
    drained = engine.drain(completions);
    count = completions[0];
    told = 0;
    toldText = 0;
    tell();
  } while (count === COMPLETIONS_PER_DRAIN);
  endQuestions?.();
}

/** Tells what was drained, from where it was told up to: whoever is told may drain in turn. */
function tell() {
  while (told < count) {
    const at = 1 + told++ * COMPLETION.NEXT;
    const length = completions[at + COMPLETION.TEXT];
    const start = toldText;
    toldText += length;
    const string = length === 0 ? '' : drained.slice(start, toldText);
    dispatch(
      completions[at + COMPLETION.CALL],
      completions[at + COMPLETION.OUTCOME],
      completions[at + COMPLETION.NUMBER],
      string,
    );
  }
}

/** Calls the function with the listener of each call that is under way. */
function forEachListener(visit) {
  for (const listener of [...listeners]) if (listener !== undefined) visit(listener);
}

function dispatch(number, outcome, value, string) {
  if (outcome >= OUTCOME.TO_POOL) {
    hearQuestion(number, outcome, value, string);
    return;
  }
  if (outcome === OUTCOME.LOST || outcome === OUTCOME.ENDED) {
    const lease = leases.get(number);
    freeLease(number);
    if (outcome === OUTCOME.LOST) lease?.lost(Number(string), value);
    else lease?.ended();
    return;
  }
  if (outcome === OUTCOME.DROPPED) {
    leases.get(number)?.dropped();
    return;
  }
  if (outcome === OUTCOME.LOGGED_IN) {
    servers.get(number)?.learn(value, string);
    return;
  }
  listeners[number].hear(outcome, value, string);
  if (!AHEAD.has(outcome)) unlisten(number);
}

module.exports = {
  OPERATION,
  OUTCOME,
  VOTE,
  STALE,
  open,
  call,
  callAll,
  inspect,
  scan,
  cancel,
  answer,
  answerPool,
  servePools,
  advance,
  followServers,
  forgetServers,
  abandon,
  forEachListener,
  watch,
  letExpire,
  guard,
  until,
  beginLease,
  endLease,
  enter,
  leave,
  now: native.now,
};

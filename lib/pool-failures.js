'use strict';

// What went wrong in a pool, told without its own words: the message of a client's error can quote
// what was sent, or a URL with a password.

/** The codes with which Redis and Valkey begin their errors. */
const SERVER_CODES = new Set([
  'ASK',
  'BUSY',
  'CLUSTERDOWN',
  'CROSSSLOT',
  'DENIED',
  'ERR',
  'EXECABORT',
  'IOERR',
  'LOADING',
  'MASTERDOWN',
  'MISCONF',
  'MOVED',
  'NOAUTH',
  'NOGOODSLAVE',
  'NOPERM',
  'NOREPLICAS',
  'NOSCRIPT',
  'OOM',
  'READONLY',
  'TRYAGAIN',
  'UNKILLABLE',
  'WRONGPASS',
  'WRONGTYPE',
]);

/** What some codes mean for whoever has made the pool. */
const MEANINGS = new Map([
  ['READONLY', 'the server is a replica of a master: give a client of its master'],
  ['MOVED', 'the server is one of a cluster: give a client of the cluster'],
  ['CROSSSLOT', 'the names are in different slots of a cluster'],
]);

/** Errors that clients give no code, and that could not be told from others by their class. */
const KNOWN = new Map([
  ['Connection is closed.', ['ECLOSED', 'the client is closed']],
  [
    "Stream isn't writeable and enableOfflineQueue options is false",
    ['ENOTCONN', 'the client is not connected'],
  ],
  ['Command timed out', ['ETIMEDOUT', "the client's own timeout"]],
  ['Operation timed out', ['ETIMEDOUT', "the client's own timeout"]],
]);

/** How servers say, without a code, that a rule forbids a command within a script. */
const FORBIDDEN = ["The user executing the script can't ", 'ACL failure in script: '];

const CODE = /^[A-Z][A-Z0-9_]{1,31}$/;
const NAME = /^[A-Za-z]\w{0,39}$/;
const UNKNOWN = Object.freeze(['EPOOL', 'an error']);

/** A pool has not what it takes. Its message is ours. */
class Lack extends Error {}

/**
 * @param {string} method of the pool or its connection
 * @param {unknown} error
 * @returns {{ code: string, message: string }} the message ends with a number for `thrown`
 */
function failureOf(method, error) {
  if (error instanceof Lack) return { code: 'ENOTSUP', message: error.message };
  const [code, what] = describe(error);
  return { code, message: `${method}() of the pool failed: ${what}\t${keep(error)}` };
}

// What pools threw themselves stays on this side, for the `thrown` of the errors that tell of it. So many
// are kept, the newest of the process: only those of calls that end now are looked for.
const KEPT = 1024;
const kept = new Array(KEPT);
let count = 0;

function keep(error) {
  kept[count % KEPT] = error;
  return count++;
}

/** @param {number} number */
function thrown(number) {
  return count - number <= KEPT ? kept[number % KEPT] : undefined;
}

/** There is no pool left that could have thrown one. */
function forgetThrown() {
  kept.fill(undefined);
}

/** @param {string} method whose answer is none */
function nonsense(method) {
  return { code: 'EPROTO', message: `the answer of ${method}() makes no sense` };
}

/** Has the server itself refused the command? */
function isRefusal(code) {
  return SERVER_CODES.has(code);
}

function describe(error) {
  try {
    return read(error);
  } catch {
    return UNKNOWN; // a getter that throws
  }
}

function read(error) {
  if (typeof error !== 'object' || error === null) return UNKNOWN;
  const { code, message, name } = error;
  const server = serverCode(typeof message === 'string' ? message : '');
  if (server !== undefined) {
    const meaning = MEANINGS.get(server);
    return [server, meaning === undefined ? server : `${server}, ${meaning}`];
  }
  if (KNOWN.has(message)) return KNOWN.get(message);
  if (typeof code === 'string' && CODE.test(code)) return [code, code];
  const className = name === 'Error' ? error.constructor?.name : name;
  const isName = typeof className === 'string' && NAME.test(className);
  return ['EPOOL', isName ? className : UNKNOWN[1]];
}

function serverCode(message) {
  const shown = message.slice(0, 1024);
  if (FORBIDDEN.some((words) => shown.includes(words))) return 'NOPERM';
  // Redis before 7.2 hides the code of a command within a script behind ": -".
  const hidden = /^ERR Error running script .*?: -([A-Z]+) /s.exec(shown)?.[1];
  const code = hidden ?? /^([A-Z]+)(?:[ :]|$)/.exec(shown)?.[1] ?? glideCode(shown);
  return SERVER_CODES.has(code) ? code : undefined;
}

/** Valkey GLIDE writes some codes its own way (`Moved`, `ReadOnly`), and a text in front of all of them. */
function glideCode(message) {
  const name = /^An error was signalled by the server(?:: | - )-? ?([A-Za-z]+)\b/.exec(
    message,
  )?.[1];
  return name?.toUpperCase();
}

module.exports = { Lack, failureOf, forgetThrown, isRefusal, nonsense, thrown };

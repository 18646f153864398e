'use strict';

// The numbers of all that crosses, as the addon has them: src/binding/crossing.rs. Here stand the names
// that are used, so that a binary of another version is found out when it is loaded.

const native = require('./addon.js');

const NAMES = {
  OPERATION: `LOCK TRY_LOCK UNLOCK EXTEND ADOPT VALID WATCH LET_EXPIRE GUARD CANCEL ANSWER POOL_ANSWER
    HEALTH READY INSPECT SCAN CLOSE ADVANCE`,
  OUTCOME: `HELD DONE FAILED TAKEN NOT_EXTENDED EXPIRED CANCELLED CLOSED HEALTH INSPECTED PAGE
    ASK_DELAY ASK_VALUE REPORT LOST ENDED DROPPED LOGGED_IN
    TO_POOL KEY FENCE_KEY READERS_KEY SIGN_KEY
    ASK_ACQUIRE ASK_ACQUIRE_FENCED ASK_ACQUIRE_READ ASK_ACQUIRE_WRITE ASK_ACQUIRE_WRITE_FENCED
    ASK_RELEASE ASK_RELEASE_READ ASK_RELEASE_WRITE ASK_EXTEND ASK_RECREATE ASK_EXTEND_READ ASK_RECREATE_READ ASK_SHORTEN
    ASK_OWNER ASK_OWNER_READ ASK_HEALTH ASK_INSPECT ASK_SCAN`,
  VOTE: 'GRANTED TAKEN ABSENT FOUND ABOVE UP_TO READERS PAGE FAILED UNSENT',
  LOSS: 'EXPIRED TAKEN DELETED MAX_HOLD MAX_STALL CLOSED',
  FLAG: 'FAIL_FAST SHUFFLE RECREATE_ON_EXTEND ASK_VALUE ASK_DELAY RANDOM_DELAY FENCING READ WRITE',
  HEADER: 'LENGTH OPERATION CALL CLIENT OPERANDS',
  OPERAND: `EXPIRY TRIES WAIT DELAY DRIFT_FACTOR TIMEOUT_FACTOR FLAGS INTERVAL MAX_HOLD MAX_STALL UNTIL
    QUARANTINE PERMITS VALUE KEYS`,
  COMPLETION: 'CALL OUTCOME NUMBER TEXT NEXT',
  FIRST: 'LOOP_CLIENT',
};

const sets = native.crossing?.() ?? {};

/** `AskValue` of the addon is `ASK_VALUE` here. */
function readSet(set, names) {
  const entries = Object.entries(sets[set] ?? {});
  const numbers = new Map(
    entries.map(([name, number]) => [name.replace(/\B[A-Z]/g, '_$&').toUpperCase(), number]),
  );
  const missing = names.find((name) => !numbers.has(name));
  if (missing !== undefined) {
    throw new Error(`redsync: the binary is of another version: it has no ${set}.${missing}`);
  }
  return Object.freeze(Object.fromEntries(numbers));
}

for (const [set, names] of Object.entries(NAMES)) exports[set] = readSet(set, names.match(/\w+/g));

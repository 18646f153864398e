'use strict';

/** What an ownership value tells behind its random part: `RANDOM#t=TOKEN`. */
const TOKEN = /^[^#]*#t=(\d{1,16})(?:#|$)/;

/** What it may take of a value, in bytes. */
const LENGTH = '#t='.length + 16;

/**
 * The fencing token that an ownership value carries.
 *
 * @param {string} value
 * @returns {number | undefined} from 1 to Number.MAX_SAFE_INTEGER
 */
function tokenOf(value) {
  const token = Number(TOKEN.exec(value)?.[1]);
  return token > 0 && Number.isSafeInteger(token) ? token : undefined;
}

module.exports = { LENGTH, tokenOf };

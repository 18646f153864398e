'use strict';

/** What an ownership value tells behind its random part: `RANDOM#t=TOKEN`. */
const TOKEN = /^[^#]*#t=(\d{1,16})(?:#|$)/;

/**
 * The fencing token that an ownership value carries.
 *
 * @param {string} value
 * @returns {number | undefined}
 */
function tokenOf(value) {
  const digits = TOKEN.exec(value)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

module.exports = { tokenOf };

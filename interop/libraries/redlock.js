'use strict';

const { default: Redlock, Lock } = require('redlock');

const { clientsOf } = require('../addresses.js');

/** Any class with the API of node-redlock 5. */
function connectWith({ Redlock, Lock }, clients) {
  const redlock = new Redlock(clients, { retryDelay: 12, retryJitter: 8 });
  const known = ({ name, value, expiry = 8000 }) =>
    new Lock(redlock, [name], value, [], Date.now() + expiry);
  return {
    async lock({ name, expiry = 8000, tries = 11 }) {
      return (await redlock.acquire([name], expiry, { retryCount: tries - 1 })).value;
    },
    async unlock(command) {
      await redlock.release(known(command), { retryCount: 0 });
      return true;
    },
    async extend(command) {
      await redlock.extend(known(command), command.expiry, { retryCount: 0 });
      return true;
    },
    close: () => redlock.quit(),
  };
}

/** node-redlock 5. */
function connect(addresses) {
  return connectWith({ Redlock, Lock }, clientsOf(addresses));
}

module.exports = { connect, connectWith };

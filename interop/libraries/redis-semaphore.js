'use strict';

const { Mutex, RedlockMutex } = require('redis-semaphore');

const { clientsOf } = require('../addresses.js');

/** What its mutexes put before every name to make the key. */
const PREFIX = 'mutex:';

/** redis-semaphore, with names that are keys: they begin with its prefix. */
function connect(addresses) {
  const clients = clientsOf(addresses);
  const newMutex = ({ name, value, expiry = 8000, tries = 10 }) => {
    if (!name.startsWith(PREFIX)) throw new Error(`${name} is no key of redis-semaphore`);
    const known = value === undefined ? {} : { identifier: value, acquiredExternally: true };
    const options = {
      lockTimeout: expiry,
      acquireTimeout: 60_000,
      acquireAttemptsLimit: tries,
      retryInterval: 10,
      refreshInterval: 0,
      ...known,
    };
    const key = name.slice(PREFIX.length);
    return clients.length === 1
      ? new Mutex(clients[0], key, options)
      : new RedlockMutex(clients, key, options);
  };
  return {
    async lock(command) {
      const mutex = newMutex(command);
      await mutex.acquire();
      return mutex.identifier;
    },
    // Its release tells nothing. To acquire what is held by this value is to extend it.
    async unlock(command) {
      const mutex = newMutex(command);
      const isHeld = await mutex.tryAcquire();
      await mutex.release();
      return isHeld;
    },
    extend: (command) => newMutex(command).tryAcquire(),
    close: () => Promise.all(clients.map((client) => client.quit())),
  };
}

module.exports = { connect };

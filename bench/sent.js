'use strict';

// What each library sends to a server. What its scripts call there is counted by the server, too, and is not meant.

const SENT = {
  redsync: ['set', 'eval', 'evalsha', 'pttl', 'hello', 'client|tracking'],
  'redsync-over-ioredis': ['set', 'eval', 'evalsha'],
  redlock: ['eval', 'evalsha'],
  'redis-semaphore': ['set', 'eval', 'evalsha'],
  'redlock-universal': ['set', 'eval', 'evalsha'],
  rueidislock: ['eval', 'evalsha'],
  'rueidislock-one-key': ['eval', 'evalsha'],
};

/** How many commands of a library the servers have seen since their start. */
async function countCommands(servers, library) {
  const counts = await Promise.all(
    servers.map(async (server) => {
      const info = await server.command('INFO', 'commandstats');
      const lines = [...info.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)];
      return lines
        .filter(([, name]) => SENT[library].includes(name))
        .map(([, , calls]) => Number(calls));
    }),
  );
  return counts.flat().reduce((total, calls) => total + calls, 0);
}

module.exports = { countCommands };

'use strict';

// Players arrive at three game servers and are paired as they come. Who waits for another player is
// written in a place that the servers share and that knows no transactions: a file. Reading it,
// deciding and writing it back is one step for whoever holds the lock.

const fs = require('node:fs/promises');
const os = require('node:os');
const path = require('node:path');

const { Redsync } = require('../index.js');
const { findNodes } = require('./nodes.js');

const PLAYERS = 12;

async function arrive(redsync, file, player) {
  await redsync.using('lobby', async (signal) => {
    const lobby = JSON.parse(await fs.readFile(file, { encoding: 'utf8', signal }));
    if (lobby.waiting === null) {
      lobby.waiting = player;
    } else {
      lobby.games.push([lobby.waiting, player]);
      lobby.waiting = null;
    }
    // Should the lock be lost by now, somebody else may have changed what was read.
    signal.throwIfAborted();
    await fs.writeFile(file, JSON.stringify(lobby));
  });
}

async function play(nodes, directory) {
  const file = path.join(directory, 'lobby.json');
  await fs.writeFile(file, JSON.stringify({ waiting: null, games: [] }));
  const options = { keyPrefix: `example:${process.pid}:`, tries: Infinity, retryDelay: 20 };
  const servers = [1, 2, 3].map(() => new Redsync(nodes.urls, options));
  const players = Array.from({ length: PLAYERS }, (_, i) => `player ${i + 1}`);
  await Promise.all(players.map((player, i) => arrive(servers[i % 3], file, player)));
  await Promise.all(servers.map((redsync) => redsync.close()));

  const { waiting, games } = JSON.parse(await fs.readFile(file, 'utf8'));
  for (const [one, other] of games) console.log(`${one} plays ${other}`);
  const matched = new Set(games.flat()).size;
  console.log(`${games.length} games, ${matched} players matched, ${waiting ?? 'nobody'} waits`);
}

async function main() {
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'matchmaking-'));
  const nodes = await findNodes();
  try {
    await play(nodes, directory);
  } finally {
    await nodes.stop();
    await fs.rm(directory, { recursive: true });
  }
}

main();

'use strict';

// A row that refuses late writers: it has the token of its last holder beside its data, and accepts nothing
// with a smaller one. PostgreSQL compares and writes in one statement, so that nobody gets in between.

const { Client } = require('pg');

const { startPostgres } = require('../tools/postgres.js');
const { LateError, play } = require('./late-writer.js');

// A holder leaves its token already when it reads. If it did so only when it writes, an earlier holder could
// still write between the two, and what it wrote would be lost.
const READ = `
  UPDATE accounts SET token = $1 WHERE id = 7 AND token <= $1
  RETURNING balance`;

// "At most", not "less than": it is the holder's own token by now. No two holders have the same.
const WRITE = `
  UPDATE accounts SET token = $1, balance = $2 WHERE id = 7 AND token <= $1
  RETURNING balance`;

async function ask(client, statement, values) {
  const { rows } = await client.query(statement, values);
  if (rows.length === 0) throw new LateError();
  return rows[0].balance;
}

async function connect({ url, schema }) {
  const client = new Client(url);
  await client.connect();
  await client.query(`SET search_path TO ${schema}`);
  return client;
}

async function deposit(redsync, place, halt) {
  const client = await connect(JSON.parse(place));
  const options = { expiry: 1000, tries: Infinity, fencing: true };
  try {
    return await redsync.using('account:7', options, async (signal, { token }) => {
      const balance = await ask(client, READ, [token]);
      signal.throwIfAborted(); // the last look at the lock: what comes later only the store can see
      await halt(`reads ${balance}`);
      return ask(client, WRITE, [token, balance + 10]);
    });
  } finally {
    await client.end();
  }
}

async function openStore() {
  const server = process.env.POSTGRES_URL ? undefined : await startPostgres();
  const schema = `redsync_example_${process.pid}`;
  const url = server?.url ?? process.env.POSTGRES_URL;
  const client = await connect({ url, schema });
  await client.query(`CREATE SCHEMA ${schema}`);
  await client.query(
    'CREATE TABLE accounts (id int PRIMARY KEY, balance int, token bigint NOT NULL)',
  );
  await client.query('INSERT INTO accounts VALUES (7, 100, 0)');
  const remove = async () => {
    await client.query(`DROP SCHEMA ${schema} CASCADE`);
    await client.end();
    await server?.stop();
  };
  return { place: JSON.stringify({ url, schema }), remove };
}

play(openStore, deposit);

'use strict';

// One process of `npm run bench:contended`: so many waiters, each of which locks one key, holds it,
// unlocks it and thinks, over and over. Prints what happened as a line of JSON.
//
//   LIBRARY KEY WAITERS HOLD THINK DURATION URL…

const { setTimeout: delay } = require('node:timers/promises');

const [name, key, ...rest] = process.argv.slice(2);
const [waiters, hold, think, duration] = rest.slice(0, 4).map(Number);
const library = require(`./libraries/${name}.js`);

/** Microseconds on the clock that all processes of the machine share. */
const now = () => Number(process.hrtime.bigint() / 1000n);

async function main() {
  await library.connect(rest.slice(4));
  process.stdout.write('ready\n');
  await new Promise((resolve) => process.stdin.once('data', resolve));

  const end = now() + duration * 1000;
  const turns = []; // waiter, when it had asked, when acquired, when it began to release
  const failures = [];
  const cycle = async (waiter) => {
    const asked = now();
    let turn;
    await library
      .cycle(key, async () => {
        turn = [waiter, asked, now(), 0];
        turns.push(turn);
        await delay(hold);
        turn[3] = now();
      })
      .catch((error) => failures.push(error.message));
  };
  await Promise.all(
    Array.from({ length: waiters }, async (_, waiter) => {
      while (now() < end) {
        await cycle(waiter);
        await delay(think);
      }
    }),
  );
  process.stdout.write(`${JSON.stringify({ turns, failures })}\n`);
  process.stdin.destroy();
  await library.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

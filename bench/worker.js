'use strict';

// The process of one library: does what the lines on its standard input say, one at a time, and
// answers each with a line of JSON. rust/src/main.rs speaks the same. It ends with its input.
//
//   connect URL…        hold KEY        release KEY        run IN_FLIGHT MILLISECONDS

const readline = require('node:readline');

const { measure } = require('./load.js');

const library = require(`./libraries/${process.argv[2]}.js`);

let held;

const COMMANDS = {
  connect: (...urls) => library.connect(urls),

  /** Answers while the lock is held; `release` lets the cycle go on. */
  hold: (key) =>
    new Promise((resolve, reject) => {
      held = {};
      held.cycle = library.cycle(
        key,
        () =>
          new Promise((release) => {
            held.release = release;
            resolve();
          }),
      );
      held.cycle.catch(reject);
    }),

  release() {
    held.release();
    return held.cycle;
  },

  run: (inFlight, duration) =>
    measure({
      cycle: library.cycle,
      inFlight: Number(inFlight),
      duration: Number(duration),
    }),
};

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [command, ...args] = line.split(' ');
    const answer = await COMMANDS[command](...args);
    process.stdout.write(`${JSON.stringify(answer ?? {})}\n`);
  }
  await library.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

'use strict';

// `npm run hostile`: hostile arguments to every function there is.

const { readNumbers } = require('../tools/command-line.js');
const { build, install, main } = require('../tools/setup.js');

const DEFAULTS = { calls: 1_000_000, seed: undefined };
const HELP = `Usage: npm run hostile -- [options]

Calls every function with wrong types, getters that throw or change, proxies, huge strings, halves of
surrogate pairs and polluted prototypes. Ends with the smallest example of what it finds.

  --calls N  how many (default ${DEFAULTS.calls})
  --seed N   that of an earlier run
  --help     prints this
`;

main(async () => {
  const { help, calls, seed } = readNumbers(process.argv.slice(2), DEFAULTS);
  if (help) return console.log(HELP);
  install();
  build();
  const { attack } = require('../__test__/helpers/hostile.js');
  const start = performance.now();
  let shown = 0;
  const { accepted, refused } = await attack(calls, {
    seed,
    onProgress(made) {
      if (made - shown >= calls / 20) console.log(`${(shown = made)} calls`);
    },
  });
  const seconds = (performance.now() - start) / 1000;
  console.log(
    `${accepted + refused} calls in ${seconds.toFixed(0)} s: ` +
      `${refused} refused, ${accepted} accepted, none crashed, hung or converted`,
  );
});

// Bundles `app.js` into `FILE`: `node bundle.mjs BUNDLER HOW FILE`, in a folder with that bundler and the package.

import path from 'node:path';

const [bundler, how, file] = process.argv.slice(2);

const BUNDLERS = {
  async esbuild() {
    const { build } = await import('esbuild');
    await build({
      entryPoints: ['app.js'],
      bundle: true,
      platform: 'node',
      outfile: file,
      external: { external: ['redsync'], 'without the binary': ['*.node', '*.wasm'] }[how],
      loader: {
        'with a copy of the binary': { '.node': 'copy' },
        'with a path for the binary': { '.node': 'file' },
      }[how],
      logLevel: 'error',
    });
  },

  async webpack() {
    const { default: webpack } = await import('webpack');
    const isBinary = ({ request }, done) =>
      /\.(node|wasm)$/.test(request) ? done(null, `commonjs ${request}`) : done();
    const stats = await new Promise((resolve, reject) => {
      const options = {
        mode: 'production',
        target: 'node',
        optimization: { minimize: false },
        context: process.cwd(),
        entry: './app.js',
        output: { path: path.dirname(file), filename: path.basename(file) },
        externals: {
          external: { redsync: 'commonjs redsync' },
          'without the binary': isBinary,
        }[how],
      };
      webpack(options, (error, stats) => (error ? reject(error) : resolve(stats)));
    });
    if (stats.hasErrors()) throw new Error(stats.toString({ all: false, errors: true }));
  },

  async rolldown() {
    const { rolldown } = await import('rolldown');
    const external = { external: ['redsync'], 'without the binary': /\.(node|wasm)$/ }[how];
    const bundle = await rolldown({ input: 'app.js', platform: 'node', external });
    await bundle.write({ file, format: 'cjs' });
  },
};

await BUNDLERS[bundler]();

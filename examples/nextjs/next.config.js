// The package has a binary, which no bundler can pack: Next.js leaves it in node_modules.
export default { serverExternalPackages: ['redsync'] };

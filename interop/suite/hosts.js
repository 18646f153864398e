'use strict';

// Loaded before anything else: the hosts that node-redlock's tests connect to are servers on free
// ports of this machine.

const dns = require('node:dns');
const net = require('node:net');

const DEFAULT_PORT = 6379;
const ports = JSON.parse(process.env.SUITE_PORTS);
const hosts = Object.keys(ports);

// A client of a cluster looks its host up and connects to the address: each has one of its own.
const addressOf = (host) => `127.255.0.${hosts.indexOf(host) + 1}`;
const portOf = new Map(hosts.map((host) => [addressOf(host), ports[host]]));

const { lookup } = dns;
dns.lookup = (host, ...rest) => lookup(host in ports ? addressOf(host) : host, ...rest);

const { createConnection } = net;
net.createConnection = (options, ...rest) => {
  const { host, port = DEFAULT_PORT } = options;
  const mapped = port === DEFAULT_PORT ? (ports[host] ?? portOf.get(host)) : undefined;
  if (mapped === undefined) return createConnection(options, ...rest);
  return createConnection({ ...options, host: '127.0.0.1', port: mapped }, ...rest);
};

'use strict';

// The packets between the clients and a node, of which the system's firewall (nftables) loses some. Only for a soak that has a
// network of its own.

const { execFile } = require('node:child_process');
const { promisify } = require('node:util');

const { systemProgram } = require('./apart.js');

const NFT = systemProgram('nft');
const TABLE = 'inet soak';

async function nft(...words) {
  const { stdout } = await promisify(execFile)(NFT, words);
  return stdout;
}

class Wire {
  /** How many packets did not arrive. */
  stopped = 0;

  #chain;
  #port;

  /** @param {number} port where the clients find the node */
  constructor(port) {
    this.#port = port;
    this.#chain = `port_${port}`;
  }

  async lay() {
    const [chain, input] = [`${TABLE} ${this.#chain}`, `${TABLE} input`];
    await nft(
      [
        `add table ${TABLE}`,
        `add chain ${input} { type filter hook input priority 0; }`,
        `add chain ${chain}`,
        `add rule ${input} tcp dport ${this.#port} jump ${this.#chain}`,
        `add rule ${input} tcp sport ${this.#port} jump ${this.#chain}`,
      ].join('; '),
    );
  }

  /** A share of the packets is lost, in both directions; TCP sends them again, later and later. */
  lose(share) {
    return this.#stop(`numgen random mod 100 < ${Math.round(share * 100)}`);
  }

  /** No packet arrives. */
  loseAll() {
    return this.#stop('');
  }

  /** No packet to the node arrives. */
  loseThere() {
    return this.#stop(`tcp dport ${this.#port}`);
  }

  /** No packet from the node arrives. */
  loseBack() {
    return this.#stop(`tcp sport ${this.#port}`);
  }

  /** A firewall answers each packet to the node. */
  reject() {
    return this.#stop(`tcp dport ${this.#port}`, 'reject with tcp reset');
  }

  async heal() {
    const chain = `${TABLE} ${this.#chain}`;
    const [, packets] = /counter packets (\d+)/.exec(await nft(`list chain ${chain}`));
    this.stopped += Number(packets);
    await nft(`flush chain ${chain}`);
  }

  async #stop(which, how = 'drop') {
    await nft(`add rule ${TABLE} ${this.#chain} ${which} counter ${how}`);
  }
}

/** Lays the wire to a node that clients find at this port. */
async function layWire(port) {
  const wire = new Wire(port);
  await wire.lay();
  return wire;
}

module.exports = { layWire };

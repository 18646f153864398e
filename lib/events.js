'use strict';

const { channel, tracingChannel } = require('node:diagnostics_channel');

const { serverOf } = require('./addresses.js');
const { now } = require('./calls.js');
const { linesOf, votesOf } = require('./votes.js');

// No message ever has an ownership value in it: whoever knows it can release the lock.

/**
 * Where calls are told of: on one channel when they have ended, on those of a TracingChannel on their way, too.
 *
 * @typedef {object} CallChannels
 * @property {import('node:diagnostics_channel').Channel} ended
 * @property {import('node:diagnostics_channel').TracingChannel} traced
 */

/** @returns {Readonly<CallChannels>} */
function channelsOf(call) {
  return Object.freeze({
    ended: channel(`redsync:${call}`),
    traced: tracingChannel(`redsync:${call}`),
  });
}

const LOCK = channelsOf('lock');
const UNLOCK = channelsOf('unlock');
const EXTEND = channelsOf('extend');
const LOST = channel('redsync:lost');
const NODE = channel('redsync:node');

/** What is told of a call from its beginning on; its end adds to it. */
function newTrace({ names, client }) {
  const server = client.nodes.length === 1 ? serverOf(client.nodes[0].endpoint) : undefined;
  return {
    redsync: client.redsync,
    name: names[0],
    names,
    serverAddress: server?.address,
    serverPort: server?.port,
  };
}

/** A call that somebody listens for. */
class ToldCall {
  #event;
  #resource;
  #trace;
  #heldSince;
  #began = now();

  /**
   * To be made when it begins.
   *
   * @param {CallChannels} event
   * @param {import('./resource.js').Resource} resource
   * @param {object} [trace] if it is traced
   * @param {number} [heldSince] of an unlock(): since when what it ends was held, on the clock of the locks
   */
  constructor(event, resource, trace, heldSince) {
    this.#event = event;
    this.#resource = resource;
    this.#trace = trace;
    this.#heldSince = heldSince;
  }

  /**
   * It has ended.
   *
   * @param {import('./client.js').Outcome} [outcome] none if it ended without the engine's word
   * @param {unknown} [error]
   */
  end(outcome, error) {
    const { ended } = this.#event;
    const { names } = this.#resource;
    const end = this.#endOf(outcome, error);
    if (this.#trace !== undefined) Object.assign(this.#trace, end);
    if (ended.hasSubscribers) ended.publish({ name: names[0], names, ...end, error });
  }

  #endOf(outcome, error) {
    const { client } = this.#resource;
    const lines = outcome && linesOf(outcome);
    const end = {
      duration: now() - this.#began,
      votes: lines === undefined ? undefined : votesOf(lines, client.nodes.length),
    };
    if (this.#event === LOCK) return { ...end, ...acquisition(outcome, error) };
    if (this.#event === EXTEND) return end;
    const heldFor = this.#heldSince === undefined ? undefined : client.now() - this.#heldSince;
    return { ...end, heldFor };
  }
}

function acquisition(outcome, error) {
  if (outcome === undefined) return { acquired: false, attempts: undefined, waits: undefined };
  const { attempts = 1, waits = 0 } = outcome.report ?? {};
  return { acquired: error === undefined && outcome.isHeld, attempts, waits };
}

module.exports = { LOCK, UNLOCK, EXTEND, LOST, NODE, ToldCall, newTrace };

'use strict';

const { channel } = require('node:diagnostics_channel');

const { linesOf, votesOf } = require('./votes.js');

// No message ever has an ownership value in it: whoever knows it can release the lock.

const LOCK = channel('redsync:lock');
const UNLOCK = channel('redsync:unlock');
const EXTEND = channel('redsync:extend');
const LOST = channel('redsync:lost');
const NODE = channel('redsync:node');

/**
 * Tells of a call that has ended. To be called where somebody listens only.
 *
 * @param {import('node:diagnostics_channel').Channel} event LOCK, UNLOCK or EXTEND
 * @param {import('./resource.js').Resource} resource
 * @param {number} duration
 * @param {import('./client.js').Outcome} [outcome] none if the call ended without the engine's word
 * @param {unknown} [error]
 */
function publishCall(event, { names, client }, duration, outcome, error) {
  const lines = outcome && linesOf(outcome);
  const message = {
    name: names[0],
    names,
    duration,
    votes: lines === undefined ? undefined : votesOf(lines, client.nodes.length),
    error,
  };
  event.publish(event === LOCK ? { ...message, ...acquisition(outcome, error) } : message);
}

function acquisition(outcome, error) {
  if (outcome === undefined) return { acquired: false, attempts: undefined, waits: undefined };
  const { attempts = 1, waits = 0 } = outcome.report ?? {};
  return { acquired: error === undefined && outcome.isHeld, attempts, waits };
}

module.exports = { LOCK, UNLOCK, EXTEND, LOST, NODE, publishCall };

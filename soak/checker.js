'use strict';

// Reads the journals of all processes, those that were killed among them.

/**
 * The spans of time in which somebody believed to hold a lock: from each time that it looked until
 * the validity that it saw was over, or it let go.
 *
 * @param {{ at: number, event: string, number: string, name: string, left: number }[]} entries
 */
function holds(entries) {
  const all = new Map();
  for (const { at, event, number, name, left } of entries) {
    if (event === 'held' || event === 'still') {
      const hold = all.get(number) ?? { name, from: at, to: at };
      hold.to = Math.max(hold.to, at + left);
      all.set(number, hold);
    } else if (event === 'over') {
      const hold = all.get(number);
      if (hold) hold.to = Math.min(hold.to, at);
    }
  }
  return [...all.values()];
}

/** Pairs of holds of one name of which the second began before the first was over. */
function overlaps(all) {
  const found = [];
  const latest = new Map();
  for (const hold of [...all].sort((a, b) => a.from - b.from)) {
    const before = latest.get(hold.name);
    if (before && hold.from < before.to) found.push([before, hold]);
    if (!before || hold.to > before.to) latest.set(hold.name, hold);
  }
  return found;
}

/** The calls of a process that have not settled, and the longest time that one took. */
function calls(entries) {
  const open = new Map();
  let longest = 0;
  let made = 0;
  for (const { at, event, number, name } of entries) {
    if (event === 'began') {
      open.set(number, { name, at });
      made++;
    } else if (event === 'ended') {
      longest = Math.max(longest, at - open.get(number).at);
      open.delete(number);
    }
  }
  return { made, stuck: [...open.values()], longest };
}

/** What became of the writes with a fencing token; the wrong ones were refused to who held the lock. */
function writes(entries) {
  const count = (wanted) => entries.filter(({ event }) => event === wanted).length;
  const wrong = entries.filter(({ event }) => event === 'wrong');
  return { accepted: count('accepted'), refused: count('refused'), wrong };
}

module.exports = { calls, holds, overlaps, writes };

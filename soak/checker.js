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
      const hold = all.get(number) ?? { number, name, from: at, to: at };
      hold.to = Math.max(hold.to, at + left);
      all.set(number, hold);
    } else if (event === 'over') {
      const hold = all.get(number);
      if (hold) hold.to = Math.min(hold.to, at);
    }
  }
  return [...all.values()];
}

/** Is it the hold of a reader, beside whom others may read? */
function reads({ number }) {
  return number.endsWith('/read');
}

/**
 * Holds that began while too many others were not over yet: any, or with a limit so many. Readers are in each other's way
 * at no time, and in everybody else's.
 *
 * @param {object} limits by name, where it is not one
 * @returns those who were there, and last who was too many
 */
function crowds(all, limits = {}) {
  const found = [];
  const inside = new Map();
  for (const hold of [...all].sort((a, b) => a.from - b.from)) {
    const before = (inside.get(hold.name) ?? []).filter(({ to }) => hold.from < to);
    const limit = limits[hold.name] ?? 1;
    const others = reads(hold) ? before.filter((other) => !reads(other)) : before;
    if (others.length >= limit) found.push([...others, hold]);
    inside.set(hold.name, [...before, hold]);
  }
  return found;
}

/** How many were inside at once, at most. */
function most(all, name) {
  let [count, inside] = [0, []];
  for (const hold of all.filter((each) => each.name === name).sort((a, b) => a.from - b.from)) {
    inside = [...inside.filter(({ to }) => hold.from < to), hold];
    count = Math.max(count, inside.length);
  }
  return count;
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

/** How often nodes have failed in each way, as far as calls have failed for it: the code, and the number. */
function errors(entries) {
  const counts = {};
  for (const { event, number: code } of entries) {
    if (event === 'error') counts[code] = (counts[code] ?? 0) + 1;
  }
  return Object.entries(counts).sort(([, a], [, b]) => b - a);
}

module.exports = { calls, crowds, errors, holds, most, writes };

'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');

/**
 * The processes of the machine, but for those that have ended. Empty where nothing tells of them.
 *
 * @typedef {{ pid: number, parent: number, group: number, birth: string }} Process birth: no two that have the
 *   same pid, one after the other, share it
 * @returns {Process[]}
 */
function processes() {
  try {
    return process.platform === 'linux' ? fromProc() : fromPs();
  } catch {
    return [];
  }
}

/** @returns {Process[]} */
function fromProc() {
  const pids = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map(fromStat).filter((each) => each !== undefined);
}

function fromStat(pid) {
  let stat;
  try {
    stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined; // it is gone
  }
  // The name before it, in parentheses, may have spaces.
  const [, state, parent, group, ...more] = stat.slice(stat.lastIndexOf(')')).split(' ');
  if (state === 'Z') return undefined;
  return { pid: Number(pid), parent: Number(parent), group: Number(group), birth: more[16] };
}

/** As every other Unix tells of them. */
function fromPs() {
  const text = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,pgid=,state=,lstart='], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const lines = text.matchAll(/^ *(\d+) +(\d+) +(\d+) +(\S+) +(.*?) *$/gm);
  return [...lines]
    .filter(([, , , , state]) => !state.startsWith('Z'))
    .map(([, pid, parent, group, , birth]) => {
      return { pid: Number(pid), parent: Number(parent), group: Number(group), birth };
    });
}

/**
 * Those of `all` that descend from one of `roots`, with the roots that are among them.
 *
 * @param {readonly Process[]} all
 * @param {(each: Process) => boolean} isRoot
 * @returns {Process[]}
 */
function family(all, isRoot) {
  const children = new Map();
  for (const each of all) {
    if (!children.has(each.parent)) children.set(each.parent, []);
    children.get(each.parent).push(each);
  }
  const found = new Set(all.filter(isRoot));
  for (const { pid } of found) for (const child of children.get(pid) ?? []) found.add(child);
  return [...found];
}

module.exports = { processes, fromPs, family };

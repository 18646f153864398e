'use strict';

const NODES = `\
  --node URL        a node; once for each. Without it the nodes are those of
                    the environment variable REDSYNC_NODES, comma separated
  --prefix TEXT     goes before NAME to make the Redis key; without it that of
                    the environment variable REDSYNC_PREFIX does`;

const TIMES = `\
A TIME is a number of milliseconds, or has a unit: 500ms, 5s, 2m, 1h.`;

const HELP = {
  '': `\
Usage: redsync COMMAND [NAME] [options]

Commands:
  run       run a program while holding a lock
  inspect   show node by node who holds a lock
  list      show all names that are locked, and by whom
  top       the same on a terminal, again and again
  unlock    release a lock by its value

  --help, -h      this, or the options of a command: redsync run --help
  --version, -v

A node is a URL: redis://[user:password@]host[:port][/db], rediss:// for TLS,
redis+unix:///path, redis+sentinel://host,host/mymaster, redis+cluster://host,host
`,

  run: `\
Usage: redsync run NAME [options] -- PROGRAM [ARGUMENTS]

Waits for the lock NAME, runs the program while holding it, and releases it.
The lock is kept alive for as long as the program runs. When it is lost the
program and all that it has started get SIGTERM, and SIGKILL if they go on.
The program finds the ownership value in REDSYNC_LOCK.

${NODES}
  --wait TIME       give up after so long; by default it waits for ever
  --no-wait         give up at once if somebody else holds the lock
  --conflict-exit-code N
                    the exit code when it has given up; 1 by default
  --expiry TIME     how long the lock outlives this process if that is killed,
                    or loses its nodes; 8s by default
  --hold-at-least TIME
                    others find the lock taken for so long, also when the
                    program has ended sooner; at most the expiry
  --kill-after TIME when the lock is lost: how long after SIGTERM to send
                    SIGKILL; 5s by default
  --fencing         take the lock with a fencing token: the program finds in
                    REDSYNC_TOKEN a number greater than that of every earlier
                    holder, for what it writes to, to refuse a smaller one
  --permits N       so many may hold the lock at once, and run their program
  --mode MODE       read: beside others who read; write: alone
  --pass-nodes      leave REDSYNC_NODES in the program's environment, with the
                    passwords that it may have; by default it is taken out
  --help, -h

${TIMES}

SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are passed on to the
program and all that it has started, unless they come from the terminal: by
Ctrl-C these have got them already.

Exit codes: that of the program, or
  1      the lock could not be had: somebody else holds it (another code by
         --conflict-exit-code), or too few nodes have answered
  2      wrong usage; nothing was locked or run
  3      the lock was lost while the program ran, which has ended with 0
  126    the program could not be run
  127    the program was not found
  128+N  signal N has ended the program, or the wait for the lock
`,

  inspect: `\
Usage: redsync inspect NAME [options]

Shows node by node who holds the lock NAME, for how much longer, and its key.

${NODES}
  --timeout TIME    how long to wait for a node; 2s by default
  --permits N       of a lock that so many may hold at once: each of its permits
  --json            one JSON object instead of the table
  --help, -h

${TIMES}

Exit codes:
  0   a quorum of nodes has answered
  1   too few have
  2   wrong usage
`,

  list: `\
Usage: redsync list [PATTERN] [options]

Shows the names that are locked now on a quorum of nodes, and by whom. PATTERN
has *, ? and [a-z] as SCAN has them: 'invoice:*', for example.

${NODES}
  --limit N         show at most N names; 1000 by default, 10000 at most
  --timeout TIME    how long to look at most; 10s by default
  --json            one JSON object instead of the table
  --help, -h

${TIMES}

Exit codes:
  0   a quorum of nodes has answered
  1   too few have
  2   wrong usage
`,

  top: `\
Usage: redsync top [PATTERN] [options]

Shows on a terminal what "redsync list" shows, until Ctrl-C ends it; elsewhere
it shows it once.

${NODES}
  --interval TIME   how long to wait before looking again; 2s by default
  --limit N         show at most N names; 1000 by default, 10000 at most
  --timeout TIME    how long to look at most; 10s by default
  --help, -h

${TIMES}

Exit codes:
  0   ended by a signal; or, elsewhere than on a terminal, as "redsync list"
  1   elsewhere than on a terminal: too few nodes have answered
  2   wrong usage
`,

  unlock: `\
Usage: redsync unlock NAME --value VALUE [options]

Releases the lock NAME if it is held with this ownership value.

  --value VALUE     what "redsync inspect" shows, or a program run by
                    "redsync run" finds in REDSYNC_LOCK, which is the default
  --mode MODE       the one in which it was locked, read or write
  --permits N       of a lock that so many may hold at once; not needed where
                    the value says which permit, as in #p=3
${NODES}
  --help, -h

Exit codes:
  0   released
  1   not released: expired, held by somebody else, or too few nodes answered
  2   wrong usage
`,
};

module.exports = { HELP };

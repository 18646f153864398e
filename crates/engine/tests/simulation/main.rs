//! The engine under adversarial schedules: see `docs/correctness.md`.
//!
//! | file | noun |
//! |---|---|
//! | `run` | one schedule, from its seed to its end: start here |
//! | `schedule` | what is decided before it begins: clocks, distances, which faults |
//! | `world` | the nodes and the network between them and the clients |
//! | `node`, `link`, `message` | a store that can crash; the engine's way to it; what travels |
//! | `client`, `script`, `way` | a process, what its tasks do, and with which options |
//! | `witness`, `violation` | who believes to hold what; what must never happen |
//! | `waiter`, `hearing` | who waits for what is free; what the nodes said to whom |
//! | `permit` | under which key a lock of a semaphore is stored |
//! | `holder` | who is told of a lock that the engine keeps alive |
//! | `faults`, `trace` | what went wrong, counted; all that happened, hashed |
//! | `clock`, `chance` | time and luck |
//! | `campaign` | very many schedules |
//! | `teeth`, `mutant` | assumptions broken and mistakes made, which must be found |
//! | `seeds` | schedules that have found something |

#![allow(missing_docs)]

mod campaign;
mod chance;
mod client;
mod clock;
mod faults;
mod hearing;
mod holder;
mod link;
mod message;
mod mutant;
mod node;
mod permit;
mod run;
mod schedule;
mod script;
mod seeds;
mod teeth;
mod trace;
mod violation;
mod waiter;
mod way;
mod witness;
mod world;

use campaign::{Campaign, from_environment};
use schedule::Profile;

/// How many schedules an ordinary test run makes.
const SCHEDULES: u64 = 200_000;

#[test]
fn no_schedule_violates_an_invariant() {
    let count = from_environment("SCHEDULES", SCHEDULES);
    let first = from_environment("FIRST_SEED", 0);
    if let Some(seed) = campaign::seed_from_environment() {
        println!("{:#?}", schedule::Schedule::of(seed, Profile::Sound, false));
        return assert_eq!(run::play(seed, Profile::Sound, true).found, Default::default());
    }
    let campaign = Campaign::of(Profile::Sound, first, count);
    let goes_on = from_environment("TO_THE_END", 0) != 0;
    let report = if goes_on { campaign } else { campaign.stopping_at_first() }.run();
    println!("{report}");
    assert!(report.is_clean(), "{report}");
    assert!(report.acquired > count, "the locks are there to be had: {}", report.acquired);
}

#[test]
fn one_seed_replays_one_run() {
    let mut traces = std::collections::BTreeSet::new();
    for seed in 0..500 {
        let (once, again) = (run::run(seed, Profile::Sound), run::run(seed, Profile::Sound));
        assert_eq!(once.trace, again.trace, "seed {seed}");
        assert_eq!(once.simulated, again.simulated, "seed {seed}");
        traces.insert(once.trace);
    }
    assert_eq!(traces.len(), 500, "and another seed another");
}

#[test]
fn seeds_that_have_found_something_find_it_no_more() {
    for &(seed, why) in seeds::SEEDS {
        let found = run::run(seed, Profile::Sound).found;
        assert!(found.is_empty(), "seed {seed} ({why}): {found:?}");
    }
}

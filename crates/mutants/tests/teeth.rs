//! The simulation of the engine, over an engine with mistakes: each has to be found.

#![allow(missing_docs, dead_code)]

extern crate redsync_mutants as redsync_engine;

#[path = "../../engine/tests/simulation/campaign.rs"]
mod campaign;
#[path = "../../engine/tests/simulation/chance.rs"]
mod chance;
#[path = "../../engine/tests/simulation/client.rs"]
mod client;
#[path = "../../engine/tests/simulation/clock.rs"]
mod clock;
#[path = "../../engine/tests/simulation/faults.rs"]
mod faults;
#[path = "../../engine/tests/simulation/hearing.rs"]
mod hearing;
#[path = "../../engine/tests/simulation/holder.rs"]
mod holder;
#[path = "../../engine/tests/simulation/link.rs"]
mod link;
#[path = "../../engine/tests/simulation/message.rs"]
mod message;
#[path = "../../engine/tests/simulation/mutant.rs"]
mod mutant;
#[path = "../../engine/tests/simulation/node.rs"]
mod node;
#[path = "../../engine/tests/simulation/permit.rs"]
mod permit;
#[path = "../../engine/tests/simulation/run.rs"]
mod run;
#[path = "../../engine/tests/simulation/schedule.rs"]
mod schedule;
#[path = "../../engine/tests/simulation/script.rs"]
mod script;
#[path = "../../engine/tests/simulation/trace.rs"]
mod trace;
#[path = "../../engine/tests/simulation/violation.rs"]
mod violation;
#[path = "../../engine/tests/simulation/waiter.rs"]
mod waiter;
#[path = "../../engine/tests/simulation/way.rs"]
mod way;
#[path = "../../engine/tests/simulation/witness.rs"]
mod witness;
#[path = "../../engine/tests/simulation/world.rs"]
mod world;

use campaign::{Campaign, must_find};
use redsync_engine::MISTAKES;
use schedule::Profile;
use violation::Violation;

/// Shows itself only where a value is used again: who makes new ones finds none of its own on a node.
const NEEDS_ONE_VALUE: &str = "StaleVote";

/// All, or the one that `MISTAKE` names.
#[test]
fn every_mistake_is_found() {
    let only = std::env::var("MISTAKE").ok();
    let is_meant = |name: &str| only.as_deref().is_none_or(|only| only == name);
    assert!(MISTAKES.iter().any(|mistake| is_meant(mistake.name)), "there is no such mistake");
    for mistake in MISTAKES.iter().filter(|mistake| is_meant(mistake.name)) {
        let name = mistake.name;
        let violations: Vec<Violation> = mistake.breaks.iter().map(|it| named(it)).collect();
        let campaign = |first, count| {
            Campaign::of(Profile::Sound, first, count).with(move || {
                redsync_engine::make(name);
                if name == NEEDS_ONE_VALUE {
                    mutant::use_one_value();
                }
            })
        };
        must_find(name, campaign, &violations);
    }
}

fn named(name: &str) -> Violation {
    let mut named = Violation::ALL.iter().filter(|(_, its_name)| *its_name == name);
    named.next().unwrap_or_else(|| panic!("there is no violation {name}")).0
}

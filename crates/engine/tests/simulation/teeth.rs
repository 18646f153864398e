//! A proof that cannot fail proves nothing: who breaks an assumption or the engine has to be found.

use crate::campaign::{Campaign, must_find};
use crate::mutant;
use crate::schedule::Profile;
use crate::violation::Violation;

fn profile(profile: Profile, violations: &[Violation]) {
    let campaign = |first, count| Campaign::of(profile, first, count);
    must_find(&format!("{profile:?}"), campaign, violations);
}

#[test]
fn nodes_that_forget_and_are_back_too_soon_are_found() {
    let found = [Violation::Unprotected, Violation::Exclusion, Violation::TokenOrder];
    profile(Profile::ForgetfulNodes, &found);
}

#[test]
fn clocks_that_drift_too_far_are_found() {
    profile(Profile::WildClocks, &[Violation::Unprotected, Violation::Exclusion]);
}

#[test]
fn nodes_that_fail_over_to_a_replica_that_lags_are_found() {
    let found = [Violation::Unprotected, Violation::Exclusion, Violation::TokenOrder];
    profile(Profile::Failovers, &found);
}

#[test]
fn clocks_that_are_set_by_too_much_are_found() {
    profile(Profile::SetClocks, &[Violation::Unprotected, Violation::Exclusion]);
}

/// Whoever breaks an assumption may get two holders, or a node that has forgotten a release. But no call hangs, nothing is
/// there for ever, and a lock that is free can be had.
#[test]
fn a_broken_assumption_stops_nobody() {
    let never = [
        Violation::Stuck,
        Violation::KeyLeft,
        Violation::TaskLeft,
        Violation::NodesLeaked,
        Violation::Unserved,
        Violation::Forgotten,
        Violation::Livelock,
        Violation::Panicked,
    ];
    for profile in [
        Profile::ForgetfulNodes,
        Profile::WildClocks,
        Profile::SetClocks,
        Profile::Failovers,
        Profile::SplitBrains,
        // Not that of clocks that jump: while they are apart, a fencing token that one node wants another refuses.
    ] {
        let report = Campaign::of(profile, 0, 2000).run();
        assert!(never.iter().all(|violation| report.first(*violation).is_none()), "{report}");
    }
}

#[test]
fn nodes_with_two_lives_are_found() {
    profile(Profile::SplitBrains, &[Violation::Exclusion, Violation::TokenOrder]);
}

#[test]
fn clocks_that_jump_too_far_for_fencing_tokens_are_found() {
    profile(Profile::JumpingClocks, &[Violation::TokenOrder]);
}

#[test]
fn acquisitions_sent_before_the_uptime_is_known_are_found() {
    let violations = [Violation::Exclusion];
    let campaign = |first, count| {
        Campaign::of(Profile::Sound, first, count).with(mutant::ask_before_uptime_is_known)
    };
    must_find("asked before the uptime is known", campaign, &violations);
}

#[test]
fn one_value_for_all_attempts_is_found() {
    let violations = [Violation::ValueRepeated, Violation::Unprotected, Violation::Exclusion];
    let campaign =
        |first, count| Campaign::of(Profile::Sound, first, count).with(mutant::use_one_value);
    must_find("one value for all attempts", campaign, &violations);
}

//! A proof that cannot fail proves nothing: who breaks an assumption or the engine has to be found.

use crate::campaign::Campaign;
use crate::mutant::Mutant;
use crate::schedule::Profile;
use crate::violation::Violation;

/// Within so many schedules.
const LIMIT: u64 = 20_000;

/// Makes schedules until each of these was violated.
fn must_find(name: &str, campaign: impl Fn(u64, u64) -> Campaign, violations: &[Violation]) {
    let mut searched = 0;
    let mut firsts = vec![None; violations.len()];
    while firsts.contains(&None) && searched < LIMIT {
        // Few first, for most are found soon.
        let count = (searched.max(250)).min(LIMIT - searched);
        let report = campaign(searched, count).run();
        for (first, &violation) in firsts.iter_mut().zip(violations) {
            *first = first.or(report.first(violation));
        }
        searched += count;
    }
    for (first, violation) in firsts.iter().zip(violations) {
        match first {
            Some(seed) => println!("{name}: \"{violation}\" after {} schedules", seed + 1),
            None => panic!("{name}: no \"{violation}\" in {searched} schedules"),
        }
    }
}

fn profile(profile: Profile, violations: &[Violation]) {
    let campaign = |first, count| Campaign::of(profile, first, count);
    must_find(&format!("{profile:?}"), campaign, violations);
}

fn mutant(mutant: Mutant, violations: &[Violation]) {
    let campaign = |first, count| Campaign::of(Profile::Sound, first, count).with(mutant);
    must_find(&format!("{mutant:?}"), campaign, violations);
}

#[test]
fn nodes_that_forget_and_are_back_too_soon_are_found() {
    profile(Profile::ForgetfulNodes, &[Violation::Unprotected, Violation::Exclusion]);
}

#[test]
fn clocks_that_drift_too_far_are_found() {
    profile(Profile::WildClocks, &[Violation::Unprotected, Violation::Exclusion]);
}

#[test]
fn one_value_for_all_attempts_is_found() {
    let violations = [Violation::ValueRepeated, Violation::Unprotected, Violation::Exclusion];
    mutant(Mutant::OneValue, &violations);
}

#[cfg(feature = "mutants")]
mod in_the_engine {
    use redsync_engine::Mutant;

    use super::Violation::{
        self, Exclusion, Leftover, LossToldWrongly, LossUntrue, Misreported, NotKept, Overtaken,
        Stale, Unprotected, Unserved,
    };

    fn mutant(mutant: Mutant, violations: &[Violation]) {
        super::mutant(super::Mutant::Engine(mutant), violations);
    }

    #[test]
    fn drift_that_is_ignored_is_found() {
        mutant(Mutant::DriftIgnored, &[Unprotected]);
    }

    #[test]
    fn a_clock_that_is_started_after_sending_is_found() {
        mutant(Mutant::LateClock, &[Unprotected, Exclusion]);
    }

    #[test]
    fn half_a_quorum_is_found() {
        mutant(Mutant::HalfQuorum, &[Unprotected, Exclusion]);
    }

    #[test]
    fn a_stale_value_that_counts_as_a_vote_is_found() {
        mutant(Mutant::StaleVote, &[Unprotected, Exclusion]);
    }

    #[test]
    fn a_validity_that_is_not_checked_is_found() {
        mutant(Mutant::UntilUnchecked, &[Stale]);
    }

    #[test]
    fn an_extension_that_shortens_is_found() {
        mutant(Mutant::ShorteningExtension, &[Unprotected, Exclusion]);
    }

    #[test]
    fn a_release_that_depends_on_the_caller_is_found() {
        mutant(Mutant::CallersRelease, &[Leftover]);
    }

    #[test]
    fn a_cancelled_waiter_that_keeps_the_head_is_found() {
        mutant(Mutant::KeptHead, &[Unserved]);
    }

    #[test]
    fn who_leaves_the_line_and_wakes_nobody_is_found() {
        mutant(Mutant::LeaveWakesNobody, &[Unserved]);
    }

    #[test]
    fn a_head_that_keeps_its_turn_is_found() {
        mutant(Mutant::HeadKeepsTurn, &[Unserved]);
    }

    #[test]
    fn a_line_that_serves_the_last_first_is_found() {
        mutant(Mutant::LastComeFirst, &[Overtaken]);
    }

    #[test]
    fn a_close_that_does_not_wait_is_found() {
        mutant(Mutant::CloseDoesNotWait, &[Leftover]);
    }

    #[test]
    fn a_lease_that_is_shortened_is_found() {
        mutant(Mutant::LeaseShortened, &[LossUntrue]);
    }

    #[test]
    fn a_loss_that_is_told_early_is_found() {
        mutant(Mutant::LossToldEarly, &[LossUntrue]);
    }

    #[test]
    fn a_late_extension_is_found() {
        mutant(Mutant::LateExtension, &[NotKept]);
    }

    #[test]
    fn a_lock_that_is_leased_twice_is_found() {
        mutant(Mutant::LeasedTwice, &[LossToldWrongly]);
    }

    #[test]
    fn a_script_that_is_refused_half_way_and_forgotten_is_found() {
        mutant(Mutant::HalfwayForgotten, &[Leftover]);
    }

    #[test]
    fn nodes_that_were_asked_and_forgotten_are_found() {
        mutant(Mutant::AskedForgotten, &[Leftover]);
    }

    #[test]
    fn a_release_that_is_told_without_being_one_is_found() {
        mutant(Mutant::UnlockUnchecked, &[Misreported]);
    }

    #[test]
    fn a_lock_that_is_told_to_be_stored_and_is_not_is_found() {
        mutant(Mutant::ValidUnchecked, &[Misreported]);
    }

    #[test]
    fn a_minority_that_is_left_by_an_extension_is_found() {
        mutant(Mutant::MinorityLeft, &[Leftover]);
    }
}

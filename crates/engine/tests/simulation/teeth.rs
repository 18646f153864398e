//! A proof that cannot fail proves nothing: who breaks an assumption or the engine has to be found.

use crate::campaign::Campaign;
use crate::mutant;
use crate::schedule::Profile;
use crate::violation::Violation;

/// Within so many schedules.
const LIMIT: u64 = 20_000;

/// Makes schedules until each of these was violated.
pub fn must_find(name: &str, campaign: impl Fn(u64, u64) -> Campaign, violations: &[Violation]) {
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
    let campaign =
        |first, count| Campaign::of(Profile::Sound, first, count).with(mutant::use_one_value);
    must_find("one value for all attempts", campaign, &violations);
}

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

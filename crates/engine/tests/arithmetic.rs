//! The properties of quorum and validity that the safety argument rests on.

use std::time::Duration;

use proptest::prelude::*;
use redsync_engine::{CLOCK_GRANULARITY, Quorum, drift, node_timeout, quarantine, until};

const NODES: std::ops::RangeInclusive<usize> = 1..=64;

/// Any set of nodes of this size, as one bit a node.
fn subset(size: usize) -> impl Strategy<Value = u64> {
    any::<u64>().prop_map(move |bits| bits & (u64::MAX >> (64 - size)))
}

fn nodes_and_two_sets() -> impl Strategy<Value = (usize, u64, u64)> {
    NODES.prop_flat_map(|size| (Just(size), subset(size), subset(size)))
}

/// Whole milliseconds, up to the facade's 24 hours.
fn expiry() -> impl Strategy<Value = Duration> {
    (1_u64..=86_400_000).prop_map(Duration::from_millis)
}

fn factor() -> impl Strategy<Value = f64> {
    0.0..0.9_f64
}

fn start() -> impl Strategy<Value = Duration> {
    (0_u64..1 << 50).prop_map(Duration::from_nanos)
}

proptest! {
    #[test]
    fn two_quorums_share_a_node((size, one, other) in nodes_and_two_sets()) {
        let quorum = Quorum::of(size);
        let is_quorum = |set: u64| quorum.is_reached(set.count_ones() as usize);
        if is_quorum(one) && is_quorum(other) {
            prop_assert_ne!(one & other, 0);
        }
        // In particular: of a set and its complement one at most decides.
        let complement = !one & (u64::MAX >> (64 - size));
        prop_assert!(!(is_quorum(one) && is_quorum(complement)));
    }

    #[test]
    fn a_quorum_is_more_than_half_and_no_more_than_it_takes(size in NODES) {
        let quorum = Quorum::of(size);
        prop_assert_eq!(quorum.size(), size);
        prop_assert!(2 * quorum.needed() > size);
        prop_assert!(2 * (quorum.needed() - 1) <= size);
        prop_assert!(quorum.is_reached(size), "all nodes are a quorum");
        prop_assert!(!quorum.is_reached(quorum.needed() - 1));
    }

    #[test]
    fn half_of_an_even_number_decides_nothing(half in 1_usize..=32) {
        let quorum = Quorum::of(2 * half);
        prop_assert!(!quorum.is_reached(half));
        prop_assert!(quorum.is_out_of_reach(half), "with half refusing, the rest cannot decide");
    }

    #[test]
    fn out_of_reach_means_that_the_rest_is_no_quorum(
        (size, refusing) in NODES.prop_flat_map(|size| (Just(size), 0..=size))
    ) {
        let quorum = Quorum::of(size);
        prop_assert_eq!(quorum.is_out_of_reach(refusing), !quorum.is_reached(size - refusing));
    }

    #[test]
    fn a_quarantine_outlasts_all_that_may_be_forgotten(expiry in expiry(), factor in factor()) {
        let by_a_fast_clock = expiry + expiry.mul_f64(factor);
        prop_assert_eq!(quarantine(expiry, factor) - by_a_fast_clock, Duration::from_secs(1));
    }

    #[test]
    fn validity_ends_a_drift_before_the_first_key_can_expire(
        start in start(), expiry in expiry(), factor in factor()
    ) {
        let until = until(start, expiry, factor);
        let drift = drift(expiry, factor);
        prop_assert!(drift >= CLOCK_GRANULARITY);
        prop_assert!(until >= start);
        prop_assert!(until < start + expiry);
        if drift < expiry {
            prop_assert_eq!(until, start + expiry - drift);
        } else {
            prop_assert_eq!(until, start, "no validity at all");
        }
    }

    #[test]
    fn validity_grows_with_start_and_expiry(
        starts in (start(), start()), expiries in (expiry(), expiry()), factor in factor()
    ) {
        let (early, late) = (starts.0.min(starts.1), starts.0.max(starts.1));
        let (short, long) = (expiries.0.min(expiries.1), expiries.0.max(expiries.1));
        prop_assert_eq!(until(late, short, factor) - until(early, short, factor), late - early);
        prop_assert!(until(early, short, factor) <= until(early, long, factor));
    }

    #[test]
    fn validity_shrinks_with_the_drift(
        expiry in expiry(), factors in (factor(), factor())
    ) {
        let (little, much) = (factors.0.min(factors.1), factors.0.max(factors.1));
        let end = |factor| until(Duration::ZERO, expiry, factor);
        prop_assert!(end(little) >= end(much));
    }

    #[test]
    fn a_node_gets_its_share_of_the_expiry(expiry in expiry(), factor in factor()) {
        let share = node_timeout(expiry, factor);
        prop_assert!(share <= expiry);
        let exact = expiry.as_secs_f64() * factor;
        prop_assert!((share.as_secs_f64() - exact).abs() <= 1e-9 + exact * 1e-12);
    }
}

#[test]
fn the_paper_s_examples() {
    for (size, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (64, 33)] {
        assert_eq!(Quorum::of(size).needed(), needed, "{size} nodes");
    }
}

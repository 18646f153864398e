//! One attempt on three nodes, each of which grants, is taken, breaks, is slow or hangs: all combinations.

mod support;

use std::time::Duration;

use redsync_engine::{Answer, CancellationToken, Error, Options, Vote, drift, node_timeout, until};
use support::node::broken;
use support::{A_WHILE, Behaviour, FOREIGN, SLOW, TIMEOUT, World, ms, timed, triples};

/// The hung and the broken come in two flavours each: the command was carried out, or was not.
const BEHAVIOURS: [Behaviour; 7] = [
    Behaviour::Ok,
    Behaviour::Taken,
    Behaviour::Error { applied: false },
    Behaviour::Error { applied: true },
    Behaviour::Slow(SLOW),
    Behaviour::Never { applied: false },
    Behaviour::Never { applied: true },
];

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Held,
    Taken,
    Failed,
}

fn vote_of(behaviour: Behaviour) -> Vote {
    match behaviour {
        Behaviour::Ok | Behaviour::Slow(_) => Ok(Answer::Granted),
        Behaviour::Taken => Ok(Answer::Taken),
        Behaviour::Error { .. } => Err(broken()),
        _ => Err(redsync_engine::NodeError::timed_out()),
    }
}

/// When the round knows a node's vote.
fn heard_at(behaviour: Behaviour) -> Duration {
    match behaviour {
        Behaviour::Slow(delay) => delay,
        Behaviour::Never { .. } => TIMEOUT,
        _ => Duration::ZERO,
    }
}

fn count(case: &[Behaviour], by: Duration, is_meant: impl Fn(&Vote) -> bool) -> usize {
    case.iter().filter(|&&node| heard_at(node) <= by && is_meant(&vote_of(node))).count()
}

/// Two of three decide.
fn expected(case: &[Behaviour]) -> Outcome {
    if count(case, TIMEOUT, |vote| *vote == Ok(Answer::Granted)) >= 2 {
        Outcome::Held
    } else if count(case, TIMEOUT, |vote| *vote == Ok(Answer::Taken)) >= 2 {
        Outcome::Taken
    } else {
        Outcome::Failed
    }
}

/// When the round is over: with all votes, or (fail-fast) as soon as no vote can change the outcome,
/// which is granted, taken or neither.
fn decided_at(case: &[Behaviour], fail_fast: bool) -> Duration {
    let is_over = |by: &Duration| {
        let heard = count(case, *by, |_| true);
        let yes = count(case, *by, |vote| *vote == Ok(Answer::Granted));
        let taken = count(case, *by, |vote| *vote == Ok(Answer::Taken));
        let neither = heard - yes >= 2 && heard - taken >= 2;
        heard == 3 || fail_fast && (yes >= 2 || taken >= 2 || neither)
    };
    [Duration::ZERO, SLOW, TIMEOUT].into_iter().find(is_over).expect("over at the timeout")
}

/// A failed call waits for the release on the nodes that granted, which are as slow again.
fn released_after(case: &[Behaviour], by: Duration) -> Duration {
    let granting = case.iter().filter(|&&node| vote_of(node).is_ok() && heard_at(node) <= by);
    granting.map(|&node| heard_at(node)).max().unwrap_or_default()
}

async fn check(case: [Behaviour; 3], fail_fast: bool) {
    let world = World::of(&case);
    let options = Options { fail_fast, ..Options::default() };
    let mutex = world.mutex(options);
    let start = world.redsync.now();
    let decided = decided_at(&case, fail_fast);

    let (outcome, elapsed) = timed(mutex.try_lock(&CancellationToken::new())).await;

    assert!(elapsed <= 2 * TIMEOUT, "{case:?}: bounded");
    match outcome {
        Ok(held) => {
            assert_eq!(Outcome::Held, expected(&case), "{case:?}");
            assert_eq!(elapsed, decided, "{case:?}");
            assert_eq!(held.until, start + ms(8000) - ms(80) - ms(2), "{case:?}");
            for (node, stored) in case.iter().zip(world.stored()) {
                if vote_of(*node) == Ok(Answer::Granted) {
                    assert_eq!(stored.as_deref(), Some(&*held.value), "{case:?}");
                }
            }
            assert_eq!(mutex.unlock(held.value).await, Ok(()), "{case:?}");
        }
        Err(error) => {
            let kind = match error {
                Error::Taken { attempts: 1, .. } => Outcome::Taken,
                Error::Failed { attempts: 1, .. } => Outcome::Failed,
                other => panic!("{case:?}: {other:?}"),
            };
            assert_eq!(kind, expected(&case), "{case:?}");
            assert_eq!(elapsed, decided + released_after(&case, decided), "{case:?}");
            for (node, vote) in case.iter().zip(error.votes()) {
                match vote {
                    Some(vote) => assert_eq!(*vote, vote_of(*node), "{case:?}"),
                    None => assert!(fail_fast && heard_at(*node) >= decided, "{case:?}"),
                }
            }
        }
    }

    tokio::time::sleep(A_WHILE).await;
    world.assert_clean(&case);
    for (node, stored) in case.iter().zip(world.stored()) {
        let is_foreign = stored.as_deref() == Some(FOREIGN);
        assert_eq!(is_foreign, *node == Behaviour::Taken, "{case:?}: the others' value stays");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn two_of_three_decide_and_a_failure_leaves_nothing_behind() {
    for case in triples(&BEHAVIOURS) {
        check(case, false).await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn fail_fast_returns_as_soon_as_nothing_can_change_the_outcome() {
    for case in triples(&BEHAVIOURS) {
        check(case, true).await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn any_pattern_of_taken_nodes_is_decided_by_the_quorum() {
    for size in [1_usize, 2, 3, 4, 5, 6] {
        for pattern in 0..1_usize << size {
            let case: Vec<_> = (0..size)
                .map(|node| if pattern >> node & 1 == 1 { Behaviour::Taken } else { Behaviour::Ok })
                .collect();
            let taken = pattern.count_ones() as usize;
            let world = World::of(&case);
            let outcome = world.mutex(Options::default()).try_lock(&CancellationToken::new()).await;
            match outcome {
                Ok(held) => {
                    assert!(2 * (size - taken) > size, "{case:?}");
                    world.mutex(Options::default()).unlock(held.value).await.unwrap();
                }
                Err(Error::Taken { .. }) => assert!(2 * taken > size, "{case:?}"),
                // An even split: neither half is a quorum, so nobody can be said to have it.
                Err(error) => {
                    assert!(matches!(error, Error::Failed { .. }), "{case:?}");
                    assert_eq!(2 * taken, size, "{case:?}");
                }
            }
            world.assert_clean(&case);
        }
    }
}

#[test]
fn the_table_counts_on_the_default_options() {
    let Options { expiry, timeout_factor, drift_factor, .. } = Options::default();
    assert_eq!(node_timeout(expiry, timeout_factor), TIMEOUT);
    assert_eq!(drift(expiry, drift_factor), ms(82));
    assert_eq!(until(ms(1), expiry, drift_factor), ms(1 + 8000 - 82));
}

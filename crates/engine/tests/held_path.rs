//! Unlock, extend and valid on three nodes that hold our value, another's or none, and answer or not.

mod support;

use std::time::Duration;

use redsync_engine::{Answer, Error, NodeError, Options, Value, Verb, Vote};
use support::node::broken;
use support::{A_WHILE, Behaviour, FOREIGN, SLOW, TIMEOUT, World, ms, timed, triples};

const OURS: &str = "ours";

/// What a node stores, and whether it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Ours,
    Absent,
    Foreign,
    /// Stores ours, and answers with an error.
    Error,
    /// Stores ours, and takes its time.
    Slow,
    /// Stores ours, and does not answer.
    Never,
}

use Node::{Absent, Foreign, Never, Ours, Slow};
const NODES: [Node; 6] = [Ours, Absent, Foreign, Node::Error, Slow, Never];

impl Node {
    fn behaviour(self) -> Behaviour {
        match self {
            Ours | Absent | Foreign => Behaviour::Ok,
            Node::Error => Behaviour::Error { applied: false },
            Slow => Behaviour::Slow(SLOW),
            Never => Behaviour::Never { applied: false },
        }
    }

    fn stored(self) -> Option<&'static str> {
        match self {
            Absent => None,
            Foreign => Some(FOREIGN),
            Ours | Node::Error | Slow | Never => Some(OURS),
        }
    }

    fn vote(self) -> Option<Vote> {
        Some(match self {
            Ours | Slow => Ok(Answer::Granted),
            Absent => Ok(Answer::Absent),
            Foreign => Ok(Answer::Taken),
            Node::Error => Err(broken()),
            Never => Err(NodeError::timed_out()),
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Granted,
    Taken,
    Lost,
    Unknown,
}

/// Two of three decide: those that have it, those that are taken, those that do not have it.
fn expected(case: &[Node; 3]) -> Outcome {
    let count = |kinds: &[Node]| case.iter().filter(|node| kinds.contains(node)).count();
    if count(&[Ours, Slow]) >= 2 {
        Outcome::Granted
    } else if count(&[Foreign]) >= 2 {
        Outcome::Taken
    } else if count(&[Foreign, Absent]) >= 2 {
        Outcome::Lost
    } else {
        Outcome::Unknown
    }
}

fn duration(case: &[Node; 3]) -> Duration {
    if case.contains(&Never) {
        TIMEOUT
    } else if case.contains(&Slow) {
        SLOW
    } else {
        Duration::ZERO
    }
}

fn votes(case: &[Node; 3]) -> Vec<Option<Vote>> {
    case.iter().map(|node| node.vote()).collect()
}

fn world(case: &[Node; 3]) -> World {
    let world = World::of(&case.map(Node::behaviour));
    for (scripted, node) in world.scripted.iter().zip(case) {
        if let Some(value) = node.stored() {
            scripted.plant(support::KEY, value);
        }
    }
    world
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn unlock_tells_released_taken_expired_and_unknown_apart() {
    for case in triples(&NODES) {
        let world = world(&case);
        let unlock = world.mutex(Options::default());
        let (outcome, elapsed) = timed(unlock.unlock(Value::from(OURS))).await;
        assert_eq!(elapsed, duration(&case), "{case:?}: one round, no retry");
        let kind = match &outcome {
            Ok(()) => Outcome::Granted,
            Err(Error::Taken { .. }) => Outcome::Taken,
            Err(Error::Expired { .. }) => Outcome::Lost,
            Err(Error::Failed { .. }) => Outcome::Unknown,
            other => panic!("{case:?}: {other:?}"),
        };
        assert_eq!(kind, expected(&case), "{case:?}");
        if let Err(error) = outcome {
            assert_eq!(error.votes(), votes(&case), "{case:?}");
            assert_eq!(error.attempts(), 1, "{case:?}");
        }

        world.all_become(Behaviour::Ok);
        tokio::time::sleep(A_WHILE).await;
        for (node, stored) in case.iter().zip(world.stored()) {
            let foreign = node.stored().filter(|&value| value == FOREIGN);
            assert_eq!(stored.as_deref(), foreign, "{case:?}: released once the node is back");
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn fail_fast_unlock_settles_once_two_of_three_agree_and_releases_the_third() {
    for case in triples(&NODES) {
        let world = world(&case);
        let mutex = world.mutex(Options { fail_fast: true, ..Options::default() });
        let (outcome, elapsed) = timed(mutex.unlock(Value::from(OURS))).await;
        assert!(elapsed <= duration(&case), "{case:?}");
        let expected = expected(&case);
        assert_eq!(outcome.is_ok(), expected == Outcome::Granted, "{case:?}");
        let is_taken = matches!(outcome, Err(Error::Taken { .. }));
        assert_eq!(is_taken, expected == Outcome::Taken, "{case:?}");

        world.all_become(Behaviour::Ok);
        tokio::time::sleep(A_WHILE).await;
        world.assert_clean(&case);
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn extend_needs_a_quorum_that_still_has_the_value() {
    for (case, recreate) in
        triples(&NODES).into_iter().flat_map(|case| [(case, false), (case, true)])
    {
        let world = world(&case);
        let options = Options { recreate_on_extend: recreate, ..Options::default() };
        let start = world.redsync.now();
        let (outcome, elapsed) = timed(world.mutex(options).extend(Value::from(OURS))).await;
        assert_eq!(elapsed, duration(&case), "{case:?}");
        let grants = |node: &&Node| matches!(node, Ours | Slow) || recreate && **node == Absent;
        let granting = case.iter().filter(grants).count();
        match outcome {
            Ok(held) => {
                assert!(granting >= 2, "{case:?}");
                assert_eq!(&*held.value, OURS, "{case:?}");
                assert_eq!(held.until, start + ms(8000 - 80 - 2), "{case:?}");
            }
            Err(Error::NotExtended { votes: reported }) => {
                assert!(granting < 2, "{case:?}");
                if !recreate {
                    assert_eq!(reported, votes(&case), "{case:?}");
                }
            }
            other => panic!("{case:?}: {other:?}"),
        }
        // What a lost lock had stored again, or still stored, on a minority is given up.
        let is_given_up = recreate && case.iter().filter(|node| **node == Foreign).count() >= 2;
        if is_given_up {
            tokio::time::sleep(A_WHILE).await;
        }
        for (node, stored) in case.iter().zip(world.stored()) {
            let recreated = (recreate && *node == Absent).then_some(OURS);
            let released = is_given_up && grants(&node);
            let expected = node.stored().or(recreated).filter(|_| !released);
            assert_eq!(stored.as_deref(), expected, "{case:?}");
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn valid_says_yes_no_or_that_it_cannot_tell() {
    for case in triples(&NODES) {
        let world = world(&case);
        let mutex = world.mutex(Options::default());
        let (outcome, elapsed) = timed(mutex.valid(Value::from(OURS))).await;
        assert_eq!(elapsed, duration(&case), "{case:?}");
        let answer = match expected(&case) {
            Outcome::Granted => Ok(true),
            Outcome::Taken | Outcome::Lost => Ok(false),
            Outcome::Unknown => Err(Error::Failed { votes: votes(&case), attempts: 1 }),
        };
        assert_eq!(outcome, answer, "{case:?}");
        assert_eq!(world.log().len(), 3, "{case:?}: one question a node");
        assert_eq!(world.asked(Verb::Owner).len(), 3, "{case:?}: that changes nothing");
    }
}

//! The ownership value: who knows it owns the lock, an empty one owns nothing, and no log shows it.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use redsync_engine::{
    Answer, CancellationToken, Error, Held, Kind, MemoryNode, Mutex, Node, Options, Redsync,
    Request, Value, Verb,
};

use crate::support::{Behaviour, FOREIGN, KEY, TokioClock, WALL, World, held, keys, ms, tries};

#[test]
fn a_random_value_is_16_bytes_in_base64_and_the_seeds_own() {
    let mut rng = StdRng::seed_from_u64(1);
    let values: Vec<_> = (0..1000).map(|_| Value::random(&mut rng)).collect();
    for value in &values {
        assert_eq!(value.len(), 24);
        assert!(value.ends_with("=="), "{}", &**value);
        let alphabet = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
        assert!(value[..22].chars().all(alphabet), "{}", &**value);
    }
    assert_eq!(values.iter().map(|value| value.to_string()).collect::<HashSet<_>>().len(), 1000);
    assert_eq!(values[0], Value::random(&mut StdRng::seed_from_u64(1)));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn debug_output_hides_the_value() {
    let world = World::of(&[Behaviour::Ok]);
    let lock = held(world.mutex(tries(1)).lock(&CancellationToken::new()).await);
    let request = Request {
        kind: Kind::Mutex,
        permits: 1,
        token: None,
        keys: keys(&[KEY]),
        value: lock.value.clone(),
        expiry: ms(1),
        timeout: ms(1),
        quarantine: Duration::ZERO,
    };
    for text in [format!("{:?}", lock.value), format!("{lock:?}"), format!("{request:#?}")] {
        assert!(!text.contains(&*lock.value), "{text}");
        assert!(text.contains("Value(..)"), "{text}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn whoever_has_the_value_owns_the_lock() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lock = held(world.mutex(tries(1)).lock(&CancellationToken::new()).await);
    let (text, other) = (lock.value.to_string(), world.mutex(tries(1)));
    assert_eq!(other.valid(Value::from(text.as_str())).await, Ok(true));
    held(other.extend(Value::from(text.as_str())).await);
    assert_eq!(other.unlock(Value::from(text.as_str())).await, Ok(()));
    assert_eq!(world.stored(), [None, None, None]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn whoever_has_it_not_does_not() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lock = held(world.mutex(tries(1)).lock(&CancellationToken::new()).await);
    let (stored, stranger) = (world.stored(), Value::from(FOREIGN));
    let votes = vec![Some(Ok(Answer::Taken)); 3];
    let mutex = world.mutex(tries(1));
    assert_eq!(mutex.valid(stranger.clone()).await, Ok(false));
    let error = mutex.extend(stranger.clone()).await.unwrap_err();
    assert_eq!(error, Error::NotExtended { votes: votes.clone() });
    let error = mutex.unlock(stranger).await.unwrap_err();
    assert_eq!(error, Error::Taken { votes, attempts: 1 });
    assert_eq!(world.stored(), stored);
    assert_eq!(mutex.unlock(lock.value).await, Ok(()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_empty_value_touches_nothing() {
    // Even where a careless writer has stored an empty string.
    for (stored, outcome) in [(None, "expired"), (Some(FOREIGN), "taken"), (Some(""), "failed")] {
        let world = World::of(&[Behaviour::Ok; 3]);
        for node in &world.scripted {
            stored.into_iter().for_each(|value| node.plant(KEY, value));
        }
        let mutex = world.mutex(tries(1));
        assert_eq!(mutex.valid("".into()).await, Ok(false));
        let error = mutex.extend("".into()).await.unwrap_err();
        assert!(matches!(error, Error::NotExtended { .. }), "{error:?}");
        assert_eq!(world.log(), [], "not even asked for");

        let error = mutex.unlock("".into()).await.unwrap_err();
        let told = match error {
            Error::Expired { .. } => "expired",
            Error::Taken { .. } => "taken",
            _ => "failed",
        };
        assert_eq!(told, outcome);
        assert_eq!(world.asked(Verb::Owner).len(), world.log().len(), "looked at, no more");
        assert_eq!(world.stored(), vec![stored.map(str::to_string); 3]);
    }
}

/// Three nodes of a client whose random values name this owner.
fn owned_by(owner: Option<&str>, seed: u64) -> Rc<Redsync> {
    let clock = TokioClock::start();
    let node = || Rc::new(MemoryNode::new(clock.clone())) as Rc<dyn Node>;
    let members = (0..3).map(|_| node()).collect();
    let rng = Box::new(StdRng::seed_from_u64(seed));
    Redsync::sharing(Rc::default(), Rc::default(), members, clock, rng, owner)
}

async fn locked(redsync: &Rc<Redsync>, options: Options) -> Held {
    let mutex = Mutex::new(redsync.clone(), keys(&[KEY]), options);
    held(mutex.lock(&CancellationToken::new()).await)
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_owner_and_the_time_stand_behind_all_else() {
    let redsync = owned_by(Some("worker:1"), 7);
    tokio::time::advance(ms(5)).await;
    assert_eq!(WALL, Duration::from_secs(1_790_000_000), "which is mubbs7i8 in milliseconds");
    let behind = "#o=worker:1@mubbs7id";
    let plain = locked(&redsync, tries(1)).await.value;
    let nobodys = locked(&owned_by(None, 7), tries(1)).await.value;
    assert_eq!(*plain, format!("{}{behind}", &*nobodys), "the same luck as without an owner");
    let mutex = Mutex::new(redsync.clone(), keys(&[KEY]), tries(1));
    assert_eq!(mutex.unlock(plain).await, Ok(()));

    let fenced = locked(&redsync, Options { fencing: true, ..tries(1) }).await;
    let token = fenced.token.expect("a token");
    assert_eq!(fenced.value[24..], format!("#t={token}{behind}"));
    assert_eq!(fenced.value.token(), Some(token));
    let mutex = Mutex::new(redsync.clone(), keys(&[KEY]), tries(1));
    assert_eq!(mutex.unlock(fenced.value).await, Ok(()));

    let mut marks = Vec::new();
    for _ in 0..2 {
        let permit = locked(&redsync, Options { permits: 2, ..tries(1) }).await;
        marks.push(permit.value[24..].to_owned());
    }
    marks.sort();
    assert_eq!(marks, [behind.to_owned(), format!("#p=2{behind}")]);
}

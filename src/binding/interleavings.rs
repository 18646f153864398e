//! Every order in which an event loop and the engine thread can use an outbox: `npm run test:memory`.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use loom::sync::Notify;
use loom::sync::atomic::AtomicU32;
use loom::thread;
use redsync_engine::Loss;

use super::crossing::{self, Numbered, Outcome};
use super::outbox::Outbox;

const LEASE: u32 = 1;

/// Runs it in every order, and tells how many there are.
fn in_every_order(name: &str, run: impl Fn() + Send + Sync + 'static) {
    let count = Arc::new(AtomicUsize::new(0)); // not loom's: it counts them all
    let counted = count.clone();
    loom::model(move || {
        counted.fetch_add(1, Relaxed);
        run();
    });
    println!("{name}: {} orders", count.load(Relaxed));
}

/// An event loop that sleeps until it is woken: if nobody wakes it, loom says so.
struct EventLoop {
    outbox: Arc<Outbox>,
    wake: Arc<Notify>,
    times: Arc<AtomicU32>,
}

impl EventLoop {
    fn new() -> Self {
        let (wake, times) = (Arc::new(Notify::new()), Arc::new(AtomicU32::new(0)));
        let (waker, count) = (wake.clone(), times.clone());
        let outbox = Arc::new(Outbox::new(Box::new(move || {
            count.fetch_add(1, Relaxed);
            waker.notify();
        })));
        Self { outbox, wake, times }
    }

    /// What is there, by call and outcome, at most so much at once.
    fn drain(&self, at_most: usize) -> Vec<(u32, Outcome)> {
        let size = crossing::Completion::Next as usize;
        let mut all = Vec::new();
        loop {
            let mut records = vec![0.0; 1 + at_most * size];
            let text = self.outbox.drain(&mut records);
            let count = records[0] as usize;
            let some = records[1..].chunks_exact(size).take(count).map(|completion| {
                let outcome = completion[crossing::Completion::Outcome as usize];
                let outcome = Outcome::from_number(outcome).expect("an outcome");
                (completion[crossing::Completion::Call as usize] as u32, outcome)
            });
            all.extend(some);
            let lengths = records[1..].chunks_exact(size).take(count);
            let lengths = lengths.map(|each| each[crossing::Completion::Text as usize]);
            assert_eq!(lengths.sum::<f64>(), text.len() as f64, "whose text is it?");
            if count < at_most {
                return all;
            }
        }
    }

    /// Sleeps and drains until there were so many.
    fn until(&self, count: usize, at_most: usize) -> Vec<(u32, Outcome)> {
        let mut all = Vec::new();
        while all.len() < count {
            self.wake.wait();
            all.extend(self.drain(at_most));
        }
        all
    }
}

fn calls(all: &[(u32, Outcome)]) -> Vec<u32> {
    all.iter().map(|(call, _)| *call).collect()
}

#[test]
fn whoever_is_to_drain_is_woken() {
    in_every_order("a push wakes", || {
        let event_loop = EventLoop::new();
        let outbox = event_loop.outbox.clone();
        let engine = thread::spawn(move || {
            for call in 1..=3 {
                outbox.push(call, Outcome::Done, 1.0, |text| text.write_str("text"));
            }
        });
        assert_eq!(calls(&event_loop.until(3, 2)), [1, 2, 3]);
        engine.join().unwrap();
        assert!(event_loop.times.load(Relaxed) <= 3, "once for what is there");
    });
}

/// It runs the engine of its pools itself, and is asked to turn because it has been still for long.
#[test]
fn one_that_runs_an_engine_too_misses_nothing() {
    in_every_order("an engine on the event loop", || {
        let event_loop = EventLoop::new();
        let outbox = event_loop.outbox.clone();
        let engine = thread::spawn(move || {
            outbox.last_turn(Duration::from_secs(u64::MAX / 4));
            outbox.push(1, Outcome::Done, 1.0, |_| Ok(()));
        });
        event_loop.outbox.is_run();
        event_loop.outbox.push(2, Outcome::Done, 1.0, |text| text.write_str("text"));
        let mut all = calls(&event_loop.drain(1));
        if all.len() < 2 {
            all.extend(calls(&event_loop.until(2 - all.len(), 1)));
        }
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
        engine.join().unwrap();
    });
}

/// Its holder lets it go, while the engine extends it and then tells its end.
#[test]
fn a_lease_ends_once() {
    for is_lost in [false, true] {
        let name = if is_lost { "a lease is lost" } else { "a lease ends" };
        in_every_order(name, move || {
            let event_loop = EventLoop::new();
            let outbox = event_loop.outbox.clone();
            outbox.set_until(LEASE, Some(Duration::from_secs(1)));
            let engine = thread::spawn(move || {
                outbox.set_until(LEASE, Some(Duration::from_secs(2)));
                if is_lost {
                    outbox.lost(LEASE, Loss::Taken);
                } else {
                    outbox.ended(LEASE);
                }
            });
            let until = event_loop.outbox.take_until(LEASE);
            assert!([0.0, 1000.0, 2000.0].contains(&until), "{until} is half of a number");
            engine.join().unwrap();
            let all = event_loop.drain(2);
            let [(LEASE, end)] = all[..] else { panic!("it ends {} times", all.len()) };
            assert!(end == if is_lost { Outcome::Lost } else { Outcome::Ended });
            assert_eq!(event_loop.outbox.until(LEASE), 0.0);
            // Its end is news for a holder who has not let it go.
            let is_woken = event_loop.times.load(Relaxed) > 0;
            assert!(is_woken || until > 0.0, "the holder waits for ever");
        });
    }
}

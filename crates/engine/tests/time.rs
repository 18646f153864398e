//! Deadlines on a host that has no runtime, and must not block.

use std::future::{Future, pending};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use redsync_engine::time::{Instant, Timers, sleep, timeout};

const SHORT: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_secs(3600);

/// Polls it whenever a deadline is over, until it is ready; how often it was polled.
fn run<T>(timers: &Rc<Timers>, future: impl Future<Output = T>) -> (T, u32) {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for polled in 1.. {
        let entered = timers.enter();
        timers.ring(Instant::now());
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return (output, polled);
        }
        drop(entered);
        let next = timers.next().expect("a deadline");
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    unreachable!()
}

#[test]
fn whoever_waits_is_woken_when_the_time_is_over_and_nothing_is_left() {
    let timers = Rc::new(Timers::default());
    let start = Instant::now();
    let ((), polled) = run(&timers, sleep(SHORT));
    assert!(start.elapsed() >= SHORT && polled == 2, "{polled}");
    let (ended, _) = run(&timers, timeout(SHORT, pending::<()>()));
    assert!(ended.is_err() && start.elapsed() >= SHORT * 2);
    assert_eq!(timers.next(), None);
}

#[test]
fn what_is_ready_first_ends_the_wait_and_takes_its_deadline_along() {
    let timers = Rc::new(Timers::default());
    let inner = async { timeout(LONG, sleep(SHORT)).await.is_ok() };
    let (is_ready, _) = run(&timers, inner);
    assert!(is_ready);
    assert_eq!(timers.next(), None);
    let (outcome, polled) = run(&timers, timeout(Duration::MAX, async { 7 }));
    assert!(matches!(outcome, Ok(7)) && polled == 1);
}

#[test]
fn the_first_deadline_of_all_is_the_next() {
    let timers = Rc::new(Timers::default());
    let mut context = Context::from_waker(Waker::noop());
    let (mut late, mut soon) = (pin!(sleep(LONG)), Box::pin(sleep(SHORT)));
    let entered = timers.enter();
    let now = Instant::now();
    assert!(late.as_mut().poll(&mut context).is_pending());
    assert!(timers.next().is_some_and(|next| next >= now + LONG));
    assert!(soon.as_mut().poll(&mut context).is_pending());
    assert!(timers.next().is_some_and(|next| next < now + LONG));
    drop(soon);
    assert!(timers.next().is_some_and(|next| next >= now + LONG));
    drop(entered);
}

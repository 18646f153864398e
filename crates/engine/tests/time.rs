//! Deadlines on a host that has no runtime, and must not block.

use std::future::{Future, pending};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use redsync_engine::time::{Instant, Timers, sleep, sleep_until, timeout};

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
    let inner = async { timeout(Duration::MAX, sleep(SHORT)).await.is_ok() };
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

/// A task that counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_deadline_wakes_its_own_task_once_when_it_has_come() {
    let timers = Rc::new(Timers::default());
    let woken: [Arc<Woken>; 3] = Default::default();
    let start = Instant::now();
    let _entered = timers.enter();
    let mut ends = [SHORT, SHORT, LONG].map(|after| Box::pin(sleep_until(start + after)));
    for (end, woken) in ends.iter_mut().zip(&woken) {
        let waker = Waker::from(woken.clone());
        assert!(end.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let times = || woken.each_ref().map(|woken| woken.0.load(Ordering::Relaxed));
    timers.ring(start + SHORT - Duration::from_nanos(1));
    assert_eq!(times(), [0, 0, 0]);
    timers.ring(start + SHORT);
    assert_eq!(times(), [1, 1, 0], "two with one deadline, at that very time");
    timers.ring(start + SHORT);
    assert_eq!(times(), [1, 1, 0]);
    assert_eq!(timers.next(), Some(start + LONG));
}

#[test]
fn who_leaves_is_followed_by_who_was_entered_before() {
    let (outer, inner) = (Rc::new(Timers::default()), Rc::new(Timers::default()));
    let mut context = Context::from_waker(Waker::noop());
    let _entered = outer.enter();
    drop(inner.enter());
    let mut end = pin!(sleep(LONG));
    assert!(end.as_mut().poll(&mut context).is_pending());
    assert!(outer.next().is_some() && inner.next().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_over_as_soon_as_it_has_come() {
    let timers = Rc::new(Timers::default());
    let ((), polled) = run(&timers, sleep(Duration::ZERO));
    assert_eq!(polled, 1);
}

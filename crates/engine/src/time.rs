//! Time for the engine's tasks: that of the tokio runtime that they run in, or of a host that has none and rings itself.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

pub use tokio::time::Instant;

/// Longer than anybody waits: 30 years.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

thread_local! {
    static ENTERED: RefCell<Option<Rc<Timers>>> = const { RefCell::new(None) };
}

/// The deadlines of all tasks of a host that must not block: it polls them when the first of these is over, and
/// whenever it has news for them.
#[derive(Default)]
pub struct Timers {
    alarms: RefCell<BTreeMap<(Instant, u64), Waker>>,
    last_number: Cell<u64>,
}

impl Timers {
    /// Until what is returned is dropped, what the engine waits for on this thread is kept here. To be entered by
    /// whoever polls its tasks.
    pub fn enter(self: &Rc<Self>) -> Entered {
        Entered { before: ENTERED.replace(Some(self.clone())) }
    }

    /// The first deadline.
    pub fn next(&self) -> Option<Instant> {
        self.alarms.borrow().keys().next().map(|(deadline, _)| *deadline)
    }

    /// Wakes the tasks whose deadlines are over.
    pub fn ring(&self, now: Instant) {
        while let Some(waker) = self.take_due(now) {
            waker.wake();
        }
    }

    fn take_due(&self, now: Instant) -> Option<Waker> {
        let mut alarms = self.alarms.borrow_mut();
        Some(alarms.first_entry().filter(|first| first.key().0 <= now)?.remove())
    }

    fn alarm(self: &Rc<Self>, deadline: Instant) -> Alarm {
        let number = self.last_number.get() + 1;
        self.last_number.set(number);
        Alarm { timers: self.clone(), key: (deadline, number) }
    }
}

/// See [`Timers::enter`].
pub struct Entered {
    before: Option<Rc<Timers>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        ENTERED.set(self.before.take());
    }
}

struct Alarm {
    timers: Rc<Timers>,
    key: (Instant, u64),
}

impl Alarm {
    async fn rung(self) {
        poll_fn(|context| {
            if Instant::now() >= self.key.0 {
                return Poll::Ready(());
            }
            self.timers.alarms.borrow_mut().insert(self.key, context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.timers.alarms.borrow_mut().remove(&self.key);
    }
}

/// The deadline came first.
#[derive(Debug)]
pub struct Elapsed;

/// Waits until then.
pub async fn sleep_until(deadline: Instant) {
    match ENTERED.with_borrow(Clone::clone) {
        Some(timers) => timers.alarm(deadline).rung().await,
        None => tokio::time::sleep_until(deadline).await,
    }
}

/// Waits for so long.
pub async fn sleep(duration: Duration) {
    sleep_until(after(duration)).await;
}

/// Waits for a future, and no longer than until then.
///
/// # Errors
/// [`Elapsed`] if it is not ready by then.
pub async fn timeout_at<T>(
    deadline: Instant,
    future: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    let (mut future, mut end) = (pin!(future), pin!(sleep_until(deadline)));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => end.as_mut().poll(context).map(|()| Err(Elapsed)),
    })
    .await
}

/// The same for so long.
///
/// # Errors
/// [`Elapsed`] if it is not ready by then.
pub async fn timeout<T>(duration: Duration, future: impl Future<Output = T>) -> Result<T, Elapsed> {
    timeout_at(after(duration), future).await
}

fn after(duration: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(duration).unwrap_or_else(|| now + FOR_EVER)
}

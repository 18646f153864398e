//! The engine on the event loop of JavaScript, for each `Redsync` whose nodes are all pools. When the event loop is
//! blocked, so are the clients of its pools: a thread beside it would gain nothing, and each question and each answer
//! would cross twice.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use redsync_engine::time::{Instant, Timers};
use tokio::task::LocalSet;

use super::host::{Host, Message};
use super::outbox::Outbox;
use super::wire::to_milliseconds;

/// Runs when it is told to, and never waits.
#[derive(Default)]
pub struct EventLoop {
    host: RefCell<Host>,
    tasks: RefCell<LocalSet>,
    timers: Rc<Timers>,
    /// For when JavaScript has set an alarm.
    alarm: Cell<Option<Instant>>,
    news: Arc<News>,
}

/// A task can go on.
#[derive(Default)]
struct News(AtomicBool);

impl Wake for News {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl EventLoop {
    pub fn tell(&self, message: Message) {
        self.enter(|host| host.handle(message));
    }

    /// Starts what the records ask for, and lets all tasks go on until each waits. No records: the alarm has rung, which
    /// may be a little early. Gives in how many milliseconds it is to ring instead of when it would; a negative number if
    /// it stays as it is.
    pub fn run(&self, numbers: &[f64], text: &str, outbox: &Outbox) -> f64 {
        if numbers.is_empty() {
            self.alarm.set(None);
        }
        outbox.is_run();
        self.enter(|host| host.start_all(numbers, text, outbox));
        let _timers = self.timers.enter();
        self.timers.ring(Instant::now());
        let waker = Waker::from(self.news.clone());
        let mut tasks = self.tasks.borrow_mut();
        loop {
            self.news.0.store(false, Ordering::Relaxed);
            // It is over only when there are no tasks, and there may be some again.
            let _ = Pin::new(&mut *tasks).poll(&mut Context::from_waker(&waker));
            if !self.news.0.load(Ordering::Relaxed) {
                break;
            }
        }
        let is_earlier = |next: &Instant| self.alarm.get().is_none_or(|alarm| *next < alarm);
        let next = self.timers.next().filter(is_earlier);
        self.alarm.set(next.or(self.alarm.get()));
        next.map_or(-1.0, |next| to_milliseconds(next - Instant::now()))
    }

    fn enter(&self, tell: impl FnOnce(&mut Host)) {
        let _timers = self.timers.enter();
        let tasks = self.tasks.borrow();
        let _tasks = tasks.enter();
        tell(&mut self.host.borrow_mut());
    }
}

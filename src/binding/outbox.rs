//! Completions on their way to one JavaScript environment (the main thread's, or a worker's).

use std::fmt::{self, Write};
use std::mem;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redsync_engine::{
    Answer, Error, Fate, Found, Health, Held, Kind, Loss, NodeError, Page, Report, Status, Token,
    Verb, Vote,
};

use super::crossing::{self, Numbered, Outcome};
use super::sync::{AtomicU64, Mutex, MutexGuard};
use super::wire::{NO_CALL, to_milliseconds};
use crate::clock;
use crate::node::pool::Asked;
use crate::node::side_keys::{FENCE, SIGN, side_key, sides};

/// Wakes the environment's event loop, from any thread.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// What a pool is asked.
fn pool_question(asked: Asked<'_>) -> Outcome {
    let Some((verb, request)) = asked else { return Outcome::AskHealth };
    match (request.kind, verb) {
        (Kind::Mutex, Verb::Acquire) if request.token.is_some() => Outcome::AskAcquireFenced,
        (Kind::Mutex, Verb::Acquire) => Outcome::AskAcquire,
        (Kind::Read, Verb::Acquire) => Outcome::AskAcquireRead,
        (Kind::Write { .. }, Verb::Acquire) if request.token.is_some() => {
            Outcome::AskAcquireWriteFenced
        }
        (Kind::Write { .. }, Verb::Acquire) => Outcome::AskAcquireWrite,
        (Kind::Mutex, Verb::Release) => Outcome::AskRelease,
        (Kind::Read, Verb::Release) => Outcome::AskReleaseRead,
        (Kind::Write { .. }, Verb::Release) => Outcome::AskReleaseWrite,
        (Kind::Read, Verb::Extend { recreate: false }) => Outcome::AskExtendRead,
        (Kind::Read, Verb::Extend { recreate: true }) => Outcome::AskRecreateRead,
        (_, Verb::Extend { recreate: false }) => Outcome::AskExtend,
        (_, Verb::Extend { recreate: true }) => Outcome::AskRecreate,
        (_, Verb::Shorten) => Outcome::AskShorten,
        (Kind::Read, Verb::Owner) => Outcome::AskOwnerRead,
        (_, Verb::Owner) => Outcome::AskOwner,
        (_, Verb::Inspect) => Outcome::AskInspect,
        (_, Verb::Scan) => Outcome::AskScan,
    }
}

/// An event loop that has not turned for so long is woken up when its locks are extended.
const ASK_AFTER: Duration = Duration::from_millis(250);

struct Completion {
    call: u32,
    outcome: Outcome,
    number: f64,
    /// Length of its text in bytes.
    bytes: usize,
}

#[derive(Default)]
struct Queue {
    completions: Vec<Completion>,
    text: String,
    /// The event loop has been woken and has not drained yet.
    is_woken: bool,
}

impl Queue {
    fn add(
        &mut self,
        call: u32,
        outcome: Outcome,
        number: f64,
        write: impl FnOnce(&mut String) -> fmt::Result,
    ) {
        let before = self.text.len();
        // Writing to a String cannot fail.
        let _ = write(&mut self.text);
        let bytes = self.text.len() - before;
        self.completions.push(Completion { call, outcome, number, bytes });
    }
}

/// The completions for one environment.
pub struct Outbox {
    queue: Mutex<Queue>,
    /// When the locks that are kept alive are over, on the boot clock, by the number of the lease;
    /// 0 where there is none. The numbers are used again, and so are few.
    untils: Mutex<Vec<f64>>,
    /// When the event loop last turned, in milliseconds on the boot clock.
    last_turn: AtomicU64,
    wake: Wake,
}

impl Outbox {
    /// An empty outbox.
    pub fn new(wake: Wake) -> Self {
        let outbox = Self {
            queue: Mutex::default(),
            untils: Mutex::default(),
            last_turn: AtomicU64::new(0),
            wake,
        };
        outbox.turn();
        outbox
    }

    /// The event loop has just turned.
    pub fn turn(&self) {
        self.last_turn.store(clock::now().as_millis() as u64, Ordering::Relaxed);
    }

    /// When the event loop last turned. If that is a while ago it is asked to turn, to be sure.
    pub fn last_turn(&self, now: Duration) -> Duration {
        let last = Duration::from_millis(self.last_turn.load(Ordering::Relaxed));
        if now.saturating_sub(last) > ASK_AFTER {
            self.wake(self.lock());
        }
        last
    }

    /// The event loop is awake: it drains when it has run the engine.
    pub fn is_run(&self) {
        self.turn();
        self.lock().is_woken = true;
    }

    /// Wakes the event loop unless it is awake already.
    fn wake(&self, mut queue: MutexGuard<'_, Queue>) {
        let was_woken = mem::replace(&mut queue.is_woken, true);
        drop(queue);
        if !was_woken {
            (self.wake)();
        }
    }

    /// Queues what `write` adds to the text, and wakes the event loop unless it is awake already.
    pub fn push(
        &self,
        call: u32,
        outcome: Outcome,
        number: f64,
        write: impl FnOnce(&mut String) -> fmt::Result,
    ) {
        if call == NO_CALL {
            return;
        }
        let mut queue = self.lock();
        queue.add(call, outcome, number, write);
        self.wake(queue);
    }

    /// Queues a question to a pool of a client, and how long somebody waits for its answer.
    pub fn ask_pool(
        &self,
        (client, node): (u32, usize),
        is_cluster: bool,
        number: u32,
        asked: Asked<'_>,
        left: Duration,
    ) {
        let mut queue = self.lock();
        let value = asked.map_or("", |(_, request)| &request.value);
        queue.add(client, Outcome::ToPool, node as f64, |text| text.write_str(value));
        if let Some((verb, request)) = asked {
            let expiry = to_milliseconds(request.expiry);
            for key in request.keys.iter() {
                queue.add(client, Outcome::Key, expiry, |text| text.write_str(key));
            }
            for &what in sides(verb, request) {
                let (outcome, number) = match (what, request.kind) {
                    (FENCE, _) => (Outcome::FenceKey, request.token.map_or(0.0, as_number)),
                    (SIGN, Kind::Write { sign, renews: true }) => {
                        (Outcome::SignKey, -to_milliseconds(sign))
                    }
                    (SIGN, Kind::Write { sign, .. }) => (Outcome::SignKey, to_milliseconds(sign)),
                    (SIGN, _) => (Outcome::SignKey, 0.0),
                    _ => (Outcome::ReadersKey, 0.0),
                };
                for key in request.keys.iter() {
                    let key = side_key(key, what, is_cluster);
                    queue.add(client, outcome, number, |text| text.write_str(&key));
                }
            }
        }
        let deadline = to_milliseconds(clock::now() + left);
        queue.add(number, pool_question(asked), deadline, |_| Ok(()));
        self.wake(queue);
    }

    /// Fills `records` with completions after their count, and returns their texts in one string.
    /// To be called again as long as `records` was full.
    pub fn drain(&self, records: &mut [f64]) -> String {
        self.turn();
        let mut queue = self.lock();
        let size = crossing::Completion::Next as usize;
        let count = queue.completions.len().min((records.len() - 1) / size);
        records[0] = count as f64;
        let mut start = 0;
        for (completion, record) in
            queue.completions.iter().zip(records[1..].chunks_exact_mut(size))
        {
            let text = &queue.text[start..start + completion.bytes];
            start += completion.bytes;
            record[crossing::Completion::Call as usize] = completion.call.into();
            record[crossing::Completion::Outcome as usize] = completion.outcome.number().into();
            record[crossing::Completion::Number as usize] = completion.number;
            record[crossing::Completion::Text as usize] = utf16_length(text) as f64;
        }
        if count == queue.completions.len() {
            queue.is_woken = false;
            queue.completions.clear();
            return mem::take(&mut queue.text);
        }
        queue.completions.drain(..count);
        queue.text.drain(..start).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // What a panic could leave half-done here is one text too much; no reason to stop for ever.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn as_number(token: Token) -> f64 {
    token.get() as f64
}

/// JavaScript counts in UTF-16 units.
fn utf16_length(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

impl Outbox {
    pub fn held(&self, call: u32, held: Held) {
        let until = to_milliseconds(held.until);
        self.push(call, Outcome::Held, until, |text| text.write_str(&held.value));
    }

    pub fn done(&self, call: u32, result: bool) {
        self.push(call, Outcome::Done, f64::from(u8::from(result)), |_| Ok(()));
    }

    pub fn error(&self, call: u32, error: &Error) {
        let outcome = match error {
            Error::Failed { .. } => Outcome::Failed,
            Error::Taken { .. } => Outcome::Taken,
            Error::NotExtended { .. } => Outcome::NotExtended,
            Error::Expired { .. } => Outcome::Expired,
            Error::Refused => Outcome::Refused,
            Error::Cancelled => Outcome::Cancelled,
        };
        self.push(call, outcome, error.attempts() as f64, |text| write_votes(text, error.votes()));
    }

    /// What a call saw, if there is anything to tell.
    pub fn report(&self, call: u32, report: &Report) {
        if report.is_plain() {
            return;
        }
        self.push(call, Outcome::Report, report.attempts as f64, |text| {
            write!(text, "{}\t", report.waits)?;
            report.endless.iter().try_for_each(|node| write!(text, "{node} "))?;
            writeln!(text)?;
            write_votes(text, &report.votes)
        });
    }

    /// What the nodes store: state, milliseconds left ("" for ever), length of the value, code and
    /// message of an error.
    pub fn inspected(&self, call: u32, found: Vec<Result<Option<Found>, NodeError>>) {
        self.push(call, Outcome::Inspected, 0.0, |text| {
            for node in &found {
                match node {
                    Ok(Some(Found { value, remaining })) => {
                        let left = remaining.map(|left| to_milliseconds(left).to_string());
                        let left = left.unwrap_or_default();
                        writeln!(text, "held\t{left}\t{}\t\t", utf16_length(value))
                    }
                    Ok(None) => writeln!(text, "free\t\t0\t\t"),
                    Err(error) => {
                        writeln!(text, "unknown\t\t0\t{}\t{}", error.code, error.message)
                    }
                }?;
            }
            found.iter().flatten().flatten().try_for_each(|found| text.write_str(&found.value))
        });
    }

    /// Some of the keys of a node.
    pub fn page(&self, call: u32, Page { next, keys }: Page) {
        self.push(call, Outcome::Page, utf16_length(&next) as f64, |text| {
            text.push_str(&next);
            text.write_str(&keys)
        });
    }

    /// Why the lock of a lease is lost.
    pub fn lost(&self, lease: u32, why: Loss) {
        let until = self.until(lease);
        self.set_until(lease, None);
        self.push(lease, Outcome::Lost, until, |text| write!(text, "{}", why.number()));
    }

    /// A node of a client was connected to: what the server calls itself.
    pub fn logged_in(&self, (client, node): (u32, usize), run_id: &str) {
        self.push(client, Outcome::LoggedIn, node as f64, |text| text.write_str(run_id));
    }

    /// The lease has ended otherwise. It is news for a holder who did not end it himself. Else its number can
    /// be used again, which can wait until the event loop is woken for something else.
    pub fn ended(&self, lease: u32) {
        let is_news = self.take_until(lease) > 0.0;
        let mut queue = self.lock();
        queue.add(lease, Outcome::Ended, 0.0, |_| Ok(()));
        if is_news {
            self.wake(queue);
        }
    }

    /// When the lock of a lease is over, which is not asked any more: its holder has let it go.
    pub fn take_until(&self, lease: u32) -> f64 {
        let until = self.until(lease);
        self.set_until(lease, None);
        until
    }

    /// Notes when the lock of a lease is over; JavaScript reads it when it is asked.
    pub fn set_until(&self, lease: u32, until: Option<Duration>) {
        let mut untils = self.untils.lock().unwrap_or_else(PoisonError::into_inner);
        let lease = lease as usize;
        if lease >= untils.len() {
            untils.resize(lease + 1, 0.0);
        }
        untils[lease] = until.map_or(0.0, to_milliseconds);
    }

    /// When the lock of a lease is over, on the boot clock; 0 when the lease has ended.
    pub fn until(&self, lease: u32) -> f64 {
        let untils = self.untils.lock().unwrap_or_else(PoisonError::into_inner);
        untils.get(lease as usize).copied().unwrap_or_default()
    }

    pub fn health(&self, call: u32, health: Vec<Health>) {
        self.push(call, Outcome::Health, 0.0, |text| {
            for node in &health {
                let latency = node.latency.map(|latency| to_milliseconds(latency).to_string());
                let (code, message) = match &node.error {
                    Some(error) => (&*error.code, &*error.message),
                    None => ("", ""),
                };
                writeln!(
                    text,
                    "{}\t{}\t{}\t{}\t{}\t{code}\t{message}",
                    status_name(node.status),
                    latency.unwrap_or_default(),
                    node.server.as_deref().unwrap_or_default(),
                    node.watches.map_or("", |watches| if watches { "1" } else { "0" }),
                    node.uptime
                        .map(|uptime| to_milliseconds(uptime).to_string())
                        .unwrap_or_default(),
                )?;
            }
            Ok(())
        });
    }
}

/// The name that users know a status by.
fn status_name(status: Status) -> &'static str {
    match status {
        Status::Connecting => "connecting",
        Status::Up => "up",
        Status::Down => "down",
    }
}

/// One line for each node that did not grant, or was not waited for: index, kind, code, message. What
/// is denied says something about the key, and nothing about the node.
pub fn write_votes(text: &mut String, votes: &[Option<Vote>]) -> fmt::Result {
    votes.iter().enumerate().try_for_each(|(node, vote)| match vote {
        Some(Ok(Answer::Granted)) => Ok(()),
        None => writeln!(text, "{node}\tpending\t\t"),
        Some(Ok(Answer::Taken)) => writeln!(text, "{node}\ttaken\t\t"),
        Some(Ok(Answer::Absent)) => writeln!(text, "{node}\tabsent\t\t"),
        Some(Err(NodeError { code, message, fate })) => {
            let kind = if *fate == Fate::Denied { "denied" } else { "error" };
            writeln!(text, "{node}\t{kind}\t{code}\t{message}")
        }
    })
}

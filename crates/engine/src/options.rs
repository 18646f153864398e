//! What a mutex can be told. The values arrive checked: the facade refuses bad ones before any I/O.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use crate::error::Refused;
use crate::kind::Kind;

/// An answer of the caller's own function, which may take its time.
pub type Asked<T> = Pin<Box<dyn Future<Output = Result<T, Refused>>>>;

/// go-redsync's default pauses between two attempts: long enough for a short critical section, random so that two
/// contenders that have split the votes do not meet again.
pub(crate) const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The pause before the next attempt.
#[derive(Clone)]
pub enum Delay {
    /// Random in [50 ms, 250 ms), which is go-redsync's default.
    Random,
    /// Always the same.
    Fixed(Duration),
    /// The caller's function of the number of attempts made.
    Ask(Rc<dyn Fn(u64) -> Asked<Duration>>),
}

/// How long a writer's sign lasts at least.
const SHORTEST_SIGN: Duration = Duration::from_secs(1);

impl Delay {
    /// The sign of a writer lasts at least until his next attempt renews it. The pauses that are not fixed are shorter
    /// than its shortest life, or the caller's own affair. A writer who has crashed keeps nobody off for longer than his
    /// lock would have; one who waits for longer leaves another sign when he sees readers get in.
    pub fn life_of_sign(&self, expiry: Duration) -> Duration {
        match self {
            Self::Fixed(delay) => SHORTEST_SIGN.max(delay.saturating_mul(2).min(expiry)),
            Self::Random | Self::Ask(_) => SHORTEST_SIGN,
        }
    }
}

/// Where ownership values come from.
#[derive(Clone)]
pub enum ValueSource {
    /// 16 random bytes in base64.
    Random,
    /// The caller's function of the number of the attempt.
    Ask(Rc<dyn Fn(u64) -> Asked<String>>),
}

impl fmt::Debug for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random => f.write_str("Random"),
            Self::Fixed(delay) => write!(f, "Fixed({delay:?})"),
            Self::Ask(_) => f.write_str("Ask"),
        }
    }
}

impl fmt::Debug for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Random => "Random",
            Self::Ask(_) => "Ask",
        })
    }
}

/// The options of a mutex; the defaults are go-redsync's.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is locked: one holder at a time, or by another rule.
    pub kind: Kind,
    /// Each holder gets a [`Token`](crate::Token) that is greater than those of all before.
    pub fencing: bool,
    /// So many may hold it at once, at least 1: each has a permit, which is a lock of its own.
    pub permits: u16,
    /// Time to live of the lock on each node, in whole milliseconds.
    pub expiry: Duration,
    /// Attempts that `lock` makes; `u64::MAX` is "until it is there".
    pub tries: u64,
    /// For how long `lock` waits: then it makes its last attempt, however many tries are left. `Duration::MAX` is for
    /// ever.
    pub wait: Duration,
    /// The pause before the next attempt.
    pub delay: Delay,
    /// Share of the expiry given up to clock drift.
    pub drift_factor: f64,
    /// Share of the expiry that one round may wait for a node.
    pub timeout_factor: f64,
    /// Where ownership values come from.
    pub values: ValueSource,
    /// Return as soon as the quorum has decided.
    pub fail_fast: bool,
    /// Ask the nodes in random order.
    pub shuffle: bool,
    /// Let `extend` store the value again where the key has vanished.
    pub recreate_on_extend: bool,
    /// For how long a server may remember less than it has granted, after its start; none without.
    pub quarantine: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kind: Kind::default(),
            fencing: false,
            permits: 1,
            expiry: Duration::from_secs(8),
            tries: 32,
            wait: Duration::MAX,
            delay: Delay::Random,
            drift_factor: 0.01,
            timeout_factor: 0.05,
            values: ValueSource::Random,
            fail_fast: false,
            shuffle: false,
            recreate_on_extend: false,
            quarantine: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_sign_lasts_for_two_pauses_and_no_longer_than_the_lock() {
        let life = |delay: Delay| delay.life_of_sign(8 * SECOND);
        let fixed = |seconds| life(Delay::Fixed(seconds * SECOND));
        assert_eq!([0, 2, 5].map(fixed), [SECOND, 4 * SECOND, 8 * SECOND]);
        let ask = Delay::Ask(Rc::new(|_| Box::pin(ready(Err(Refused)))));
        assert_eq!([Delay::Random, ask].map(life), [SECOND; 2]);
    }

    #[test]
    fn functions_of_the_caller_are_shown_as_what_they_are() {
        let defaults = format!("{:?}", Options::default());
        assert!(defaults.contains("delay: Random") && defaults.contains("values: Random"));
        let delays = [Delay::Fixed(SECOND), Delay::Ask(Rc::new(|_| Box::pin(ready(Ok(SECOND)))))];
        assert_eq!(format!("{delays:?}"), "[Fixed(1s), Ask]");
        let values = ValueSource::Ask(Rc::new(|_| Box::pin(ready(Err(Refused)))));
        assert_eq!(format!("{values:?}"), "Ask");
    }
}

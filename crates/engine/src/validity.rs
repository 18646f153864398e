//! How long a lock is valid, and how long a node may take to answer.

use std::time::Duration;

/// Subtracted from every validity on top of the drift: nodes count expiry in whole milliseconds,
/// and may be one behind at both ends. (The Redlock document's `CLOCK_DRIFT` allowance of 2 ms.)
pub const CLOCK_GRANULARITY: Duration = Duration::from_millis(2);

/// What is given up because the clocks of the client and of the nodes do not run alike.
pub fn drift(expiry: Duration, drift_factor: f64) -> Duration {
    expiry.mul_f64(drift_factor) + CLOCK_GRANULARITY
}

/// When a lock that was asked for at `start` stops being valid.
///
/// Counted from *before* the first command was sent: every node that granted has stored the key
/// later than that, so none lets it expire earlier, clock drift aside. Counting from the reply
/// would promise the time that the commands spent on their way.
///
/// ```
/// use std::time::Duration;
/// let ms = Duration::from_millis;
/// assert_eq!(redsync_engine::until(ms(500), ms(1000), 0.01), ms(500 + 1000 - 10 - 2));
/// ```
pub fn until(start: Duration, expiry: Duration, drift_factor: f64) -> Duration {
    start + expiry.saturating_sub(drift(expiry, drift_factor))
}

/// What a key has to live so that others are kept off for so long, though the clock of the node may be fast. In whole
/// milliseconds.
///
/// The [`drift`] is a share of the life and not of the time.
pub fn rest(time: Duration, drift_factor: f64) -> Duration {
    let life = time.div_f64(1.0 - drift_factor) + CLOCK_GRANULARITY;
    Duration::from_millis(life.as_millis() as u64)
}

/// For how long a server has to be up before it votes on new locks, for it may have forgotten those that live
/// for `expiry`. A second more, for servers count their uptime in whole seconds, and may be one ahead.
pub fn quarantine(expiry: Duration, drift_factor: f64) -> Duration {
    expiry + expiry.mul_f64(drift_factor) + Duration::from_secs(1)
}

/// How long one round waits for a node.
///
/// A node that hangs must not use up the lock's validity before the others are heard.
pub fn node_timeout(expiry: Duration, timeout_factor: f64) -> Duration {
    expiry.mul_f64(timeout_factor)
}

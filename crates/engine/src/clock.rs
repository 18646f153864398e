//! Where the time comes from.

use std::time::Duration;

/// A clock that decides whether a lock is still valid.
///
/// It has to count the time in which the machine was suspended (`CLOCK_BOOTTIME` on Linux) and to
/// ignore changes of the wall clock. `std::time::Instant` stops during a suspend on most systems: a
/// lock that died while the laptop was closed would be reported as held.
pub trait Clock {
    /// Time since a zero of the clock's own choosing. Never goes back.
    fn now(&self) -> Duration;

    /// Time since 1970 as the machine knows it, which may be wrong and may jump. Fencing tokens are proposed by
    /// it; no promise rests on it.
    fn wall(&self) -> Duration;
}

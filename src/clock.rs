//! The clock that decides how long a lock is valid: it counts the time in which the machine sleeps.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use redsync_engine::Clock;

/// Time since boot, suspended time included, untouched by changes of the wall clock.
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Duration {
        now()
    }

    fn wall(&self) -> Duration {
        wall()
    }
}

/// A clock for tests: the boot clock, and whatever it was moved on by.
#[derive(Default)]
pub struct TestClock(Cell<Duration>);

impl TestClock {
    /// So far ahead of the boot clock, and never back.
    pub fn set(&self, ahead: Duration) {
        self.0.set(self.0.get().max(ahead));
    }
}

impl Clock for TestClock {
    fn now(&self) -> Duration {
        now() + self.0.get()
    }

    fn wall(&self) -> Duration {
        wall() + self.0.get()
    }
}

/// Since 1970; a clock that is set before that shows 1970.
fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Linux: `CLOCK_BOOTTIME`. (`CLOCK_MONOTONIC`, the clock of `Instant`, stops during a suspend.)
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn now() -> Duration {
    since_zero(rustix::time::clock_gettime(rustix::time::ClockId::Boottime))
}

/// macOS and the BSDs: `CLOCK_MONOTONIC`, which here goes on while the machine sleeps (`Instant`
/// reads `CLOCK_UPTIME_RAW`, which does not).
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
pub fn now() -> Duration {
    since_zero(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic))
}

#[cfg(unix)]
fn since_zero(time: rustix::time::Timespec) -> Duration {
    // A clock that counts from boot is never negative.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Windows: `Instant` reads `QueryPerformanceCounter`, which counts suspended time. WebAssembly: whatever clock the host
/// hands in.
#[cfg(any(windows, target_family = "wasm"))]
pub fn now() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;

    static ZERO: OnceLock<Instant> = OnceLock::new();
    ZERO.get_or_init(Instant::now).elapsed()
}

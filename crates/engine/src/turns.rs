//! Fairness between processes that want the same lock.
//!
//! The nodes tell nobody who else waits, so a process goes by what it sees: **after its turn it stands
//! back until as many others have had the lock as between its last two turns, or until the lock was
//! left free for a moment. Four times a second it stands back for one more, to find out whether there
//! is somebody who never gets it.**
//!
//! Where no node tells of changes it sees nothing of that. It knows of others only that they had the lock when
//! it asked. **Then it has the lock for a shift, and leaves it free for as long as others take to ask again.**

use std::time::Duration;

use crate::time::Instant;

/// From one turn that leaves room for a stranger to the next.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// From the first turn after others had the lock to the one that leaves it to them, where no node tells.
const SHIFT: Duration = Duration::from_millis(100);

/// Others who had the lock are reckoned with for so long, where no node tells.
const MEMORY: Duration = Duration::from_secs(2);

/// More processes than this are not waited for.
const MAX_OTHERS: u32 = 64;

/// Whose turn it is, as far as this process can see.
#[derive(Default)]
pub(crate) struct Turns {
    /// How many others want the lock, as far as is known.
    others: u32,
    /// How many turns of others were seen since our own.
    seen: u32,
    /// Leaves room for one more than is known.
    is_probing: bool,
    /// When to leave room again. `None` before the first turn.
    next_probe: Option<Instant>,
    /// Nobody came while it stood back.
    is_excused: bool,
    /// When others were last found to have the lock, without being told.
    found: Option<Instant>,
}

impl Turns {
    /// The lock went to somebody else.
    pub(crate) fn another(&mut self) {
        self.seen += 1;
    }

    /// The lock came to this process.
    pub(crate) fn own(&mut self, now: Instant) {
        // One more may be the same one again, who came twice because this process was slow.
        let are_more = self.seen > self.others + u32::from(!self.is_probing);
        let found_one = are_more && self.is_probing;
        if are_more || self.others == 0 && self.seen > 0 {
            // One at a time: who had to wait for long need not let as many go first.
            self.others = MAX_OTHERS.min(self.others + 1);
        }
        let next_probe = *self.next_probe.get_or_insert(now + PROBE_INTERVAL);
        // Where there was one stranger there may be another.
        self.is_probing = found_one || now >= next_probe;
        if self.is_probing {
            self.next_probe = Some(now + PROBE_INTERVAL);
        }
        self.seen = 0;
        self.is_excused = false;
    }

    /// Others were found to have the lock, by asking for it.
    pub(crate) fn found_taken(&mut self, now: Instant) {
        self.found = Some(now);
    }

    /// Those who were found were this process itself.
    pub(crate) fn found_ourselves(&mut self) {
        self.found = None;
    }

    /// Were others found to have the lock lately?
    pub(crate) fn has_found_others(&self, now: Instant) -> bool {
        self.found.is_some_and(|found| now < found + MEMORY)
    }

    /// The lock came to this process, and no node tells of the turns of others.
    pub(crate) fn own_untold(&mut self, now: Instant) {
        let interval = if self.has_found_others(now) { SHIFT } else { PROBE_INTERVAL };
        let end = *self.next_probe.get_or_insert(now + interval);
        self.is_probing = now >= end;
        if self.is_probing {
            self.next_probe = None;
        }
        (self.others, self.seen) = (0, 0);
        self.is_excused = false;
    }

    /// The lock was left free for a moment, and nobody came.
    pub(crate) fn nobody_came(&mut self) {
        if !self.is_probing {
            self.others = self.others.saturating_sub(1);
        }
        self.is_excused = true;
    }

    /// May this process ask?
    pub(crate) fn is_our_turn(&self) -> bool {
        self.is_excused || self.seen >= self.others + u32::from(self.is_probing)
    }
}

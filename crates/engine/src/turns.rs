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

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// So many turns of others were seen, and then our own.
    fn turn(turns: &mut Turns, others: u32, now: Instant) {
        (0..others).for_each(|_| turns.another());
        turns.own(now);
    }

    /// So many others go first.
    fn others(turns: &Turns) -> u32 {
        let seen = |seen| Turns { seen, is_excused: false, ..*turns };
        (0..).find(|&count| seen(count).is_our_turn()).expect("a number")
    }

    #[test]
    fn as_many_go_first_as_between_the_last_two_turns_but_one_more_at_a_time() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        assert!(turns.is_our_turn());
        // One more than before may be the same one again.
        for (seen, expected) in [(0, 0), (1, 1), (1, 1), (2, 1), (3, 2), (9, 3), (1, 3)] {
            turn(&mut turns, seen, now);
            assert_eq!(others(&turns), expected, "{seen}");
            assert_eq!(turns.is_our_turn(), expected == 0, "those who came before do not count");
        }
        turns.nobody_came();
        assert!(turns.is_our_turn());
        turn(&mut turns, 0, now);
        assert_eq!(others(&turns), 2, "one less");
    }

    #[test]
    fn four_times_a_second_one_more_goes_first_and_is_counted_if_he_comes() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        turn(&mut turns, 1, start);
        turn(&mut turns, 1, start + PROBE_INTERVAL - MS);
        assert_eq!(others(&turns), 1);
        turn(&mut turns, 1, start + PROBE_INTERVAL);
        assert_eq!(others(&turns), 1 + 1, "who may be there");
        turns.nobody_came();
        turn(&mut turns, 1, start + PROBE_INTERVAL + MS);
        assert_eq!(others(&turns), 1, "he was not, and the other one still is");
        turn(&mut turns, 1, start + 2 * PROBE_INTERVAL);
        turn(&mut turns, 2, start + 2 * PROBE_INTERVAL + MS);
        assert_eq!(others(&turns), 2 + 1, "he was; and there may be another");
    }

    #[test]
    fn where_no_node_tells_the_lock_is_had_for_a_shift_and_then_left_to_others() {
        let start = Instant::now();
        for (is_found, shift) in [(true, SHIFT), (false, PROBE_INTERVAL)] {
            let mut turns = Turns::default();
            turn(&mut turns, 1, start);
            turns.next_probe = None;
            if is_found {
                turns.found_taken(start);
            }
            turns.own_untold(start);
            assert_eq!(others(&turns), 0, "nothing is known of them");
            turns.own_untold(start + shift - MS);
            assert_eq!(others(&turns), 0);
            turns.own_untold(start + shift);
            assert_eq!(others(&turns), 1, "it is left to them");
            assert!(!turns.has_found_others(start + MEMORY));
            assert_eq!(turns.has_found_others(start + MEMORY - MS), is_found);
        }
    }
}

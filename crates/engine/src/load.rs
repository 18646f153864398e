//! How much is under way: for who drives the engine.

use std::cell::Cell;

use tokio::sync::Notify;

/// The rounds that are under way, of all sets of nodes that share it.
#[derive(Default)]
pub struct Load {
    rounds: Cell<usize>,
    phase: Cell<u64>,
    turned: Notify,
}

impl Load {
    /// Rounds under way.
    pub fn rounds(&self) -> usize {
        self.rounds.get()
    }

    /// The number of the phase: another one begins with a round where none was under way, and another
    /// when the last of them ends.
    pub fn phase(&self) -> u64 {
        self.phase.get()
    }

    /// Waits until this phase is over.
    pub async fn end_of(&self, phase: u64) {
        while self.phase.get() == phase {
            self.turned.notified().await;
        }
    }

    pub(crate) fn set(&self, rounds: usize) {
        let before = self.rounds.replace(rounds);
        if (before == 0) != (rounds == 0) {
            self.phase.set(self.phase.get() + 1);
            self.turned.notify_one();
        }
    }
}

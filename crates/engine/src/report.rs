//! What a call saw, for those who watch from outside.

use crate::vote::{Answer, Vote};

/// What a call saw on its way. That of a call that failed has no votes: its error has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Attempts to acquire.
    pub attempts: u64,
    /// How often the call waited before it tried again.
    pub waits: u64,
    /// The nodes that were seen to store a key without an expiry, while the call waited: nothing ends that.
    pub endless: Vec<usize>,
    /// The votes of the round that succeeded, node by node.
    pub votes: Vec<Option<Vote>>,
}

impl Report {
    /// The first attempt it was, and every node has granted: nothing to tell.
    pub fn is_plain(&self) -> bool {
        self.attempts <= 1
            && self.waits == 0
            && self.votes.iter().all(|vote| matches!(vote, Some(Ok(Answer::Granted))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_attempt_is_something_to_tell_and_so_is_a_pause() {
        let granted = Report { votes: vec![Some(Ok(Answer::Granted))], ..Report::default() };
        for (attempts, waits, is_plain) in
            [(0, 0, true), (1, 0, true), (2, 0, false), (1, 1, false)]
        {
            assert_eq!(Report { attempts, waits, ..granted.clone() }.is_plain(), is_plain);
        }
    }
}

//! Why a call failed.

use std::fmt;

use crate::vote::{Answer, Vote};

/// The caller's own function (for a delay or a value) refused: the call ends with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// Why a call failed. `votes` has one entry a node; `None` is a node whose answer was not awaited,
/// because the others had decided (fail-fast).
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// No quorum. (go-redsync's `ErrFailed`)
    Failed {
        /// The last attempt's votes.
        votes: Vec<Option<Vote>>,
        /// How many attempts were made.
        attempts: u64,
    },
    /// A quorum of nodes hold the lock for somebody else. (`ErrTaken`)
    Taken {
        /// The last attempt's votes.
        votes: Vec<Option<Vote>>,
        /// How many attempts were made.
        attempts: u64,
    },
    /// The lock had expired: too few nodes still have it. (`ErrLockAlreadyExpired`)
    Expired {
        /// The votes of the release.
        votes: Vec<Option<Vote>>,
    },
    /// No quorum has re-armed the expiry. (`ErrExtendFailed`)
    NotExtended {
        /// The votes of the extension.
        votes: Vec<Option<Vote>>,
    },
    /// The caller's own function for a delay or a value refused.
    Refused,
    /// The call was cancelled; what it had acquired has been released.
    Cancelled,
}

impl Error {
    /// The error of an acquisition without a quorum.
    pub(crate) fn not_acquired(taken: bool, votes: Vec<Option<Vote>>, attempts: u64) -> Self {
        if taken { Self::Taken { votes, attempts } } else { Self::Failed { votes, attempts } }
    }

    /// The last round's votes, node by node; empty where no node was asked.
    pub fn votes(&self) -> &[Option<Vote>] {
        match self {
            Self::Failed { votes, .. }
            | Self::Taken { votes, .. }
            | Self::Expired { votes }
            | Self::NotExtended { votes } => votes,
            Self::Refused | Self::Cancelled => &[],
        }
    }

    /// How many attempts were made.
    pub fn attempts(&self) -> u64 {
        match self {
            Self::Failed { attempts, .. } | Self::Taken { attempts, .. } => *attempts,
            Self::Expired { .. } | Self::NotExtended { .. } => 1,
            Self::Refused | Self::Cancelled => 0,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed { .. } => "no quorum",
            Self::Taken { .. } => "a quorum of nodes hold the lock for somebody else",
            Self::Expired { .. } => "the lock had already expired",
            Self::NotExtended { .. } => "no quorum has extended the lock",
            Self::Refused => "the caller's function refused",
            Self::Cancelled => "cancelled",
        })?;
        for (node, vote) in self.votes().iter().enumerate() {
            match vote {
                None | Some(Ok(Answer::Granted)) => {}
                Some(Ok(Answer::Taken)) => write!(f, "; node {node}: taken")?,
                Some(Ok(Answer::Absent)) => write!(f, "; node {node}: absent")?,
                Some(Err(error)) => write!(f, "; node {node}: {error}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

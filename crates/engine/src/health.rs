//! Is a quorum there?

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::error::Error;
use crate::node::{Health, Node, Status};
use crate::redsync::Redsync;
use crate::time::{Instant, sleep, timeout};
use crate::vote::{Answer, NodeError};

/// Pause between two looks while waiting for a quorum to come up.
const READY_INTERVAL: Duration = Duration::from_millis(50);

/// How long one look may take: a node that hangs may have been replaced by one that does not.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// How a node is, and whether it could be watched, found out one after the other.
async fn examine(node: Rc<dyn Node>, limit: Duration) -> Health {
    let deadline = Instant::now() + limit;
    let mut health = node.health(limit).await;
    if health.status == Status::Up {
        let left = deadline.saturating_duration_since(Instant::now());
        health.watches = node.watches(left).await;
    }
    health
}

impl Redsync {
    /// Asks every node how it is, each for at most `limit`.
    pub async fn health(&self, limit: Duration) -> Vec<Health> {
        let asked: Vec<_> = self
            .nodes
            .members()
            .iter()
            .map(|node| tokio::task::spawn_local(examine(node.clone(), limit)))
            .collect();
        let mut all = Vec::with_capacity(asked.len());
        for node in asked {
            all.push(node.await.unwrap_or_else(|_| Health::down(NodeError::closed())));
        }
        all
    }

    /// Resolves once a quorum is up.
    ///
    /// # Errors
    /// [`Error::Failed`] when it is not within `limit`, with the reason of each node that is down.
    pub async fn ready(&self, limit: Duration) -> Result<(), Error> {
        let votes = Rc::new(RefCell::new(vec![
            Some(Err(NodeError::timed_out()));
            self.nodes.quorum().size()
        ]));
        let mut coming_up = JoinSet::new();
        for (index, node) in self.nodes.members().iter().cloned().enumerate() {
            let votes = votes.clone();
            coming_up.spawn_local(async move {
                loop {
                    let health = node.health(limit.min(LONGEST_LOOK)).await;
                    if health.status == Status::Up {
                        votes.borrow_mut()[index] = Some(Ok(Answer::Granted));
                        return;
                    }
                    if let Some(error) = health.error {
                        votes.borrow_mut()[index] = Some(Err(error));
                    }
                    sleep(READY_INTERVAL).await;
                }
            });
        }
        let quorum_is_up = async {
            for _ in 0..self.nodes.quorum().needed() {
                coming_up.join_next().await;
            }
        };
        timeout(limit, quorum_is_up)
            .await
            .map_err(|_| Error::Failed { votes: votes.take(), attempts: 1 })
    }
}

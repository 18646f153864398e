//! Who holds a lock, node by node? For people who look; nothing is decided by it.

use std::rc::Rc;
use std::time::Duration;

use crate::kind::Kind;
use crate::node::{Request, Verb};
use crate::redsync::Redsync;
use crate::round::Round;
use crate::value::Value;
use crate::vote::{Detail, Found, NodeError};

impl Redsync {
    /// What each node stores under a key: `None` where nothing is. Each is waited for until `limit`.
    pub async fn inspect(
        &self,
        key: &str,
        limit: Duration,
    ) -> Vec<Result<Option<Found>, NodeError>> {
        let request = Rc::new(Request {
            kind: Kind::default(),
            permits: 1,
            keys: Rc::from([key.into()]),
            value: Value::from(""),
            token: None,
            expiry: Duration::ZERO,
            timeout: limit,
            quarantine: Duration::ZERO,
        });
        let round =
            Round::ask(&self.nodes, Verb::Inspect, &request, self.nodes.order(false), false);
        let mut votes = round.votes().await;
        let details = votes.take_details();
        let mut all: Vec<_> = votes
            .into_inner()
            .into_iter()
            .map(|vote| vote.unwrap_or_else(|| Err(NodeError::timed_out())).map(|_| None))
            .collect();
        for (node, detail) in details {
            // One that did not vote in time has an error, and keeps it.
            if let (Ok(nothing), Detail::Found(found)) = (&mut all[node], detail) {
                *nothing = Some(found);
            }
        }
        all
    }
}

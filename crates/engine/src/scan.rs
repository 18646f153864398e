//! Which keys may be locks? One node at a time, and one page. For people who look; nothing is decided by it.

use std::rc::Rc;
use std::time::Duration;

use crate::error::Error;
use crate::kind::Kind;
use crate::node::{Request, Verb};
use crate::redsync::Redsync;
use crate::round::Round;
use crate::value::Value;
use crate::vote::{Detail, Page};

impl Redsync {
    /// The page of a node that begins where another has ended; the first one for `""`. It is waited for until `limit`.
    ///
    /// # Errors
    /// [`Error::Failed`] with the reason of the node.
    pub async fn scan(
        &self,
        node: usize,
        pattern: &str,
        from: &str,
        limit: Duration,
    ) -> Result<Page, Error> {
        let request = Rc::new(Request {
            kind: Kind::default(),
            permits: 1,
            keys: Rc::from([pattern.into()]),
            value: Value::from(from),
            token: None,
            expiry: Duration::ZERO,
            timeout: limit,
            quarantine: Duration::ZERO,
        });
        let asked: Vec<_> = self.nodes.order(false).into_iter().filter(|it| *it == node).collect();
        let mut votes = Round::ask(&self.nodes, Verb::Scan, &request, asked, false).votes().await;
        match votes.take_details().pop() {
            // One that did not vote in time has an error, and keeps it.
            Some((_, Detail::Page(page))) if votes.granted_by(node) => Ok(page),
            _ => Err(Error::Failed { votes: votes.into_inner(), attempts: 1 }),
        }
    }
}

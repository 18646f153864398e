//! Releases that outlive the call they belong to: no attempt leaves a key behind on a node that can
//! be reached, whether it failed, was cancelled or timed out.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

use crate::node::{Request, Verb};
use crate::nodes::{Busy, Nodes};
use crate::round::Round;

/// The first pause before a node that did not answer is asked again; doubled from then on.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// Releases `request` on these nodes, and asks those that do not answer again until they do or the
/// key has expired there by itself.
///
/// It never depends on the caller (go-redsync releases on the caller's context, and leaves the keys
/// of a cancelled call to their expiry). The commands are on their way when this returns; the handle
/// resolves when each node has been asked once, and dropping it stops nothing.
pub(crate) fn release(
    nodes: &Rc<Nodes>,
    request: &Rc<Request>,
    holders: Vec<usize>,
) -> Option<JoinHandle<()>> {
    if holders.is_empty() {
        return None;
    }
    let busy = nodes.busy();
    let round = Round::ask(nodes, Verb::Release, request, holders, false);
    let (nodes, request) = (nodes.clone(), request.clone());
    Some(spawn_local(async move {
        let missed = round.votes().await.unanswered();
        if !missed.is_empty() {
            spawn_local(insist(nodes, request, missed, busy));
        }
    }))
}

/// Asks again and again.
async fn insist(
    nodes: Rc<Nodes>,
    request: Rc<Request>,
    mut holders: Vec<usize>,
    _until_done: Busy,
) {
    let expired_by_itself = nodes.now() + request.expiry;
    let mut pause = FIRST_PAUSE;
    while !nodes.is_closing() && nodes.now() < expired_by_itself {
        sleep(pause).await;
        pause = LAST_PAUSE.min(pause * 2);
        let round = Round::ask(&nodes, Verb::Release, &request, holders, false);
        holders = round.votes().await.unanswered();
        if holders.is_empty() {
            return;
        }
    }
}

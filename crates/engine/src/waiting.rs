//! The pause between two attempts.

use std::time::Duration;

use crate::error::Refused;
use crate::nodes::Nodes;
use crate::options::Delay;

/// go-redsync's default: long enough for a short critical section, random so that two contenders
/// that have split the votes do not meet again.
const RANDOM_FROM: Duration = Duration::from_millis(50);
const RANDOM_TO: Duration = Duration::from_millis(250);

/// How long to wait after that many attempts.
pub(crate) async fn pause(
    nodes: &Nodes,
    delay: &Delay,
    attempts: u64,
) -> Result<Duration, Refused> {
    match delay {
        Delay::Random => Ok(nodes.random_duration(RANDOM_FROM, RANDOM_TO)),
        Delay::Fixed(delay) => Ok(*delay),
        Delay::Ask(ask) => ask(attempts).await,
    }
}

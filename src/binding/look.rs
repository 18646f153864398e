//! Looking for work a little longer before the thread goes to sleep.

use std::rc::Rc;
use std::time::{Duration, Instant};

use redsync_engine::Load;
use tokio::task::yield_now;

/// How long to look after the last round began or ended. To be woken costs a thread about as much on
/// a virtual machine, and a local server answers sooner.
const LOOK: Duration = Duration::from_micros(50);

/// With more rounds than this under way there is something to do anyway, and the processor is better
/// left to the servers and to JavaScript.
const FEW: usize = 4;

/// Keeps the runtime polling, instead of parked, for a moment after each sign of life.
pub async fn look_for_work(load: Rc<Load>) {
    loop {
        load.first().await;
        let mut seen = load.turns();
        let mut since = Instant::now();
        while load.rounds() <= FEW && since.elapsed() < LOOK {
            // Polls the sockets and the messages once, without waiting.
            yield_now().await;
            if load.turns() != seen {
                seen = load.turns();
                since = Instant::now();
            }
        }
    }
}

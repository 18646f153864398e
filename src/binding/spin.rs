//! Spinning for a little while before the thread parks.

use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use redsync_engine::Load;
use tokio::task::yield_now;

/// How long to spin at most. Three servers on the same machine answer sooner, those farther away do
/// not; and on a virtual machine to be woken takes a thread about half of this.
const LONGEST: Duration = Duration::from_micros(150);

/// Keeps the runtime polling, instead of parked, while what comes next is near: the servers' answers
/// or JavaScript's next call. Each takes about as long as it took the last time, so the thread does not
/// spin for a far server, a caller who comes now and then, or the end of a burst.
pub async fn spin(load: Rc<Load>) {
    let mut durations = [Duration::ZERO; 2];
    loop {
        let (phase, start) = (load.phase(), Instant::now());
        let duration = &mut durations[usize::from(load.rounds() > 0)];
        while *duration < LONGEST && start.elapsed() < LONGEST && load.phase() == phase {
            // A server, or JavaScript, may be waiting for this very processor.
            thread::yield_now();
            // Polls the sockets and the messages once, without waiting.
            yield_now().await;
        }
        load.end_of(phase).await;
        *duration = start.elapsed();
    }
}

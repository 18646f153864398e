//! Closing: what is behind the callers' backs is waited for, too.

use std::rc::Rc;

use redsync_engine::{CancellationToken, Delay, Error, Options, Verb};
use tokio::time::sleep;

use crate::support::{Behaviour, SLOW, World, timed, tries};

#[tokio::test(flavor = "local", start_paused = true)]
async fn close_waits_for_the_releases_of_attempts_that_were_given_up() {
    let world = Rc::new(World::of(&[Behaviour::Ok, Behaviour::Taken, Behaviour::Taken]));
    world.scripted[0].release_like(Behaviour::Far(SLOW));
    let cancel = CancellationToken::new();
    let options = Options { delay: Delay::Fixed(10 * SLOW), ..tries(2) };
    let mutex = world.mutex(options);
    let waiting = async { mutex.lock(&cancel).await };
    let closing = async {
        // The first attempt has failed, and its release is on its way to node 0.
        sleep(SLOW / 2).await;
        cancel.cancel();
        let ((), elapsed) = timed(world.redsync.close()).await;
        assert_eq!(elapsed, SLOW / 2, "until it has arrived");
        assert_eq!(world.stored()[0], None);
        assert!(world.scripted.iter().all(|node| node.is_closed.get()));
    };
    let (outcome, ()) = tokio::join!(waiting, closing);
    assert_eq!(outcome, Err(Error::Cancelled));
    assert_eq!(world.asked(Verb::Release).len(), 1);
}

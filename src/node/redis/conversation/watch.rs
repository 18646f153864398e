//! What a watch asks, and what it makes of the answers.

#![cfg(test)]

use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{CancellationToken, Delay, Error, Held, Kind, Options, Redsync};
use tokio::task::{JoinHandle, spawn_local, yield_now};
use tokio::time::{Instant, sleep};

use super::super::RedisNode;
use super::super::fuzz::link_to_nowhere;
use super::super::stream::DEAD_AFTER;
use super::super::watch::{End, Watch, Watched};
use super::{Server, connected, done, invalidation, mutex, on_a_paused_clock, over, serve};

/// A caller who asks again when the server tells something, and not for any other reason for so long.
const HOUR: Duration = Duration::from_secs(3600);

struct Scene {
    redsync: Rc<Redsync>,
    server: Server,
    /// The server's end of the watch.
    teller: Server,
    served: JoinHandle<Result<(), End>>,
}

impl Scene {
    /// A caller whom the server has told that somebody has the lock.
    async fn waits_for(&mut self, names: &[&str]) -> JoinHandle<Result<Held, Error>> {
        self.waits_as(Kind::Mutex, names).await
    }

    async fn waits_as(&mut self, kind: Kind, names: &[&str]) -> JoinHandle<Result<Held, Error>> {
        let options = Options { kind, delay: Delay::Fixed(HOUR), ..Options::default() };
        let mutex = mutex(&self.redsync, names, options);
        let call = spawn_local(async move { mutex.lock(&CancellationToken::new()).await });
        let is_script = self.server.hears().await.starts_with("EVAL");
        self.server.says(if is_script { ":0\r\n" } else { "_\r\n" }).await;
        call
    }

    /// The server tells of changes from here on.
    async fn tells(&mut self) {
        self.teller.answers("HELLO 3", "%0\r\n").await;
        self.teller.answers("CLIENT TRACKING ON", "+OK\r\n").await;
    }

    /// The server tells that these keys have changed.
    async fn tells_of(&mut self, names: &[&str]) {
        self.teller.says(&invalidation(names)).await;
    }

    /// The caller asks once more, at that time, and has the lock.
    async fn is_granted_at(&mut self, time: Instant, call: JoinHandle<Result<Held, Error>>) {
        let is_script = self.server.hears().await.starts_with("EVAL");
        assert_eq!(Instant::now(), time);
        self.server.says(if is_script { ":1\r\n" } else { "+OK\r\n" }).await;
        done(call).await;
    }

    /// Until the watch gives the connection up, which the server does not.
    async fn end(mut self) -> End {
        (&mut self.served).await.expect("no panic").expect_err("an end")
    }
}

fn play(test: impl AsyncFnOnce(Scene)) {
    on_a_paused_clock(async || {
        let link = link_to_nowhere();
        let watch = Watch::new(link.clone());
        let (connection, server) = connected(None);
        let (watching, teller) = connected(None);
        serve(&link, connection);
        let served = spawn_local({
            let watch = watch.clone();
            async move { watch.serve(watching, &mut Watched::default()).await }
        });
        yield_now().await;
        let redsync = over(vec![RedisNode::Server(link.clone(), watch)]);
        test(Scene { redsync, server, teller, served }).await;
    });
}

#[test]
fn whoever_waits_asks_again_when_the_server_tells_of_his_key() {
    play(async |mut scene| {
        scene.tells().await;
        let call = scene.waits_for(&["a"]).await;
        let other = scene.waits_for(&["b"]).await;
        scene.teller.answers("PTTL a", ":60000\r\n").await;
        scene.teller.answers("PTTL b", ":60000\r\n").await;
        let time = Instant::now() + Duration::from_secs(20);
        sleep(Duration::from_secs(20)).await;
        scene.teller.says(">2\r\n$7\r\nmessage\r\n*1\r\n$1\r\nb\r\n").await;
        scene.tells_of(&["c", "a"]).await;
        scene.is_granted_at(time, call).await;
        scene.server.hears_nothing().await;
        scene.tells_of(&["b"]).await;
        scene.is_granted_at(Instant::now(), other).await;
    });
}

#[test]
fn a_server_that_has_forgotten_all_tells_of_all() {
    play(async |mut scene| {
        scene.tells().await;
        let call = scene.waits_for(&["a"]).await;
        scene.teller.answers("PTTL a", ":60000\r\n").await;
        scene.server.hears_nothing().await;
        scene.teller.says(">2\r\n$10\r\ninvalidate\r\n_\r\n").await;
        scene.is_granted_at(Instant::now(), call).await;
    });
}

#[test]
fn whoever_waits_asks_again_when_the_longest_life_of_his_keys_is_over() {
    for (lives, seconds) in [
        ([":20000", ":30000"], 30),
        ([":30000", ":20000"], 30),
        ([":-2", ":20000"], 20),
        ([":20000", ":-2"], 20),
        ([":-2", ":-2"], 0),
    ] {
        play(async |mut scene| {
            scene.tells().await;
            let time = Instant::now() + Duration::from_secs(seconds);
            let call = scene.waits_for(&["a", "b"]).await;
            scene.teller.answers("PTTL a", &format!("{}\r\n", lives[0])).await;
            assert_eq!(scene.teller.hears().await, "PTTL b");
            scene.server.hears_nothing_for(Duration::ZERO).await;
            scene.teller.says(&format!("{}\r\n", lives[1])).await;
            scene.is_granted_at(time, call).await;
        });
    }
}

#[test]
fn a_key_that_never_ends_is_waited_for_until_the_server_tells() {
    for lives in [[":-1", ":20000"], [":20000", ":-1"], [":-1", ":-2"]] {
        play(async |mut scene| {
            scene.tells().await;
            let call = scene.waits_for(&["a", "b"]).await;
            scene.teller.answers("PTTL a", &format!("{}\r\n", lives[0])).await;
            scene.teller.answers("PTTL b", &format!("{}\r\n", lives[1])).await;
            scene.server.hears_nothing_for(HOUR / 2).await;
            scene.tells_of(&["b"]).await;
            scene.is_granted_at(Instant::now(), call).await;
        });
    }
}

#[test]
fn a_reader_waits_for_writers_and_their_signs() {
    play(async |mut scene| {
        scene.tells().await;
        let first = scene.waits_as(Kind::Read, &["a"]).await;
        scene.teller.answers("EVAL watchRead 2 a a:sign", ":20000\r\n").await;
        let second = scene.waits_as(Kind::Read, &["b"]).await;
        scene.teller.answers("EVALSHA watchRead 2 b b:sign", ":20000\r\n").await;
        scene.server.hears_nothing().await;
        scene.tells_of(&["a"]).await;
        scene.is_granted_at(Instant::now(), first).await;
        scene.tells_of(&["b:sign"]).await;
        scene.is_granted_at(Instant::now(), second).await;
    });
}

#[test]
fn what_nobody_waits_for_any_more_is_not_looked_at() {
    play(async |mut scene| {
        let call = scene.waits_for(&["a"]).await;
        let other = scene.waits_for(&["b"]).await;
        yield_now().await;
        call.abort();
        scene.tells().await;
        scene.teller.answers("PTTL b", ":20000\r\n").await;
        scene.tells_of(&["b"]).await;
        scene.is_granted_at(Instant::now(), other).await;
        scene.teller.hears_nothing().await;
    });
}

#[test]
fn no_more_is_looked_at_than_the_server_has_answered() {
    play(async |mut scene| {
        scene.tells().await;
        let names: Vec<_> = (0..1100).map(|i| format!("name-{i}")).collect();
        for name in &names {
            scene.waits_for(&[name]).await;
        }
        for name in &names[..1024] {
            assert_eq!(scene.teller.hears().await, format!("PTTL {name}"));
        }
        scene.teller.hears_nothing_for(DEAD_AFTER / 2).await;
        scene.teller.says(":60000\r\n").await;
        assert_eq!(scene.teller.hears().await, format!("PTTL {}", names[1024]));
        scene.teller.hears_nothing_for(DEAD_AFTER / 2).await;
    });
}

#[test]
fn a_server_that_owes_an_answer_is_given_up_after_its_time_and_no_earlier() {
    play(async |mut scene| {
        scene.tells().await;
        // Who owes nothing may be silent for ever.
        sleep(10 * DEAD_AFTER).await;
        let _call = scene.waits_for(&["a"]).await;
        assert_eq!(scene.teller.hears().await, "PTTL a");
        let start = Instant::now();
        sleep(DEAD_AFTER / 2).await;
        // A sign of life.
        scene.tells_of(&["b"]).await;
        assert_eq!(scene.end().await, End::Lost);
        assert_eq!(start.elapsed(), DEAD_AFTER / 2 + DEAD_AFTER);
    });
}

#[test]
fn a_server_that_does_not_greet_is_given_up_after_its_time() {
    play(async |mut scene| {
        assert_eq!(scene.teller.hears().await, "HELLO 3");
        let start = Instant::now();
        assert_eq!(scene.end().await, End::Lost);
        assert_eq!(start.elapsed(), DEAD_AFTER);
    });
}

#[test]
fn a_server_that_cannot_tell_or_may_not_is_left() {
    for greeting in ["-ERR unknown command\r\n+OK\r\n", "%0\r\n-NOPERM no\r\n"] {
        play(async |mut scene| {
            scene.teller.says(greeting).await;
            assert_eq!(scene.end().await, End::Refused);
        });
    }
    for (reply, end) in [
        ("-NOPERM no PTTL\r\n", End::Refused),
        ("-NOSCRIPT no\r\n", End::Lost),
        ("+PONG\r\n", End::Lost),
    ] {
        play(async |mut scene| {
            scene.tells().await;
            let _call = scene.waits_for(&["a"]).await;
            scene.teller.answers("PTTL a", reply).await;
            assert_eq!(scene.end().await, end);
        });
    }
    // An answer to nothing.
    play(async |mut scene| {
        scene.tells().await;
        scene.teller.says(":1\r\n").await;
        assert_eq!(scene.end().await, End::Lost);
    });
}

#[test]
fn what_another_server_has_is_not_waited_for_here() {
    for replies in [["-MOVED 1 b:1", ":20000"], [":20000", "-MOVED 1 b:1"]] {
        play(async |mut scene| {
            scene.tells().await;
            let call = scene.waits_for(&["a", "b"]).await;
            scene.teller.answers("PTTL a", &format!("{}\r\n", replies[0])).await;
            scene.teller.answers("PTTL b", &format!("{}\r\n", replies[1])).await;
            scene.tells_of(&["a", "b"]).await;
            scene.server.hears_nothing_for(HOUR / 2).await;
            call.abort();
        });
    }
}

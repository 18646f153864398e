//! What a cluster asks its servers, and what it makes of the answers.

#![cfg(test)]

use std::rc::Rc;

use redsync_engine::{Options, Redsync};
use tokio::task::yield_now;
use tokio::time::Instant;

use super::super::RedisNode;
use super::super::address::Endpoint;
use super::super::cluster::Cluster;
use super::super::fuzz::open_to_all;
use super::{
    PATIENCE, Server, connected, done, extend, lock, on_a_paused_clock, refused, serve, unlock,
};

struct Scene {
    redsync: Rc<Redsync>,
    /// Those of `a:1`, `a:2` and `b:1`.
    servers: [Server; 3],
}

fn play(test: impl AsyncFnOnce(Scene)) {
    on_a_paused_clock(async || {
        let at = |host: &str, port| Endpoint::Tcp { host: host.to_owned(), port };
        let cluster = Cluster::new(vec![at("a", 1), at("a", 2), at("b", 1)], open_to_all(), None);
        let links = cluster.links();
        let servers = std::array::from_fn(|i| {
            let (connection, server) = connected(None);
            serve(&links[i], connection);
            server
        });
        yield_now().await;
        let redsync = super::over(vec![RedisNode::Cluster(cluster)]);
        test(Scene { redsync, servers }).await;
    });
}

#[test]
fn who_has_the_slot_is_asked_first_from_then_on() {
    play(async |Scene { redsync, servers: [mut one, mut two, mut three] }| {
        let call = unlock(&redsync, &["name"]);
        one.answers("EVAL release 1 name value", "-MOVED 5798 b:1\r\n").await;
        three.answers("EVAL release 1 name value", ":1\r\n").await;
        done(call).await;
        let call = unlock(&redsync, &["name"]);
        three.answers("EVALSHA release 1 name value", ":1\r\n").await;
        done(call).await;
        // Of another slot.
        let call = unlock(&redsync, &["other"]);
        one.answers("EVALSHA release 1 other value", "-MOVED 11 :2\r\n").await;
        two.answers("EVAL release 1 other value", ":1\r\n").await;
        done(call).await;
        let call = unlock(&redsync, &["{name}:1"]);
        three.answers("EVALSHA release 1 {name}:1 value", ":1\r\n").await;
        done(call).await;
    });
}

#[test]
fn whoever_gets_one_question_for_another_is_not_asked_first() {
    play(async |Scene { redsync, servers: [mut one, _two, mut three] }| {
        for script in ["EVAL", "EVALSHA"] {
            let call = unlock(&redsync, &["name"]);
            let question = format!("{script} release 1 name value");
            one.answers(&question, "-ASK 5798 b:1\r\n").await;
            assert_eq!(three.hears().await, "ASKING");
            three.answers(&question, "+OK\r\n:1\r\n").await;
            done(call).await;
        }
    });
}

#[test]
fn what_is_about_one_slot_keeps_its_order_while_it_is_sent_on() {
    play(async |Scene { redsync, servers: [mut one, _two, mut three] }| {
        let first = extend(&redsync, &["name"]);
        let second = unlock(&redsync, &["name"]);
        assert_eq!(one.hears().await, "EVAL extend 1 name value 8000 0");
        assert_eq!(one.hears().await, "EVAL release 1 name value");
        one.says("-MOVED 5798 b:1\r\n").await;
        // Not before all that was asked there has come back.
        three.hears_nothing_for(PATIENCE / 2).await;
        one.says("-MOVED 5798 b:1\r\n").await;
        three.answers("EVAL extend 1 name value 8000 0", ":1\r\n").await;
        three.answers("EVAL release 1 name value", ":1\r\n").await;
        done(first).await;
        done(second).await;
    });
}

#[test]
fn servers_that_do_not_agree_get_time_but_not_for_ever() {
    play(async |Scene { redsync, servers: [mut one, _two, mut three] }| {
        let options = Options { expiry: 100 * Options::default().expiry, ..Options::default() };
        let call = lock(&redsync, "name", options);
        let mut pauses = Vec::new();
        for number in 0..65 {
            let before = Instant::now();
            let (server, other) = if number % 2 == 0 { (&mut one, "b") } else { (&mut three, "a") };
            assert!(server.hears().await.starts_with("SET name "), "{number}");
            pauses.push(before.elapsed().as_millis());
            server.says(&format!("-MOVED 5798 {other}:1\r\n")).await;
        }
        assert_eq!(pauses[..11], [0, 0, 0, 0, 0, 0, 2, 4, 8, 16, 32]);
        assert_eq!(pauses[11..], [50; 54]);
        assert_eq!(refused(call).await, Err("MOVED".to_owned()));
        one.hears_nothing().await;
        three.hears_nothing().await;
    });
}

#[test]
fn what_would_come_behind_its_own_release_does_not_come() {
    play(async |Scene { redsync, servers: [mut one, _two, mut three] }| {
        let calls = [extend(&redsync, &["name"]), extend(&redsync, &["{name}:1"])];
        let release = unlock(&redsync, &["name"]);
        assert_eq!(one.hears().await, "EVAL extend 1 name value 8000 0");
        assert_eq!(one.hears().await, "EVALSHA extend 1 {name}:1 value 8000 0");
        assert_eq!(one.hears().await, "EVAL release 1 name value");
        // It had lost the slot, and has it again.
        one.says("-MOVED 5798 b:1\r\n-MOVED 5798 b:1\r\n:1\r\n").await;
        done(release).await;
        let [overtaken, other] = calls;
        assert_eq!(refused(overtaken).await, Err("MOVED".to_owned()));
        three.answers("EVAL extend 1 {name}:1 value 8000 0", ":1\r\n").await;
        done(other).await;
        three.hears_nothing().await;
    });
}

#[test]
fn what_nobody_waits_for_any_more_when_its_turn_comes_is_not_asked() {
    play(async |Scene { redsync, servers: [mut one, _two, mut three] }| {
        let first = extend(&redsync, &["name"]);
        for number in 0..6 {
            let (server, other) = if number % 2 == 0 { (&mut one, "b") } else { (&mut three, "a") };
            assert!(server.hears().await.contains(" extend 1 name "));
            server.says(&format!("-MOVED 5798 {other}:1\r\n")).await;
        }
        // There is a pause now. Who comes meanwhile stands in line.
        yield_now().await;
        let calls = [extend(&redsync, &["{name}:1"]), extend(&redsync, &["{name}:2"])];
        yield_now().await;
        let [gone, other] = calls;
        gone.abort();
        one.answers("EVALSHA extend 1 name value 8000 0", ":1\r\n").await;
        one.answers("EVALSHA extend 1 {name}:2 value 8000 0", ":1\r\n").await;
        done(first).await;
        done(other).await;
        one.hears_nothing().await;
    });
}

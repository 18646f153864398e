//! What a link asks, and what it makes of the answers.

#![cfg(test)]

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::time::Duration;

use redis::Value;
use redsync_engine::{Answer, Error, Guard, Health, Held, Options, Redsync, Status};
use tokio::task::{JoinHandle, spawn_local, yield_now};
use tokio::time::{Instant, sleep, timeout};

use super::super::RedisNode;
use super::super::deletion::Deletion;
use super::super::fuzz::link_to_nowhere;
use super::super::link::{Link, Lost};
use super::super::stream::DEAD_AFTER;
use super::super::watch::Watch;
use super::{
    PATIENCE, Server, bulk, connected, done, extend, invalidation, lock, mutex, on_a_paused_clock,
    refused, serve, unlock,
};

struct Scene {
    link: Rc<Link>,
    redsync: Rc<Redsync>,
    server: Server,
    served: JoinHandle<Lost>,
}

impl Scene {
    fn lock(&self, name: &str, options: Options) -> JoinHandle<Result<Held, Error>> {
        lock(&self.redsync, name, options)
    }

    fn unlock(&self, names: &[&str]) -> JoinHandle<Result<(), Error>> {
        unlock(&self.redsync, names)
    }

    fn extend(&self, names: &[&str]) -> JoinHandle<Result<Held, Error>> {
        extend(&self.redsync, names)
    }

    fn health(&self) -> JoinHandle<Health> {
        spawn_local(self.link.clone().health(PATIENCE))
    }

    /// Whom the link tells of changes.
    fn guard(&self) -> Rc<Told> {
        let told = Rc::new(Told::default());
        let guard = Rc::downgrade(&told) as Weak<dyn Guard>;
        self.link.tell_of_changes(guard);
        told
    }
}

/// A link that is up as soon as others have had their turn, and its server.
fn linked(deletion: Option<Deletion>) -> (Rc<Link>, JoinHandle<Lost>, Server) {
    let link = link_to_nowhere();
    let (connection, server) = connected(deletion);
    (link.clone(), serve(&link, connection), server)
}

fn fenced() -> Options {
    Options { fencing: true, ..Options::default() }
}

/// Over servers that tell nothing of keys that change.
fn over(links: &[&Rc<Link>]) -> Rc<Redsync> {
    let node = |link: &&Rc<Link>| RedisNode::Server(Rc::clone(link), Watch::new(Rc::clone(link)));
    super::over(links.iter().map(node).collect())
}

/// With a link to one server.
fn play(deletion: Option<Deletion>, test: impl AsyncFnOnce(Scene)) {
    on_a_paused_clock(async || {
        let (link, served, server) = linked(deletion);
        yield_now().await;
        let redsync = over(&[&link]);
        test(Scene { link, redsync, server, served }).await;
    });
}

#[test]
fn a_script_is_sent_by_name_when_it_is_known_and_in_full_when_it_was_forgotten() {
    play(None, async |mut scene| {
        let call = scene.unlock(&["a"]);
        scene.server.answers("EVAL release 1 a value", ":1\r\n").await;
        done(call).await;
        let call = scene.unlock(&["a"]);
        scene.server.answers("EVALSHA release 1 a value", "-NOSCRIPT No script\r\n").await;
        scene.server.answers("EVAL release 1 a value", ":0\r\n").await;
        assert_eq!(refused(call).await, Ok(Answer::Taken));
        // A server that says so of a script that it was given is not believed again.
        let call = scene.unlock(&["a"]);
        for how in ["EVALSHA", "EVAL"] {
            let question = format!("{how} release 1 a value");
            scene.server.answers(&question, "-NOSCRIPT No script\r\n").await;
        }
        assert_eq!(refused(call).await, Err("NOSCRIPT".to_owned()));
    });
}

#[test]
fn what_stores_a_key_is_not_asked_again_behind_its_own_release() {
    play(None, async |mut scene| {
        let fenced = fenced();
        let call = scene.lock("a", fenced.clone());
        assert!(scene.server.hears().await.starts_with("EVAL acquireFenced 2 a "));
        scene.server.says(":1\r\n").await;
        done(call).await;
        let call = scene.lock("a", fenced);
        assert!(scene.server.hears().await.starts_with("EVALSHA acquireFenced 2 a "));
        // When its time is over.
        assert!(scene.server.hears().await.starts_with("EVAL release 1 a "));
        scene.server.says("-NOSCRIPT No script\r\n:0\r\n").await;
        assert_eq!(refused(call).await, Err("ETIMEDOUT".to_owned()));
        // The server was silent for as long as anybody waits: it is asked once more when it is not.
        assert!(scene.server.hears().await.starts_with("EVAL release 1 a "));
        scene.server.says(":0\r\n").await;
        scene.server.hears_nothing().await;
    });
}

#[test]
fn what_was_granted_elsewhere_is_not_asked_again_behind_its_release() {
    for names in [&["a"] as &[&str], &["a", "b"]] {
        on_a_paused_clock(async || {
            let (links, _served, servers) =
                (0..3).map(|_| linked(None)).collect::<(Vec<_>, Vec<_>, Vec<_>)>();
            let [mut first, mut second, mut third] =
                <[Server; 3]>::try_from(servers).ok().expect("three");
            yield_now().await;
            let redsync = over(&links.iter().collect::<Vec<_>>());
            let options = Options { fail_fast: true, ..fenced() };
            let lock_all = || -> Vec<_> {
                names.iter().map(|name| lock(&redsync, name, options.clone())).collect()
            };
            let all = if names.len() == 1 { ":1\r\n" } else { "$2\r\n11\r\n" };
            // All know the scripts.
            let calls = lock_all();
            for server in [&mut first, &mut second, &mut third] {
                assert!(server.hears().await.starts_with("EVAL acquireFenced"));
                server.says(all).await;
            }
            for call in calls {
                done(call).await;
            }
            let calls = lock_all();
            for server in [&mut first, &mut second] {
                assert!(server.hears().await.starts_with("EVALSHA acquireFenced"));
                server.says(all).await;
            }
            assert!(third.hears().await.starts_with("EVALSHA acquireFenced"));
            for (name, call) in names.iter().zip(calls) {
                let (mutex, held) = (mutex(&redsync, &[name], options.clone()), done(call).await);
                spawn_local(async move { mutex.unlock(held.value).await });
            }
            assert!(third.hears().await.starts_with("EVAL release"));
            third.says("-NOSCRIPT No script\r\n").await;
            third.says(all).await;
            third.hears_nothing().await;
        });
    }
}

#[test]
fn a_server_tells_which_fencing_token_it_would_grant() {
    play(None, async |mut scene| {
        let call = scene.lock("a", fenced());
        scene.server.hears().await;
        // Only a greater one than that.
        scene.server.says(":1000000000500\r\n").await;
        let question = scene.server.hears().await;
        let token: u64 = question.rsplit(' ').next().expect("words").parse().expect("a token");
        assert!(token >= 1_000_000_000_501, "{token}");
        scene.server.says(":1\r\n").await;
        assert!(done(call).await.token.expect("a token").get() > 1_000_000_000_500);
    });
}

#[test]
fn many_are_asked_with_one_command_and_who_gets_no_answer_alone() {
    play(None, async |mut scene| {
        let calls = ["a", "b"].map(|name| scene.unlock(&[name]));
        let many = "releaseMany 2 a b 8000 value value";
        scene.server.answers(&format!("EVAL {many}"), "$2\r\n1?\r\n").await;
        scene.server.answers("EVAL release 1 b value", ":0\r\n").await;
        let [a, b] = calls;
        done(a).await;
        assert_eq!(refused(b).await, Ok(Answer::Taken));
        // Forgotten once, and once more.
        let calls = ["a", "b"].map(|name| scene.unlock(&[name]));
        scene.server.answers(&format!("EVALSHA {many}"), "-NOSCRIPT No script\r\n").await;
        scene.server.answers(&format!("EVAL {many}"), "-NOSCRIPT No script\r\n").await;
        scene.server.answers("EVAL release 1 a value", ":1\r\n").await;
        scene.server.answers("EVALSHA release 1 b value", ":1\r\n").await;
        for call in calls {
            done(call).await;
        }
    });
}

#[test]
fn keys_are_looked_for_page_by_page() {
    play(None, async |mut scene| {
        let scan = |from: &'static str| {
            let redsync = scene.redsync.clone();
            spawn_local(async move { redsync.scan(0, "a*", from, PATIENCE).await })
        };
        let call = scan("");
        scene.server.answers("EVAL scan 0 0 a* 200 0", "$4\r\n7\n[]\r\n").await;
        assert_eq!(done(call).await.next, "7");
        let call = scan("7");
        scene.server.answers("EVALSHA scan 0 7 a* 200 0", "$4\r\n0\n[]\r\n").await;
        assert_eq!(done(call).await.next, "");
    });
}

#[test]
fn what_goes_together_is_of_one_kind() {
    play(None, async |mut scene| {
        let (a, b) = (scene.lock("a", fenced()), scene.extend(&["b"]));
        let (c, d) = (scene.lock("c", fenced()), scene.extend(&["d"]));
        let acquisitions = scene.server.hears().await;
        assert!(
            acquisitions.starts_with("EVAL acquireFencedMany 4 a c a:fence c:fence "),
            "{acquisitions}"
        );
        scene.server.answers("EVAL extendMany 2 b d 8000 value value", "$2\r\n11\r\n").await;
        scene.server.says("$2\r\n11\r\n").await;
        for call in [a, b, c, d] {
            done(call).await;
        }
    });
}

#[test]
fn a_server_that_refuses_many_at_once_is_asked_one_by_one_from_then_on() {
    for refusal in ["-NOPERM not this\r\n", "-CROSSSLOT Keys\r\n"] {
        play(None, async |mut scene| {
            for round in ["EVAL", "EVALSHA"] {
                let calls = ["a", "b"].map(|name| scene.unlock(&[name]));
                if round == "EVAL" {
                    scene.server.answers("EVAL releaseMany 2 a b 8000 value value", refusal).await;
                }
                scene.server.answers(&format!("{round} release 1 a value"), ":1\r\n").await;
                scene.server.answers("EVALSHA release 1 b value", ":1\r\n").await;
                for call in calls {
                    done(call).await;
                }
            }
        });
    }
    // Anything else is about these.
    play(None, async |mut scene| {
        for many in ["EVAL releaseMany", "EVALSHA releaseMany"] {
            let calls = ["a", "b"].map(|name| scene.unlock(&[name]));
            let many = format!("{many} 2 a b 8000 value value");
            scene.server.answers(&many, "-BUSY a script\r\n").await;
            for _ in &calls {
                scene.server.hears().await;
                scene.server.says(":1\r\n").await;
            }
            for call in calls {
                done(call).await;
            }
        }
    });
}

#[test]
fn a_lock_is_released_without_a_script_where_the_server_can() {
    play(Some(Deletion::DelIfEq), async |mut scene| {
        let call = scene.unlock(&["a"]);
        scene.server.answers("DELIFEQ a value", ":1\r\n").await;
        done(call).await;
        // Somebody else's, nobody's, or our own that was stored since.
        for (reply, answer) in
            [(":0\r\n", Answer::Taken), (":-1\r\n", Answer::Absent), (":1\r\n", Answer::Absent)]
        {
            let call = scene.unlock(&["a"]);
            scene.server.answers("DELIFEQ a value", ":0\r\n").await;
            assert!(scene.server.hears().await.ends_with(" owner 1 a value"));
            scene.server.says(reply).await;
            assert_eq!(refused(call).await, Ok(answer));
        }
    });
    play(Some(Deletion::DelIfEq), async |mut scene| {
        let [a, b] = ["a", "b"].map(|name| scene.unlock(&[name]));
        scene.server.answers("DELIFEQ a value", ":0\r\n").await;
        scene.server.answers("DELIFEQ b value", ":0\r\n").await;
        scene.server.answers("EVAL ownerMany 2 a b 8000 value value", "$2\r\n0-\r\n").await;
        assert_eq!(refused(a).await, Ok(Answer::Taken));
        assert_eq!(refused(b).await, Ok(Answer::Absent));
    });
    for refusal in ["-ERR unknown command\r\n", "-NOPERM no\r\n"] {
        play(Some(Deletion::DelEx), async |mut scene| {
            let call = scene.unlock(&["a"]);
            scene.server.answers("DELEX a IFEQ value", refusal).await;
            scene.server.answers("EVAL release 1 a value", ":1\r\n").await;
            done(call).await;
            let call = scene.unlock(&["a"]);
            scene.server.answers("EVALSHA release 1 a value", ":1\r\n").await;
            done(call).await;
        });
    }
    play(Some(Deletion::DelEx), async |mut scene| {
        let call = scene.unlock(&["a"]);
        scene.server.answers("DELEX a IFEQ value", "-OOM no memory\r\n").await;
        assert_eq!(refused(call).await, Err("OOM".to_owned()));
    });
}

#[test]
fn a_server_that_wants_another_login_or_is_no_master_any_more_is_left() {
    for code in ["READONLY", "NOAUTH"] {
        play(None, async |mut scene| {
            let call = scene.extend(&["a"]);
            let refusal = format!("-{code} no\r\n");
            scene.server.answers("EVAL extend 1 a value 8000 0", &refusal).await;
            assert_eq!(refused(call).await, Err(code.to_owned()));
            let lost = scene.served.await.expect("no panic");
            assert_eq!(lost.error.code, code);
        });
    }
    play(None, async |mut scene| {
        let call = scene.extend(&["a"]);
        scene.server.answers("EVAL extend 1 a value 8000 0", "-OOM no\r\n").await;
        assert_eq!(refused(call).await, Err("OOM".to_owned()));
        let call = scene.extend(&["a"]);
        scene.server.answers("EVALSHA extend 1 a value 8000 0", ":1\r\n").await;
        done(call).await;
    });
}

#[test]
fn what_cannot_be_the_answer_is_believed_for_nobody_and_ends_the_connection() {
    for reply in ["+OK\r\n", ":2\r\n", "$-1\r\n", "$1\r\n1\r\n"] {
        play(None, async |mut scene| {
            let calls = [scene.unlock(&["a", "b"]), scene.unlock(&["c", "d"])];
            for _ in &calls {
                scene.server.hears().await;
            }
            scene.server.says(&format!(":1\r\n{reply}")).await;
            for call in calls {
                assert_eq!(refused(call).await, Err("EPROTO".to_owned()));
            }
            assert_eq!(scene.served.await.expect("no panic").error.code, "EPROTO");
        });
    }
    // Who would acquire is granted it or not.
    play(None, async |mut scene| {
        let calls = [scene.lock("a", fenced()), scene.lock("b", fenced())];
        scene.server.hears().await;
        scene.server.says("$2\r\n1-\r\n").await;
        for call in calls {
            assert_eq!(refused(call).await, Err("EPROTO".to_owned()));
        }
    });
}

#[test]
fn what_was_said_before_a_question_is_no_answer_to_it() {
    play(None, async |mut scene| {
        scene.server.says(":1\r\n").await;
        let call = scene.unlock(&["a"]);
        let error = scene.served.await.expect("no panic").error;
        assert_eq!(error.code, "EPROTO");
        scene.link.close();
        assert!(call.await.expect("no panic").is_err());
    });
}

#[test]
fn what_was_told_before_a_question_is_heard_before_its_answer() {
    on_a_paused_clock(async || {
        let (mut connection, mut server) = connected(None);
        connection.hear_pushes(b'>');
        server.says(">1\r\n$4\r\nnews\r\n").await;
        connection.send(|output| {
            output.extend(b"*1\r\n$4\r\nPING\r\n");
            1
        });
        let mut heard = Vec::new();
        let moved = poll_fn(|cx| connection.poll_replies(cx, |reply| heard.push(reply))).await;
        assert!(moved.is_ok() && matches!(heard[..], [Value::Push { .. }]), "{heard:?}");
        server.answers("PING", "+PONG\r\n").await;
        let moved = poll_fn(|cx| connection.poll_replies(cx, |reply| heard.push(reply))).await;
        assert!(moved.is_ok());
        assert_eq!(heard[1..], [Value::SimpleString("PONG".to_owned())]);
    });
}

#[test]
fn a_server_that_is_silent_is_given_up_after_its_time_and_no_earlier() {
    play(None, async |mut scene| {
        let start = Instant::now();
        let first = scene.extend(&["a"]);
        scene.server.hears().await;
        assert_eq!(refused(first).await, Err("ETIMEDOUT".to_owned()));
        assert_eq!(start.elapsed(), PATIENCE);
        // Who comes now would wait for no longer than that: he is told at once, and nothing leaves.
        let later = scene.lock("b", Options::default());
        assert_eq!(refused(later).await, Err("ETIMEDOUT".to_owned()));
        assert_eq!(start.elapsed(), PATIENCE);
        // A release follows what it is to release. Nobody waits for it.
        let release = scene.unlock(&["a"]);
        assert_eq!(refused(release).await, Err("ETIMEDOUT".to_owned()));
        assert_eq!(scene.server.hears().await, "EVAL release 1 a value");
        assert_eq!(start.elapsed(), PATIENCE);
        // It has answered: from here on it owes the other answer only.
        sleep(DEAD_AFTER / 2).await;
        scene.server.says(":1\r\n").await;
        let lost = scene.served.await.expect("no panic");
        assert_eq!(lost.error.code, "ETIMEDOUT");
        let waited = start.elapsed() - PATIENCE;
        assert!(waited >= DEAD_AFTER && waited < DEAD_AFTER + PATIENCE, "{waited:?}");
    });
    play(None, async |mut scene| {
        // Who owes nothing may be silent for ever.
        sleep(10 * DEAD_AFTER).await;
        let call = scene.unlock(&["a"]);
        scene.server.answers("EVAL release 1 a value", ":1\r\n").await;
        done(call).await;
    });
}

#[test]
fn what_has_not_left_waits_for_the_next_connection() {
    play(None, async |mut scene| {
        let first = scene.extend(&["a"]);
        scene.server.hears().await;
        let others = [scene.extend(&["b", "c"]), scene.extend(&["d"]), scene.extend(&["e", "f"])];
        scene.server.says(":1\r\n").await;
        let (connection, server) = connected(None);
        scene.server = server; // the first one has hung up behind its answer
        done(first).await;
        let lost = scene.served.await.expect("no panic");
        assert_eq!(lost.error.code, "ECONNRESET");
        let _served = serve(&scene.link, connection);
        scene.server.answers("EVAL extend 2 b c value 8000 0", ":1\r\n").await;
        scene.server.answers("EVALSHA extend 2 e f value 8000 0", ":1\r\n").await;
        scene.server.answers("EVALSHA extend 1 d value 8000 0", ":1\r\n").await;
        for call in others {
            done(call).await;
        }
    });
}

#[test]
fn what_has_left_is_not_asked_again() {
    play(None, async |mut scene| {
        let call = scene.extend(&["a"]);
        scene.server.hears().await;
        let (connection, server) = connected(None);
        drop(std::mem::replace(&mut scene.server, server));
        assert_eq!(refused(call).await, Err("ECONNRESET".to_owned()));
        assert_eq!(scene.served.await.expect("no panic").error.code, "ECONNRESET");
        serve(&scene.link, connection);
        scene.server.hears_nothing().await;
    });
}

#[test]
fn a_connection_that_is_owed_an_answer_or_has_something_left_ends_by_a_reset() {
    play(None, async |mut scene| {
        let call = scene.extend(&["a"]);
        scene.server.answers("EVAL extend 1 a value 8000 0", ":1\r\n").await;
        done(call).await;
        scene.link.close();
        scene.served.await.expect("no panic");
        assert!(!scene.server.is_reset());
    });
    play(None, async |mut scene| {
        let _call = scene.extend(&["a"]);
        scene.server.hears().await;
        scene.link.close();
        scene.served.await.expect("no panic");
        assert!(scene.server.is_reset());
    });
    on_a_paused_clock(async || {
        let (mut connection, server) = connected(None);
        connection.send(|_| 1);
        drop(connection);
        assert!(server.is_reset());
    });
}

#[test]
fn no_more_answers_are_owed_than_the_link_can_hold() {
    play(None, async |mut scene| {
        let calls: Vec<_> = (0..8200).map(|_| scene.unlock(&["a", "b"])).collect();
        for _ in 0..8192 {
            scene.server.hears().await;
        }
        let start = Instant::now();
        assert!(timeout(PATIENCE / 2, scene.server.hears()).await.is_err());
        scene.server.says(&":1\r\n".repeat(8192)).await;
        for _ in 8192..8200 {
            scene.server.answers("EVALSHA release 2 a b value", ":1\r\n").await;
        }
        assert!(start.elapsed() < PATIENCE);
        for call in calls {
            done(call).await;
        }
    });
}

#[test]
fn a_server_says_who_it_is_or_does_not() {
    let info = |text: &str| format!("+PONG\r\n{}", bulk(text));
    for (reply, server) in [
        (info("redis_version:7.0.15"), Some("redis 7.0.15")),
        (info("redis_version:7.2.4\r\nvalkey_version:9.0.1"), Some("valkey 9.0.1")),
        ("+PONG\r\n=24\r\ntxt:redis_version:7.0.15\r\n".to_owned(), Some("redis 7.0.15")),
        (info("nothing"), None),
        (info("redis_version:a b\u{7f}\"c"), Some("redis abc")),
        ("+PONG\r\n-NOPERM no INFO\r\n".to_owned(), None),
    ] {
        play(None, async |mut scene| {
            let health = scene.health();
            assert_eq!(scene.server.hears().await, "PING");
            scene.server.answers("INFO server", &reply).await;
            let health = health.await.expect("no panic");
            assert_eq!(health.status, Status::Up);
            assert_eq!(health.server.as_deref(), server);
            assert_eq!(health.latency, Some(Duration::ZERO));
        });
    }
    play(None, async |mut scene| {
        let health = scene.health();
        assert_eq!(scene.server.hears().await, "PING");
        scene.server.answers("INFO server", "-LOADING wait\r\n-LOADING wait\r\n").await;
        let health = health.await.expect("no panic");
        assert_eq!(health.status, Status::Down);
        assert_eq!(health.error.expect("a reason").code, "LOADING");
    });
    play(None, async |scene| {
        let health = scene.health().await.expect("no panic");
        assert_eq!(health.status, Status::Down);
        assert_eq!(health.error.expect("a reason").code, "ETIMEDOUT");
    });
    // The connection is lost, or left for what the server cannot have meant.
    for (reply, code) in
        [("+PONG\r\n", "ECONNRESET"), (":1\r\n$0\r\n\r\n", "EPROTO"), ("+PONG\r\n:1\r\n", "EPROTO")]
    {
        play(None, async |mut scene| {
            let health = scene.health();
            assert_eq!(scene.server.hears().await, "PING");
            scene.server.answers("INFO server", reply).await;
            drop(scene.server);
            let health = health.await.expect("no panic");
            assert_eq!(health.status, Status::Down);
            assert_eq!(health.error.expect("a reason").code, code);
        });
    }
}

/// Keeps what it is told.
#[derive(Default)]
struct Told(RefCell<Vec<Option<String>>>);

impl Guard for Told {
    fn changed(&self, key: Option<&str>) {
        self.0.borrow_mut().push(key.map(str::to_owned));
    }
}

impl Told {
    /// What it was told since.
    async fn next(&self) -> Vec<Option<String>> {
        sleep(Duration::from_millis(1)).await;
        self.0.take()
    }
}

#[test]
fn a_server_is_asked_to_tell_of_changes_and_what_it_tells_is_passed_on() {
    play(None, async |mut scene| {
        let told = scene.guard();
        let greeting = "%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n";
        scene.server.answers("HELLO 3", greeting).await;
        assert_eq!(scene.server.hears().await, "CLIENT TRACKING ON NOLOOP");
        assert_eq!(told.next().await, []);
        scene.server.says("+OK\r\n").await;
        assert_eq!(told.next().await, [None], "of what nobody told until now");
        scene.server.says(&invalidation(&["a", "b"])).await;
        assert_eq!(told.next().await, [Some("a".to_owned()), Some("b".to_owned())]);
        scene.server.says(">2\r\n$10\r\ninvalidate\r\n_\r\n").await;
        assert_eq!(told.next().await, [None]);
        scene.server.says(">2\r\n$7\r\nmessage\r\n*1\r\n$1\r\na\r\n").await;
        assert_eq!(told.next().await, []);
        // Right before it is asked something.
        scene.server.says(&invalidation(&["c"])).await;
        let call = scene.unlock(&["a"]);
        scene.server.answers("EVAL release 1 a value", ":1\r\n").await;
        done(call).await;
        assert_eq!(told.next().await, [Some("c".to_owned())]);
        // What the link changes, it has to read again, to be told of that, too.
        let call = scene.extend(&["a"]);
        scene.server.answers("EVAL extendGuarded 1 a value 8000 0", ":1\r\n").await;
        done(call).await;
        let calls = ["a", "b"].map(|name| scene.extend(&[name]));
        let many = "EVAL extendManyGuarded 2 a b 8000 value value";
        scene.server.answers(many, "$2\r\n11\r\n").await;
        for call in calls {
            done(call).await;
        }
    });
    // One that is too old, one that may not, and one that does not.
    let old = "%1\r\n$7\r\nversion\r\n$5\r\n6.2.9\r\n";
    for (greeting, tracking) in [
        (old, None),
        ("-NOPERM no\r\n", None),
        ("%1\r\n$7\r\nversion\r\n$3\r\n7.0\r\n", Some("-ERR no\r\n")),
    ] {
        play(None, async |mut scene| {
            let told = scene.guard();
            scene.server.answers("HELLO 3", greeting).await;
            if let Some(reply) = tracking {
                scene.server.answers("CLIENT TRACKING ON NOLOOP", reply).await;
            }
            let call = scene.extend(&["a"]);
            scene.server.answers("EVAL extend 1 a value 8000 0", ":1\r\n").await;
            done(call).await;
            assert_eq!(told.next().await, []);
        });
    }
}

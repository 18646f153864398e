//! What a login says, and what it makes of the answers.

#![cfg(test)]

use std::time::Duration;

use redsync_engine::NodeError;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::Instant;

use super::super::address::Access;
use super::super::connection::{Connection, Role};
use super::super::deletion::Deletion;
use super::super::fuzz::open_to_all;
use super::{Server, bulk, connected, on_a_paused_clock};

struct Scene {
    server: Server,
    login: JoinHandle<Result<Connection, NodeError>>,
}

impl Scene {
    /// Hears these commands, and answers them.
    async fn goes(&mut self, conversation: &[(&str, &str)]) {
        for (command, _) in conversation {
            assert_eq!(self.server.hears().await, *command);
        }
        self.server.says(&conversation.iter().map(|(_, reply)| *reply).collect::<String>()).await;
    }

    async fn succeeds(self) -> Connection {
        self.login.await.expect("no panic").unwrap_or_else(|error| panic!("{}", error.code))
    }

    async fn fails(self) -> NodeError {
        self.login.await.expect("no panic").err().expect("an error")
    }
}

fn play(access: Access, role: Role, test: impl AsyncFnOnce(Scene)) {
    on_a_paused_clock(async || {
        let (mut connection, server) = connected(None);
        let login =
            spawn_local(async move { connection.log_in(&access, role).await.map(|()| connection) });
        test(Scene { server, login }).await;
    });
}

fn access() -> Access {
    Access { client_name: "me".to_owned(), ..open_to_all() }
}

/// What is said to whoever says nothing of note.
const NAME: (&str, &str) = ("CLIENT SETNAME me", "+OK\r\n");
const LIBRARY: (&str, &str) = ("CLIENT SETINFO LIB-NAME redsync", "+OK\r\n");
const VERSION: (&str, &str) =
    (concat!("CLIENT SETINFO LIB-VER ", env!("CARGO_PKG_VERSION")), "+OK\r\n");
const MASTER: (&str, &str) = ("ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
const INFO: (&str, &str) = ("INFO server", "$0\r\n\r\n");

#[test]
fn a_login_asks_for_what_the_role_needs() {
    let all = [NAME, LIBRARY, VERSION, MASTER, INFO];
    for role in [Role::Alone, Role::Master] {
        play(access(), role, async |mut scene| {
            scene.goes(&all).await;
            scene.succeeds().await;
        });
    }
    play(access(), Role::Member, async |mut scene| {
        scene.goes(&[NAME, LIBRARY, VERSION, INFO]).await;
        scene.succeeds().await;
    });
    play(access(), Role::Sentinel, async |mut scene| {
        scene.goes(&[NAME, LIBRARY, VERSION]).await;
        scene.succeeds().await;
    });
    let of_somebody = |username: Option<&str>| Access {
        username: username.map(str::to_owned),
        password: Some("secret".to_owned()),
        db: 3,
        ..access()
    };
    for (username, login) in [(None, "AUTH secret"), (Some("app"), "AUTH app secret")] {
        play(of_somebody(username), Role::Alone, async |mut scene| {
            scene.goes(&[(login, "+OK\r\n"), ("SELECT 3", "+OK\r\n")]).await;
            scene.goes(&all).await;
            scene.succeeds().await;
        });
    }
}

#[test]
fn a_login_that_is_refused_is_told_and_a_courtesy_is_not_missed() {
    let strict = Access { password: Some("secret".to_owned()), db: 3, ..access() };
    let ok = "+OK\r\n";
    for (login, selection, code) in [
        ("-WRONGPASS no\r\n", ok, "WRONGPASS"),
        (ok, "-ERR DB index is out of range\r\n", "ERR"),
        ("-NOPERM no\r\n", "-ERR no\r\n", "NOPERM"),
    ] {
        play(strict.clone(), Role::Alone, async |mut scene| {
            scene.goes(&[("AUTH secret", login), ("SELECT 3", selection)]).await;
            scene.goes(&[NAME, LIBRARY, VERSION, MASTER, INFO]).await;
            assert_eq!(scene.fails().await.code, code);
        });
    }
    play(access(), Role::Alone, async |mut scene| {
        let refused = |(command, _)| (command, "-NOAUTH Authentication required.\r\n");
        scene.goes(&[NAME, LIBRARY, VERSION, MASTER, INFO].map(refused)).await;
        assert_eq!(scene.fails().await.code, "NOAUTH");
    });
    play(access(), Role::Alone, async |mut scene| {
        let refused = |(command, _)| (command, "-NOPERM no\r\n");
        scene.goes(&[NAME, LIBRARY, VERSION, MASTER, INFO].map(refused)).await;
        scene.succeeds().await;
    });
    play(access(), Role::Alone, async |scene| {
        drop(scene.server);
        let error = scene.login.await.expect("no panic").err().expect("an error");
        assert_eq!(error.code, "ECONNRESET");
        assert!(error.message.ends_with("the server may speak TLS only"), "{}", error.message);
    });
}

#[test]
fn a_server_has_to_be_what_it_is_taken_for() {
    let role = |word: &str| format!("*1\r\n{}", bulk(word));
    for (meant, word, code) in [
        (Role::Alone, "slave", Some("READONLY")),
        (Role::Alone, "sentinel", Some("ESENTINEL")),
        (Role::Alone, "something", None),
        (Role::Alone, "master", None),
        (Role::Master, "slave", Some("READONLY")),
        (Role::Master, "sentinel", Some("READONLY")),
        (Role::Master, "something", Some("READONLY")),
        (Role::Master, "master", None),
    ] {
        play(access(), meant, async |mut scene| {
            scene.goes(&[NAME, LIBRARY, VERSION, ("ROLE", &role(word)), INFO]).await;
            match code {
                Some(code) => assert_eq!(scene.fails().await.code, code),
                None => drop(scene.succeeds().await),
            }
        });
    }
    play(access(), Role::Master, async |mut scene| {
        scene.goes(&[NAME, LIBRARY, VERSION, ("ROLE", "*0\r\n"), INFO]).await;
        assert_eq!(scene.fails().await.code, "READONLY");
    });
}

#[test]
fn one_of_a_cluster_is_no_server_alone() {
    for info in ["redis_mode:cluster", "redis_version:9\r\nserver_mode:cluster\r\n"] {
        let info = bulk(info);
        for (id, code) in [(bulk("id"), Some("ECLUSTER")), ("-ERR unknown\r\n".to_owned(), None)] {
            play(access(), Role::Alone, async |mut scene| {
                scene.goes(&[NAME, LIBRARY, VERSION, MASTER, ("INFO server", &info)]).await;
                scene.goes(&[("CLUSTER MYID", &id)]).await;
                match code {
                    Some(code) => assert_eq!(scene.fails().await.code, code),
                    None => drop(scene.succeeds().await),
                }
            });
        }
        // Of a master that sentinels name, and of one of a cluster, it is not asked.
        play(access(), Role::Master, async |mut scene| {
            scene.goes(&[NAME, LIBRARY, VERSION, MASTER, ("INFO server", &info)]).await;
            scene.succeeds().await;
        });
    }
}

#[test]
fn a_server_tells_who_it_is_and_since_when() {
    let asks = |asks_uptime| Access { asks_uptime, ..access() };
    let id = "0123456789abcdef0123456789abcdef01234567";
    for (info, uptime, run_id, deletion) in [
        (bulk("uptime_in_seconds:7\r\n"), Ok(7), None, None),
        (bulk("uptime_in_seconds:-7\r\n"), Ok(0), None, None),
        (bulk("uptime_in_seconds:x\r\n"), Err("EPROTO"), None, None),
        (bulk(""), Err("EPROTO"), None, None),
        (":1\r\n".to_owned(), Err("EPROTO"), None, None),
        ("-NOPERM no\r\n".to_owned(), Err("NOPERM"), None, None),
        (bulk(&format!("uptime_in_seconds:1\r\nrun_id:{id}\r\n")), Ok(1), Some(id), None),
        (bulk(&format!("uptime_in_seconds:1\r\nrun_id:{id}0\r\n")), Ok(1), None, None),
        (bulk(&format!("uptime_in_seconds:1\r\nrun_id:{}g\r\n", &id[1..])), Ok(1), None, None),
        (
            bulk("redis_version:8.4.0\r\nuptime_in_seconds:1\r\n"),
            Ok(1),
            None,
            Some(Deletion::DelEx),
        ),
        (
            bulk("redis_version:7.2.4\r\nvalkey_version:9.0.0\r\nuptime_in_seconds:1\r\n"),
            Ok(1),
            None,
            Some(Deletion::DelIfEq),
        ),
    ] {
        play(asks(true), Role::Alone, async |mut scene| {
            scene.goes(&[NAME, LIBRARY, VERSION, MASTER, ("INFO server", &info)]).await;
            let connection = scene.succeeds().await;
            let told = connection.uptime.clone().expect("it was asked for");
            let told = told.map_err(|error| error.code.to_string());
            let expected = uptime.map(|seconds| (Duration::from_secs(seconds), Instant::now()));
            assert_eq!(told, expected.map_err(str::to_owned));
            assert_eq!(connection.run_id.as_deref(), run_id);
            assert_eq!(connection.deletion, deletion);
        });
        play(asks(false), Role::Alone, async |mut scene| {
            scene.goes(&[NAME, LIBRARY, VERSION, MASTER, ("INFO server", &info)]).await;
            assert!(scene.succeeds().await.uptime.is_none());
        });
    }
}

//! A sentinel's news that the master has changed: until its own clients are cut off, a master of
//! before the failover still takes in what is then lost.

use std::future::poll_fn;

use redis::{Value, cmd};
use redsync_engine::{Fate, NodeError};

use super::address::{Access, Endpoint};
use super::connection::{Connection, Role};
use super::failure::refused;

/// Resolves when the sentinel says that this master has changed, with who it is now, if that is told.
pub async fn next_master(
    sentinel: &Endpoint,
    master_name: &str,
    access: &Access,
    on_subscribed: impl Fn(),
) -> Result<Option<Endpoint>, NodeError> {
    let mut connection = Connection::open(sentinel, access, Role::Sentinel).await?;
    // Before it is asked, for news may come right behind the answer.
    connection.hear_pushes(b'*');
    connection.send(|output| {
        cmd("SUBSCRIBE").arg("+switch-master").write_packed_command(output);
        1
    });
    let mut said = Vec::new();
    loop {
        poll_fn(|cx| connection.poll_replies(cx, |message| said.push(message))).await?;
        for message in said.drain(..) {
            let words = match message {
                Value::Array(words) => words,
                Value::ServerError(error) => {
                    return Err(refused("SUBSCRIBE", &error).with(Fate::Refused));
                }
                _ => return Err(NodeError::protocol()),
            };
            match &words[..] {
                // What is said on the one channel that there is.
                [_, _, Value::BulkString(news)] => {
                    let news = String::from_utf8_lossy(news);
                    let change = news.strip_prefix(master_name).and_then(|it| it.strip_prefix(' '));
                    if let Some(change) = change {
                        return Ok(new_master(change));
                    }
                }
                _ => on_subscribed(),
            }
        }
    }
}

/// Words three and four of: host and port of the former master, host and port of the new one.
fn new_master(change: &str) -> Option<Endpoint> {
    let mut words = change.split(' ').skip(2);
    let (host, port) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
    Some(Endpoint::Tcp { host, port })
}

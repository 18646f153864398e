//! The sentinels' news that the master has changed: until its own clients are cut off, a master of
//! before the failover still takes in what is then lost.

use std::io;
use std::rc::{Rc, Weak};
use std::time::Duration;

use redis::cmd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::address::{Access, Endpoint};
use super::link::Link;
use super::stream;

/// From one try to listen to a sentinel to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// More than one piece of news has, and all that is kept of what was read.
const LONGEST: usize = 4096;

/// Listens to one sentinel for as long as there is a link, and tells it.
pub async fn listen(link: Weak<Link>, sentinel: Endpoint, master_name: String, access: Access) {
    while let Some(link) = link.upgrade().filter(|link| !link.is_closed()) {
        let heard = tokio::select! {
            biased;
            () = link.closed() => return,
            heard = next(&sentinel, &master_name, &access) => heard,
        };
        match heard {
            Ok(master) => link.resolve_again(master.as_ref()),
            // The link itself tells what is wrong, if nobody answers any more.
            Err(_) => sleep(PAUSE).await,
        }
        // For the clean-up of a link that nobody uses any more.
        drop::<Rc<Link>>(link);
    }
}

/// Resolves when the sentinel says that this master has changed, with who it is now, if that is told.
///
/// Read without redis-rs, which in RESP2 has no push messages on a connection of this kind: all that
/// matters is a message that begins with the master's name, `+switch-master` being the one channel.
async fn next(
    sentinel: &Endpoint,
    master_name: &str,
    access: &Access,
) -> io::Result<Option<Endpoint>> {
    let deadline = Instant::now() + access.connect_timeout;
    let opened = stream::open(sentinel, access.tls.as_ref(), deadline).await;
    let mut stream = opened.map_err(|_| io::ErrorKind::NotConnected)?;
    let mut commands = Vec::new();
    if let Some(password) = &access.password {
        let mut auth = cmd("AUTH");
        auth.arg(access.username.as_deref()).arg(password).write_packed_command(&mut commands);
    }
    cmd("SUBSCRIBE").arg("+switch-master").write_packed_command(&mut commands);
    stream.write_all(&commands).await?;
    stream.flush().await?;

    let wanted = format!("\r\n{master_name} ").into_bytes();
    let mut heard = Vec::new();
    let mut part = [0; 1024];
    loop {
        match stream.read(&mut part).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => heard.extend_from_slice(&part[..read]),
        }
        if let Some(message) = message(&heard, &wanted) {
            return Ok(new_master(message));
        }
        heard.drain(..heard.len().saturating_sub(LONGEST));
    }
}

/// What stands behind this, as soon as the whole line is there.
fn message<'a>(heard: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let found = heard.windows(wanted.len()).position(|window| window == wanted)?;
    let message = &heard[found + wanted.len()..];
    let end = message.windows(2).position(|window| window == b"\r\n")?;
    Some(&message[..end])
}

/// The last two words of: host and port of the former master, host and port of the new one.
fn new_master(message: &[u8]) -> Option<Endpoint> {
    let mut words = str::from_utf8(message).ok()?.split(' ').skip(2);
    let (host, port) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
    Some(Endpoint::Tcp { host, port })
}

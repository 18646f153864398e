//! The socket: TCP, Unix or TLS, with what it takes to notice that the other side is gone.

use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use redsync_engine::NodeError;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::address::Endpoint;
use super::failure::io_error;
use super::tls::Tls;

/// How long sent bytes, or probes of an idle link, may stay unacknowledged before the link is dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(2);

/// A connected socket of any kind.
pub type Stream = Pin<Box<dyn Connected>>;

/// What a connected socket of any kind can do.
pub trait Connected: AsyncRead + AsyncWrite + Send {
    /// Makes closing it a reset: what has not been sent never will be. (SO_LINGER 0.)
    fn reset_on_close(&self);

    /// Is there something to read, or its end? Asks the operating system: the runtime may not have
    /// heard of it yet, and says that there is nothing until it has.
    fn has_unread(&self) -> bool;
}

fn has_unread(socket: SockRef<'_>) -> bool {
    let peeked = socket.peek(&mut [MaybeUninit::uninit()]);
    !peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

impl Connected for TcpStream {
    fn reset_on_close(&self) {
        // If it cannot be set, closing is as good as it gets.
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }

    fn has_unread(&self) -> bool {
        has_unread(SockRef::from(self))
    }
}

#[cfg(unix)]
impl Connected for tokio::net::UnixStream {
    fn reset_on_close(&self) {
        // What was sent is with the server already; there is no network to hold anything back.
    }

    fn has_unread(&self) -> bool {
        has_unread(SockRef::from(self))
    }
}

impl Connected for tokio_rustls::client::TlsStream<TcpStream> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }

    fn has_unread(&self) -> bool {
        self.get_ref().0.has_unread()
    }
}

/// Connects to a server.
pub async fn open(
    endpoint: &Endpoint,
    tls: Option<&Tls>,
    deadline: Instant,
) -> Result<Stream, NodeError> {
    let (host, port) = match endpoint {
        Endpoint::Unix(path) => return in_time(deadline, open_unix(path)).await,
        Endpoint::Tcp { host, port } => (host, *port),
    };
    let stream = in_time(deadline, open_tcp(host, port)).await?;
    match tls {
        None => Ok(Box::pin(stream)),
        // A server without TLS waits for the end of what it takes for a command, and says nothing.
        Some(tls) => match timeout_at(deadline, tls.connect(host, stream)).await {
            Ok(stream) => Ok(Box::pin(stream?)),
            Err(_) => Err(NodeError::new(
                "ERR_TLS",
                "no answer to the TLS handshake: the server hangs, or does not speak TLS",
            )),
        },
    }
}

async fn in_time<T>(
    deadline: Instant,
    opening: impl Future<Output = io::Result<T>>,
) -> Result<T, NodeError> {
    let opened = timeout_at(deadline, opening).await.map_err(|_| late())?;
    opened.map_err(|error| io_error(&error))
}

/// There was no connection within the time for it.
pub fn late() -> NodeError {
    NodeError::new("ETIMEDOUT", "the connection could not be made in time")
}

async fn open_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    // An address needs no resolver, which would start a thread.
    let stream = match host.parse::<IpAddr>() {
        Ok(address) => TcpStream::connect((address, port)).await?,
        Err(_) => TcpStream::connect((host, port)).await?,
    };
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let probes = TcpKeepalive::new().with_time(DEAD_AFTER).with_interval(DEAD_AFTER / 2);
    socket.set_tcp_keepalive(&probes)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(DEAD_AFTER))?;
    Ok(stream)
}

#[cfg(unix)]
async fn open_unix(path: &str) -> io::Result<Stream> {
    Ok(Box::pin(tokio::net::UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
async fn open_unix(_path: &str) -> io::Result<Stream> {
    Err(io::ErrorKind::Unsupported.into())
}

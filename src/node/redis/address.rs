//! Where a server is, and how to log in.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use redsync_engine::NodeError;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// How long sent bytes may stay unacknowledged before the link counts as dead.
const DEAD_AFTER: Duration = Duration::from_secs(2);

/// Connection options of one server. Never printed: it holds the password.
pub struct Address {
    /// Host name or IP address; empty when `path` is set.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path of a Unix socket.
    pub path: Option<String>,
    /// ACL user.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// Database to select.
    pub db: u32,
    /// Limit for the connection and its handshake.
    pub connect_timeout: Duration,
    /// Name of the connection in CLIENT LIST.
    pub client_name: String,
}

/// A connected socket of any kind.
pub type Stream = Pin<Box<dyn Connected>>;

/// What a socket of any kind can do.
pub trait Connected: AsyncRead + AsyncWrite + Send {}
impl<S: AsyncRead + AsyncWrite + Send> Connected for S {}

impl Address {
    /// Opens the socket.
    pub async fn connect(&self) -> Result<Stream, NodeError> {
        match &self.path {
            Some(path) => connect_unix(path).await,
            None => self.connect_tcp().await,
        }
        .map_err(|error| io_error(&error))
    }

    async fn connect_tcp(&self) -> io::Result<Stream> {
        // An address needs no resolver, which would start a thread.
        let stream = match self.host.parse::<IpAddr>() {
            Ok(address) => TcpStream::connect((address, self.port)).await?,
            Err(_) => TcpStream::connect((self.host.as_str(), self.port)).await?,
        };
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(DEAD_AFTER))?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        socket.set_tcp_user_timeout(Some(DEAD_AFTER))?;
        Ok(Box::pin(stream))
    }
}

#[cfg(unix)]
async fn connect_unix(path: &str) -> io::Result<Stream> {
    Ok(Box::pin(tokio::net::UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
async fn connect_unix(_path: &str) -> io::Result<Stream> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The error of a socket, by the name that Node.js gives it.
pub fn io_error(error: &io::Error) -> NodeError {
    use io::ErrorKind::*;
    match error.kind() {
        ConnectionRefused => NodeError::new("ECONNREFUSED", "connection refused"),
        ConnectionReset | BrokenPipe | ConnectionAborted | UnexpectedEof => {
            NodeError::new("ECONNRESET", "the connection was lost")
        }
        TimedOut => NodeError::new("ETIMEDOUT", "the connection timed out"),
        NotFound => NodeError::new("ENOENT", "no such socket"),
        PermissionDenied => NodeError::new("EACCES", "permission denied"),
        HostUnreachable => NodeError::new("EHOSTUNREACH", "host unreachable"),
        NetworkUnreachable => NodeError::new("ENETUNREACH", "network unreachable"),
        AddrNotAvailable => NodeError::new("EADDRNOTAVAIL", "address not available"),
        Unsupported => NodeError::new("ENOTSUP", "not supported on this platform"),
        // The resolver's errors have no number of the operating system.
        _ if error.raw_os_error().is_none() => {
            NodeError::new("ENOTFOUND", "the host name could not be resolved")
        }
        _ => NodeError::new("EIO", "input/output error"),
    }
}

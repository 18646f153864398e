//! The socket: TCP, Unix or TLS, with what it takes to notice that the other side is gone.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use redsync_engine::NodeError;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::address::Endpoint;
use super::failure::io_error;
use super::tls::Tls;

/// How long sent bytes, or probes of an idle link, may stay unacknowledged before the link is dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(2);

/// So long one address of a host is waited for at most before the next one is tried as well.
const LONGEST_SHARE: Duration = Duration::from_millis(250);

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
    let stream = in_time(deadline, open_tcp(host, port, deadline)).await?;
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

async fn open_tcp(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    // An address needs no resolver, which would start a thread.
    let stream = match host.parse::<IpAddr>() {
        Ok(address) => TcpStream::connect((address, port)).await?,
        Err(_) => {
            let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
            connect_to_any(&addresses, deadline).await?
        }
    };
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let probes = TcpKeepalive::new().with_time(DEAD_AFTER).with_interval(DEAD_AFTER / 2);
    socket.set_tcp_keepalive(&probes)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(DEAD_AFTER))?;
    Ok(stream)
}

/// Connects to the first of a host's addresses that answers. They are tried one after the other, but none
/// is waited for so long that there would be no time for the next. (As RFC 8305 has it.)
async fn connect_to_any(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let left = deadline.saturating_duration_since(Instant::now());
    let share = (left / (addresses.len() as u32 + 1)).min(LONGEST_SHARE);
    let mut addresses = addresses.iter();
    let mut tries = JoinSet::new();
    let mut failure = io::ErrorKind::InvalidInput.into();
    loop {
        if let Some(&address) = addresses.next() {
            tries.spawn_local(TcpStream::connect(address));
        }
        let pause = if addresses.len() > 0 { share } else { left };
        match timeout(pause, tries.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => failure = error,
            Ok(None) => return Err(failure),
            Ok(Some(Err(_))) | Err(_) => {}
        }
    }
}

#[cfg(unix)]
async fn open_unix(path: &str) -> io::Result<Stream> {
    Ok(Box::pin(tokio::net::UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
async fn open_unix(_path: &str) -> io::Result<Stream> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{Ipv4Addr, TcpListener};

    use socket2::{Domain, Socket, Type};
    use tokio::runtime::Builder;
    use tokio::task::LocalSet;

    use super::*;

    const LOCALHOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    const LIMIT: Duration = Duration::from_secs(20);

    /// An address that does not answer: the line of those who would connect is full. It is as long as
    /// what is given with the address lives.
    fn dead() -> (SocketAddr, Vec<Socket>) {
        let new = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        let listener = new();
        listener.bind(&LOCALHOST.into()).expect("an address is free");
        listener.listen(0).expect("it can listen");
        let address = listener.local_addr().expect("it has an address");
        let mut all = vec![listener];
        loop {
            let client = new();
            let connected = client.connect_timeout(&address, Duration::from_millis(200));
            all.push(client);
            if connected.is_err() {
                let address = address.as_socket().expect("it is one of IPv4");
                return (address, all);
            }
        }
    }

    fn connect(addresses: &[SocketAddr], limit: Duration) -> io::Result<TcpStream> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let deadline = Instant::now() + limit;
        LocalSet::new().block_on(&runtime, connect_to_any(addresses, deadline))
    }

    #[test]
    fn a_dead_address_leaves_time_for_the_next() {
        let (dead, _full) = dead();
        let living = TcpListener::bind(LOCALHOST).expect("an address is free");
        let living = living.local_addr().expect("it has an address");
        let began = std::time::Instant::now();
        let stream = connect(&[dead, dead, living], LIMIT).expect("one of them answers");
        assert_eq!(stream.peer_addr().ok(), Some(living));
        assert!(began.elapsed() < LIMIT / 2, "{:?}", began.elapsed());
        // The first that answers is taken, and a refusal costs nothing.
        let stream = connect(&[living, dead], LIMIT).expect("the first answers");
        assert_eq!(stream.peer_addr().ok(), Some(living));
    }

    #[test]
    fn a_connection_is_ended_or_reset() {
        for (is_reset, end) in [(false, Ok(0)), (true, Err(io::ErrorKind::ConnectionReset))] {
            let listener = TcpListener::bind(LOCALHOST).expect("an address is free");
            let address = listener.local_addr().expect("it has an address");
            let stream = connect(&[address], LIMIT).expect("somebody listens");
            let (mut server, _) = listener.accept().expect("somebody has connected");
            if is_reset {
                stream.reset_on_close();
            }
            drop(stream);
            assert_eq!(server.read(&mut [0]).map_err(|error| error.kind()), end);
        }
    }

    #[test]
    fn the_last_refusal_is_told() {
        let listener = TcpListener::bind(LOCALHOST).expect("an address is free");
        let refusing = listener.local_addr().expect("it has an address");
        drop(listener);
        let told = connect(&[refusing, refusing], LIMIT).map(drop).map_err(|error| error.kind());
        assert_eq!(told, Err(io::ErrorKind::ConnectionRefused));
        let none = connect(&[], LIMIT).map(drop).map_err(|error| error.kind());
        assert_eq!(none, Err(io::ErrorKind::InvalidInput));
    }
}

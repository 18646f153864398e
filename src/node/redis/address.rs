//! Where a server is, and how to get in.

use std::fmt;
use std::time::Duration;

use super::tls::Tls;

/// A socket that a server listens on.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    Tcp { host: String, port: u16 },
    Unix(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

/// What it takes to be let in, the same for every server of a node. Never printed.
#[derive(Clone)]
pub struct Access {
    pub username: Option<String>,
    pub password: Option<String>,
    pub db: u32,
    /// Name of the connection in CLIENT LIST.
    pub client_name: String,
    pub tls: Option<Tls>,
    /// Limit for the connection with its handshakes.
    pub connect_timeout: Duration,
}

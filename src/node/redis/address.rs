//! Where a server is, and how to get in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::tls::{Tls, TlsOptions};

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
    /// Whether the server is asked for how long it has been up.
    pub asks_uptime: bool,
    /// Limit for the connection with its handshakes.
    pub connect_timeout: Duration,
}

/// As whom somebody is let in: what a server says to one login it need not say to another.
#[derive(PartialEq, Eq, Hash)]
pub struct Login {
    username: Option<String>,
    password: Option<String>,
    db: u32,
    tls: Option<Arc<TlsOptions>>,
}

impl Access {
    /// The login that this leads to.
    pub fn login(&self) -> Login {
        Login {
            username: self.username.clone(),
            password: self.password.clone(),
            db: self.db,
            tls: self.tls.as_ref().map(|tls| tls.options().clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn an_address_of_version_6_is_told_in_brackets() {
        let tcp = |host: &str| Endpoint::Tcp { host: host.into(), port: 6379 }.to_string();
        assert_eq!([tcp("::1"), tcp("10.0.0.1")], ["[::1]:6379", "10.0.0.1:6379"]);
        assert_eq!(Endpoint::Unix("/tmp/redis".into()).to_string(), "/tmp/redis");
    }
}

//! What goes wrong with a server, told without its own words: they can quote what was sent.

use std::io;

use redis::{RedisError, ServerError};
use redsync_engine::NodeError;

/// The error of a socket, by the name that Node.js gives it. Its own text may quote what was sent.
pub fn io_error(error: &io::Error) -> NodeError {
    use io::ErrorKind::*;
    match error.kind() {
        ConnectionRefused => NodeError::new("ECONNREFUSED", "connection refused"),
        ConnectionReset | BrokenPipe | ConnectionAborted | UnexpectedEof => NodeError::lost(),
        TimedOut => NodeError::new("ETIMEDOUT", "the connection timed out"),
        NotFound => NodeError::new("ENOENT", "no such socket"),
        PermissionDenied => NodeError::new("EACCES", "permission denied"),
        HostUnreachable => NodeError::new("EHOSTUNREACH", "host unreachable"),
        NetworkUnreachable => NodeError::new("ENETUNREACH", "network unreachable"),
        AddrNotAvailable => NodeError::new("EADDRNOTAVAIL", "address not available"),
        Unsupported => NodeError::new("ENOTSUP", "not supported on this platform"),
        InvalidData => NodeError::protocol(),
        // The resolver's errors have no number of the operating system.
        _ if error.raw_os_error().is_none() => {
            NodeError::new("ENOTFOUND", "the host name could not be resolved")
        }
        _ => NodeError::new("EIO", "input/output error"),
    }
}

/// A server's error: its code, never its text, which can hold what the command held.
pub fn refused(command: &str, error: &ServerError) -> NodeError {
    let code: String = error.code().chars().take(32).collect();
    let is_code = !code.is_empty() && code.chars().all(|c| c.is_ascii_uppercase());
    let code = if is_code { code } else { "ERR".to_owned() };
    let message = format!("{command} was refused: {code}");
    NodeError::new(code, message)
}

/// An error of redis-rs. Its text can quote the server, so it is not passed on.
pub fn link_error(error: &RedisError) -> NodeError {
    use std::error::Error;
    match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(error) => io_error(error),
        None if error.kind() == redis::ErrorKind::Parse => NodeError::protocol(),
        None => NodeError::lost(),
    }
}

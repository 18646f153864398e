//! What goes wrong with a server, told without its own words: they can quote what was sent.

use std::io;

use redis::ServerError;
use redsync_engine::{Fate, NodeError};

use super::super::script::WRONG_TYPE;

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

/// What Redis and Valkey say instead of running a command. Anything else may have been said after it was
/// run: by a proxy that has lost its server, for one.
const REFUSALS: [&str; 18] = [
    "ASK",
    "BUSY",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "DENIED",
    "EXECABORT",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOPERM",
    "NOREPLICAS",
    "NOSCRIPT",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "WRONGPASS",
];

/// What servers say behind a code, as far as it is always the same. The rest of their text is never told.
pub const REASONS: [&str; 8] = [
    "AUTH <password> called without any password configured for the default user",
    "Client sent AUTH, but no password is set",
    "DB index is out of range",
    "Redis is running in protected mode",
    "SELECT is not allowed in cluster mode",
    "invalid DB index",
    "max number of clients reached",
    "unknown command",
];

/// What is wrong with a server that was given as one that stands alone, and how to give it.
pub const CLUSTER: &str = "the server is one of a cluster: give it as redis+cluster://";
pub const REPLICA: &str =
    "the server is a replica of a master: give its master, or its sentinels as redis+sentinel://";
pub const SENTINEL: &str =
    "the server is a sentinel: give it as redis+sentinel://, with the name of the master";

/// What codes tell of servers that are not what they were given as. A link to a server of a cluster goes by the first
/// instead.
pub const HINTS: [(&str, &str); 3] = [
    ("MOVED", CLUSTER),
    ("READONLY", REPLICA),
    ("CROSSSLOT", "the names are in different slots of a cluster"),
];

/// A server's error: its code, and of its text what is known to hold nothing that the command held.
pub fn refused(command: &str, error: &ServerError) -> NodeError {
    let code: String = code(error).chars().take(32).collect();
    let is_code = !code.is_empty() && code.chars().all(|c| c.is_ascii_uppercase());
    let code = if is_code { code } else { "ERR".to_owned() };
    let fate = match code.as_str() {
        // Such a key is not ours. (A permission may be given again: that is asked for.)
        WRONG_TYPE => Fate::Denied,
        code if REFUSALS.contains(&code) => Fate::Refused,
        _ => Fate::Unknown,
    };
    let message = match code.as_str() {
        "NOAUTH" => "the server wants a password: NOAUTH".to_owned(),
        code => match (hint(code), reason(error)) {
            (Some(hint), _) => format!("{command} was refused: {hint}"),
            (None, Some(reason)) => format!("{command} was refused: {code} {reason}"),
            (None, None) => format!("{command} was refused: {code}"),
        },
    };
    NodeError::new(code, message).with(fate)
}

fn hint(code: &str) -> Option<&'static str> {
    HINTS.iter().find(|(of, _)| *of == code).map(|(_, hint)| *hint)
}

fn reason(error: &ServerError) -> Option<&'static str> {
    let text = error.details()?;
    REASONS.into_iter().find(|reason| text.starts_with(reason))
}

/// The code of an error. For a command within a script, servers hide it in their text: Redis up to 7.0
/// any code, all servers that a rule forbids the command, each in its own words.
pub fn code(error: &ServerError) -> &str {
    let text = error.details().filter(|_| error.code() == "ERR").unwrap_or_default();
    if text.contains("The user executing the script can't ")
        || text.starts_with("ACL failure in script: ")
    {
        return "NOPERM";
    }
    // "Error running script (call to f_<sha1>): @user_script:4: @user_script: 4: -OOM command not ..."
    let hidden = text.strip_prefix("Error running script ").and_then(|text| text.split_once(": -"));
    match hidden.and_then(|(_, error)| error.split_ascii_whitespace().next()) {
        Some(code) => code,
        None => error.code(),
    }
}

#[cfg(test)]
mod tests {
    use redis::{Value, parse_redis_value};

    use super::*;

    #[test]
    fn tells_a_name_that_was_not_found_from_other_failures() {
        let errors = [io::Error::other("resolver: secret"), io::Error::from_raw_os_error(5)];
        assert_eq!(errors.map(|error| io_error(&error).code), ["ENOTFOUND", "EIO"]);
    }

    #[test]
    fn calls_what_a_socket_does_as_node_js_does() {
        use io::ErrorKind::*;
        for (kind, code) in [
            (ConnectionRefused, "ECONNREFUSED"),
            (ConnectionReset, "ECONNRESET"),
            (BrokenPipe, "ECONNRESET"),
            (ConnectionAborted, "ECONNRESET"),
            (UnexpectedEof, "ECONNRESET"),
            (TimedOut, "ETIMEDOUT"),
            (NotFound, "ENOENT"),
            (PermissionDenied, "EACCES"),
            (HostUnreachable, "EHOSTUNREACH"),
            (NetworkUnreachable, "ENETUNREACH"),
            (AddrNotAvailable, "EADDRNOTAVAIL"),
            (Unsupported, "ENOTSUP"),
            (InvalidData, "EPROTO"),
        ] {
            assert_eq!(io_error(&kind.into()).code, code);
        }
    }

    #[test]
    fn takes_a_command_for_not_run_only_where_that_is_known() {
        let fate = |reply: &str| {
            let Ok(Value::ServerError(error)) = parse_redis_value(reply.as_bytes()) else {
                panic!("{reply} is no error");
            };
            refused("SET", &error).fate
        };
        for reply in ["-OOM command not allowed\r\n", "-NOPERM no\r\n", "-MISCONF no\r\n"] {
            assert_eq!(fate(reply), Fate::Refused, "{reply}");
        }
        for reply in ["-ERR unknown\r\n", "-upstream failure\r\n", "-UNKILLABLE x\r\n"] {
            assert_eq!(fate(reply), Fate::Unknown, "{reply}");
        }
        assert_eq!(fate("-WRONGTYPE of a list\r\n"), Fate::Denied);
    }

    #[test]
    fn tells_who_gives_no_password_that_one_is_wanted() {
        let Ok(Value::ServerError(error)) = parse_redis_value(b"-NOAUTH secret\r\n") else {
            panic!("it is an error");
        };
        assert_eq!(refused("SET", &error).message, "the server wants a password: NOAUTH");
    }

    #[test]
    fn tells_a_reason_that_is_always_the_same_and_nothing_behind_it() {
        for (reply, told) in [
            ("-ERR DB index is out of range", "ERR DB index is out of range"),
            ("-ERR unknown command 'secret', with args", "ERR unknown command"),
            (
                "-DENIED Redis is running in protected mode because",
                "DENIED Redis is running in protected mode",
            ),
            ("-ERR secret DB index is out of range", "ERR"),
            ("-secret DB index is out of range", "ERR DB index is out of range"),
            ("-ERR", "ERR"),
        ] {
            let Ok(Value::ServerError(error)) =
                parse_redis_value(format!("{reply}\r\n").as_bytes())
            else {
                panic!("{reply} is no error");
            };
            assert_eq!(refused("SELECT", &error).message, format!("SELECT was refused: {told}"));
        }
    }

    const RUNNING: &str = "-ERR Error running script (call to f_2067d915): @user_script:4: ";

    #[test]
    fn tells_the_code_of_a_refusal_and_no_text() {
        for (reply, code) in [
            ("-OOM command not allowed when used memory > 'maxmemory'.".to_owned(), "OOM"),
            ("-READONLY You can't write against a read only replica.".to_owned(), "READONLY"),
            ("-ERR no such thing: -OOM".to_owned(), "ERR"),
            ("-secret text".to_owned(), "ERR"),
            (format!("{RUNNING}@user_script: 4: -READONLY You can't write"), "READONLY"),
            (format!("{RUNNING}@user_script: 4: Wrong number of args"), "ERR"),
            (format!("{RUNNING}The user executing the script can't run this command"), "NOPERM"),
            ("-ERR The user executing the script can't run this".to_owned(), "NOPERM"),
            ("-ERR ACL failure in script: User app has no".to_owned(), "NOPERM"),
            ("-ERR no ACL failure in script: ".to_owned(), "ERR"),
        ] {
            let Ok(Value::ServerError(error)) =
                parse_redis_value(format!("{reply}\r\n").as_bytes())
            else {
                panic!("{reply} is no error");
            };
            let refusal = refused("SET", &error);
            assert_eq!(refusal.code, code, "{reply}");
            let said = if code == "READONLY" { REPLICA } else { code };
            assert_eq!(refusal.message, format!("SET was refused: {said}"));
        }
    }
}

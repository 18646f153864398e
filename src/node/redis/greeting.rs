//! Login, and what the server says of itself.

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, Value};
use redsync_engine::NodeError;

use super::address::{Address, io_error};
use super::command::refused;

/// Logs in, selects the database and names the connection, in one round trip.
///
/// It is not left to redis-rs, whose errors lose the server's code: WRONGPASS, NOAUTH and NOPERM are
/// what a person needs to see.
pub async fn log_in(
    connection: &mut MultiplexedConnection,
    address: &Address,
) -> Result<(), NodeError> {
    let mut commands = Pipeline::new();
    let mut steps = Vec::new();
    if let Some(password) = &address.password {
        commands.cmd("AUTH").arg(address.username.as_deref()).arg(password);
        steps.push("AUTH");
    }
    if address.db != 0 {
        commands.cmd("SELECT").arg(address.db);
        steps.push("SELECT");
    }
    commands.cmd("CLIENT").arg("SETNAME").arg(&address.client_name);
    steps.push("CLIENT SETNAME");
    for (attribute, value) in
        [("LIB-NAME", env!("CARGO_PKG_NAME")), ("LIB-VER", env!("CARGO_PKG_VERSION"))]
    {
        commands.cmd("CLIENT").arg("SETINFO").arg(attribute).arg(value);
        steps.push("CLIENT SETINFO");
    }

    let replies = send(connection, &commands).await?;
    for (step, reply) in steps.into_iter().zip(replies) {
        if let Value::ServerError(error) = reply {
            // A name is a courtesy: old servers know no SETINFO, and an ACL may refuse both.
            let is_courtesy = step.starts_with("CLIENT") && error.code() != "NOAUTH";
            if !is_courtesy {
                return Err(refused(step, &error));
            }
        }
    }
    Ok(())
}

/// PINGs, and asks for program and version. The latter is `None` where an ACL refuses INFO.
pub async fn introduce(
    connection: &mut MultiplexedConnection,
) -> Result<Option<String>, NodeError> {
    let mut commands = Pipeline::new();
    commands.cmd("PING").cmd("INFO").arg("server");
    let mut replies = send(connection, &commands).await?.into_iter();
    if let Some(Value::ServerError(error)) = replies.next() {
        return Err(refused("PING", &error));
    }
    Ok(match replies.next() {
        Some(Value::BulkString(info)) => server(&String::from_utf8_lossy(&info)),
        _ => None,
    })
}

/// `redis 7.0.15` or `valkey 9.1.2`, from the reply to INFO.
fn server(info: &str) -> Option<String> {
    let field = |name: &str| {
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(value.trim().chars().take(32).collect::<String>())
    };
    match field("valkey_version") {
        Some(version) => Some(format!("valkey {version}")),
        None => Some(format!("redis {}", field("redis_version")?)),
    }
}

/// Sends a pipeline; the replies include the server's errors.
async fn send(
    connection: &mut MultiplexedConnection,
    commands: &Pipeline,
) -> Result<Vec<Value>, NodeError> {
    let sent = connection.send_packed_commands(commands, 0, commands.len()).await;
    sent.map_err(|error| link_error(&error))
}

/// The error of a link. The text of redis-rs can quote the server, so it is not passed on.
pub fn link_error(error: &RedisError) -> NodeError {
    use std::error::Error;
    match error.source().and_then(|source| source.downcast_ref::<std::io::Error>()) {
        Some(error) => io_error(error),
        None if error.kind() == redis::ErrorKind::Parse => {
            NodeError::new("EPROTO", "the server's reply makes no sense")
        }
        None => NodeError::new("ECONNRESET", "the connection was lost"),
    }
}

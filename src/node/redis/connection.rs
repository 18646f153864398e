//! A connection to one server: a guarded socket with redis-rs on top of it, logged in.

use std::future::Future;
use std::pin::Pin;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, ProtocolVersion, RedisConnectionInfo, Value};
use redsync_engine::NodeError;
use tokio::time::{Instant, timeout_at};

use super::address::{Access, Endpoint};
use super::failure::{link_error, refused};
use super::guard::{Expected, Guard};
use super::stream::{self, Stream};

/// Slots between a link and redis-rs' writer, each of one pipeline. More than a link has in flight,
/// so that sending never waits, and pipelines are written in the order in which they were made.
const PIPELINE_SLOTS: usize = 8192;

/// What moves the bytes: to be polled for as long as the connection is used. It ends when the
/// connection is lost; dropping it closes the socket, with a reset if replies are still owed.
pub type Driver = Pin<Box<dyn Future<Output = ()>>>;

/// Sends commands and reads their replies.
#[derive(Clone)]
pub struct Connection {
    redis: MultiplexedConnection,
    expected: Expected,
}

impl Connection {
    /// Connects and logs in, and makes sure that it is a master that has answered, if asked to. All in
    /// the time that there is for it.
    pub async fn open(
        endpoint: &Endpoint,
        access: &Access,
        must_be_master: bool,
    ) -> Result<(Self, Driver), NodeError> {
        let deadline = Instant::now() + access.connect_timeout;
        let stream = stream::open(endpoint, access.tls.as_ref(), deadline).await?;
        let (connection, mut driver) = Self::over(stream).await?;
        let logged_in = async {
            tokio::select! {
                biased;
                logged_in = connection.log_in(access, must_be_master) => logged_in,
                () = &mut driver => Err(connection.lost()),
            }
        };
        timeout_at(deadline, logged_in).await.unwrap_or_else(|_| Err(stream::late()))?;
        Ok((connection, driver))
    }

    /// Puts the guard and redis-rs on a socket.
    pub async fn over(stream: Stream) -> Result<(Self, Driver), NodeError> {
        let expected = Expected::default();
        // All that redis-rs would do on its own is switched off: no login, no library name, and no
        // timeout, for the round times out, and a late reply must still find its place.
        let info = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP2)
            .set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None)
            .set_pipeline_buffer_size(PIPELINE_SLOTS);
        let guard = Guard::new(stream, expected.clone());
        let (redis, driver) = MultiplexedConnection::new_with_config(&info, guard, config)
            .await
            .map_err(|error| link_error(&error))?;
        Ok((Self { redis, expected }, Box::pin(driver)))
    }

    /// Sends a pipeline. It takes its place in the order when the future is polled first. The replies
    /// include the server's errors.
    pub async fn send(mut self, commands: Pipeline) -> Result<Vec<Value>, NodeError> {
        self.expected.add(commands.len());
        let sent = self.redis.send_packed_commands(&commands, 0, commands.len()).await;
        sent.map_err(|_| self.lost())
    }

    /// Why the connection has ended.
    pub fn lost(&self) -> NodeError {
        self.expected.reason().unwrap_or_else(NodeError::lost)
    }

    /// Logs in, selects the database and names the connection, in one round trip.
    ///
    /// It is not left to redis-rs, whose errors lose the server's code: WRONGPASS, NOAUTH and NOPERM
    /// are what a person needs to see.
    async fn log_in(&self, access: &Access, must_be_master: bool) -> Result<(), NodeError> {
        let mut commands = Pipeline::new();
        let mut steps = Vec::new();
        if let Some(password) = &access.password {
            commands.cmd("AUTH").arg(access.username.as_deref()).arg(password);
            steps.push("AUTH");
        }
        if access.db != 0 {
            commands.cmd("SELECT").arg(access.db);
            steps.push("SELECT");
        }
        commands.cmd("CLIENT").arg("SETNAME").arg(&access.client_name);
        steps.push("CLIENT SETNAME");
        for (attribute, value) in
            [("LIB-NAME", env!("CARGO_PKG_NAME")), ("LIB-VER", env!("CARGO_PKG_VERSION"))]
        {
            commands.cmd("CLIENT").arg("SETINFO").arg(attribute).arg(value);
            steps.push("CLIENT SETINFO");
        }
        if must_be_master {
            commands.cmd("ROLE");
            steps.push("ROLE");
        }

        let replies = self.clone().send(commands).await?;
        for (step, reply) in steps.into_iter().zip(replies) {
            match reply {
                // A name is a courtesy: old servers know no SETINFO, and an ACL may refuse these.
                Value::ServerError(error)
                    if matches!(step, "AUTH" | "SELECT") || error.code() == "NOAUTH" =>
                {
                    return Err(refused(step, &error));
                }
                Value::Array(role) if step == "ROLE" && !is_master(&role) => {
                    return Err(NodeError::new(
                        "READONLY",
                        "the server is not the master any more",
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// PINGs, and asks for program and version. The latter is `None` where an ACL refuses INFO.
    pub async fn introduce(self) -> Result<Option<String>, NodeError> {
        let mut commands = Pipeline::new();
        commands.cmd("PING").cmd("INFO").arg("server");
        let mut replies = self.send(commands).await?.into_iter();
        if let Some(Value::ServerError(error)) = replies.next() {
            return Err(refused("PING", &error));
        }
        Ok(match replies.next() {
            Some(Value::BulkString(info)) => server(&String::from_utf8_lossy(&info)),
            _ => None,
        })
    }
}

fn is_master(role: &[Value]) -> bool {
    matches!(role, [Value::BulkString(role), ..] if role == b"master")
}

/// `redis 7.0.15` or `valkey 9.1.2`, from the reply to INFO.
fn server(info: &str) -> Option<String> {
    let field = |name: &str| {
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let is_version = |c: &char| c.is_ascii_alphanumeric() || ".-_".contains(*c);
        Some(value.trim().chars().filter(is_version).take(32).collect::<String>())
    };
    match field("valkey_version") {
        Some(version) => Some(format!("valkey {version}")),
        None => Some(format!("redis {}", field("redis_version")?)),
    }
}

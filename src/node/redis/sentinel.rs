//! Sentinels: who is the master?
//! <https://redis.io/docs/latest/develop/reference/sentinel-clients/>

use redis::{Pipeline, Value};
use redsync_engine::NodeError;
use tokio::task::JoinSet;

use super::address::{Access, Endpoint};
use super::command::refused;
use super::connection::Connection;

/// The sentinels of one master.
pub struct Sentinels {
    pub sentinels: Vec<Endpoint>,
    pub master_name: String,
    /// How to get into the sentinels, which have users of their own.
    pub access: Access,
}

impl Sentinels {
    /// Asks all sentinels at once, and goes with a majority of them; with fewer answers, with what
    /// most of them say. One that was cut off may still name the master of before the failover.
    pub async fn master(&self) -> Result<Endpoint, NodeError> {
        let mut asked = JoinSet::new();
        for (index, sentinel) in self.sentinels.iter().cloned().enumerate() {
            let (access, master_name) = (self.access.clone(), self.master_name.clone());
            asked.spawn_local(async move { (index, ask(&sentinel, &access, &master_name).await) });
        }
        let mut named: Vec<(Endpoint, usize)> = Vec::new();
        let mut error = NodeError::new("ERR_SENTINEL", "no sentinel knows the master");
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((_, Ok(master))) => {
                    let votes = match named.iter_mut().find(|(endpoint, _)| *endpoint == master) {
                        Some((_, votes)) => {
                            *votes += 1;
                            *votes
                        }
                        None => {
                            named.push((master.clone(), 1));
                            1
                        }
                    };
                    if votes > self.sentinels.len() / 2 {
                        return Ok(master);
                    }
                }
                Ok((index, Err(why))) => {
                    error = NodeError::new(why.code, format!("sentinel {index}: {}", why.message));
                }
                Err(_) => {}
            }
        }
        named.into_iter().max_by_key(|(_, votes)| *votes).map(|(master, _)| master).ok_or(error)
    }
}

/// Asks one sentinel.
async fn ask(
    sentinel: &Endpoint,
    access: &Access,
    master_name: &str,
) -> Result<Endpoint, NodeError> {
    let (connection, driver) = Connection::open(sentinel, access, false).await?;
    let mut commands = Pipeline::new();
    commands.cmd("SENTINEL").arg("get-master-addr-by-name").arg(master_name);
    let replies = tokio::select! {
        biased;
        replies = connection.clone().send(commands) => replies?,
        () = driver => return Err(connection.lost()),
    };
    match replies.into_iter().next() {
        Some(Value::Array(address)) => endpoint(&address).ok_or_else(NodeError::protocol),
        Some(Value::Nil) => {
            Err(NodeError::new("ERR_SENTINEL", "the sentinel does not know this master"))
        }
        Some(Value::ServerError(error)) => Err(refused("SENTINEL", &error)),
        _ => Err(NodeError::protocol()),
    }
}

fn endpoint(address: &[Value]) -> Option<Endpoint> {
    let [Value::BulkString(host), Value::BulkString(port)] = address else { return None };
    let host = String::from_utf8(host.clone()).ok()?;
    let port = std::str::from_utf8(port).ok()?.parse().ok()?;
    Some(Endpoint::Tcp { host, port })
}

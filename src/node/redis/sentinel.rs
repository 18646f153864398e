//! Sentinels: who is the master?
//! <https://redis.io/docs/latest/develop/reference/sentinel-clients/>

use redis::{Pipeline, Value};
use redsync_engine::NodeError;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::address::{Access, Endpoint};
use super::connection::{Connection, Role};
use super::failure::refused;
use super::stream::late;

/// The code of what a sentinel says who has no such master.
const UNKNOWN: &str = "ERR_SENTINEL";

/// The sentinels of one master.
pub struct Sentinels {
    pub sentinels: Vec<Endpoint>,
    pub master_name: String,
    /// How to get into the sentinels, which have users of their own.
    pub access: Access,
}

impl Sentinels {
    /// Asks all sentinels at once, and goes with a majority of them; with fewer answers, with what
    /// most of them say. One that was cut off may still name the master of before the failover, and
    /// one that hangs is not waited for longer than for a connection.
    pub async fn master(&self) -> Result<Endpoint, NodeError> {
        let mut asked = JoinSet::new();
        for (index, sentinel) in self.sentinels.iter().cloned().enumerate() {
            let (access, master_name) = (self.access.clone(), self.master_name.clone());
            asked.spawn_local(async move {
                let answer = ask(&sentinel, &access, &master_name);
                let answer = timeout(access.connect_timeout, answer).await;
                (index, answer.unwrap_or_else(|_| Err(late())))
            });
        }
        let mut named: Vec<(Endpoint, usize)> = Vec::new();
        let mut errors = Vec::new();
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
                Ok((index, Err(why))) => errors.push((why.code != UNKNOWN, index, why)),
                Err(_) => {}
            }
        }
        if let Some((master, _)) = named.into_iter().max_by_key(|(_, votes)| *votes) {
            return Ok(master);
        }
        // That a sentinel does not know the master tells more than that another cannot be reached.
        let first = errors.into_iter().min_by_key(|(is_other, index, _)| (*is_other, *index));
        Err(match first {
            Some((_, index, why)) => {
                NodeError::new(why.code, format!("sentinel {index}: {}", why.message))
            }
            None => NodeError::new(UNKNOWN, "there is no sentinel"),
        })
    }
}

/// Asks one sentinel.
async fn ask(
    sentinel: &Endpoint,
    access: &Access,
    master_name: &str,
) -> Result<Endpoint, NodeError> {
    let mut connection = Connection::open(sentinel, access, Role::Sentinel).await?;
    let mut commands = Pipeline::new();
    commands.cmd("SENTINEL").arg("get-master-addr-by-name").arg(master_name);
    let replies = connection.ask(&commands).await?;
    match replies.into_iter().next() {
        Some(Value::Array(address)) => endpoint(&address).ok_or_else(NodeError::protocol),
        Some(Value::Nil) => Err(NodeError::new(UNKNOWN, "it does not know a master of this name")),
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

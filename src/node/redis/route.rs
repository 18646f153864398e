//! Where a link leads: to a fixed place, or to whatever server is the master now.

use redsync_engine::NodeError;

use super::address::Endpoint;
use super::sentinel::Sentinels;

/// Where a link leads. Resolved anew for every connection.
pub enum Route {
    Fixed(Endpoint),
    Master(Sentinels),
}

impl Route {
    /// The server to connect to now.
    pub async fn resolve(&self) -> Result<Endpoint, NodeError> {
        match self {
            Self::Fixed(endpoint) => Ok(endpoint.clone()),
            Self::Master(sentinels) => sentinels.master().await,
        }
    }

    /// Whether the server has to be a master, which only a server behind sentinels can cease to be.
    pub fn leads_to_master(&self) -> bool {
        matches!(self, Self::Master(_))
    }
}

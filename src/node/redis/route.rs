//! Where a link leads: to a fixed place, or to whatever server is the master now.

use redsync_engine::NodeError;

use super::address::Endpoint;
use super::connection::Role;
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

    /// What the server there has to be, if it is none of a cluster.
    pub fn role(&self) -> Role {
        match self {
            Self::Fixed(_) => Role::Alone,
            Self::Master(_) => Role::Master,
        }
    }
}

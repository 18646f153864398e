//! Where a node is that is made of Redis servers, and how to get in.

use super::address::{Access, Endpoint, Login};
use super::sentinel::Sentinels;

/// What a [`RedisNode`](super::RedisNode) is made of.
pub enum RedisPlace {
    Server(Endpoint, Access),
    Master(Sentinels, Access),
    Cluster(Vec<Endpoint>, Access),
}

/// A place and a login. Those who share it are told the same, so that one can ask for all of them.
#[derive(PartialEq, Eq, Hash)]
pub enum RedisIdentity {
    Server(Endpoint, Login),
    Master { sentinels: Vec<Endpoint>, name: String, sentinel_login: Login, login: Login },
    Cluster(Vec<Endpoint>, Login),
}

impl RedisPlace {
    pub fn identity(&self) -> RedisIdentity {
        match self {
            Self::Server(endpoint, access) => {
                RedisIdentity::Server(endpoint.clone(), access.login())
            }
            Self::Master(Sentinels { sentinels, master_name, access: of_sentinels }, access) => {
                RedisIdentity::Master {
                    sentinels: sentinels.clone(),
                    name: master_name.clone(),
                    sentinel_login: of_sentinels.login(),
                    login: access.login(),
                }
            }
            Self::Cluster(seeds, access) => RedisIdentity::Cluster(seeds.clone(), access.login()),
        }
    }
}

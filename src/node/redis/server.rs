//! A server of a cluster.

use std::rc::Rc;

use super::address::Endpoint;
use super::link::Link;

/// A server of a cluster.
pub struct Server {
    pub endpoint: Endpoint,
    /// It was given, and not heard of.
    pub is_seed: bool,
    pub link: Rc<Link>,
}

//! Between whom a connection is.

use std::{net::SocketAddr, sync::Arc};

use proxy_common::Direction;

/// Whose connection it is, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parties {
    /// Which side of the workload the connection is on.
    pub direction: Direction,
    /// The workload's name.
    pub workload: Arc<str>,
    /// The side that connected; without an IPv6 scope.
    pub client: SocketAddr,
    /// Where it meant to connect; without an IPv6 scope.
    pub dst: SocketAddr,
}

impl Parties {
    /// The parties, with IPv4 mapped into IPv6 as IPv4.
    pub fn new(direction: Direction, workload: Arc<str>, client: SocketAddr, dst: SocketAddr) -> Self {
        let canonical = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
        Self { direction, workload, client: canonical(client), dst: canonical(dst) }
    }
}

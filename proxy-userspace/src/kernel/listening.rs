//! Who listens in a network namespace.

use std::io;

use netlink_packet_sock_diag::{
    constants::AF_INET6,
    inet::{InetResponse, nlas::Nla},
};
use proxy_common::{UNSPECIFIED_V4_MAPPED, UNSPECIFIED_V6, is_loopback, mapped};

use super::{netns::Netns, sock_diag::SockDiag};

/// Asks one network namespace.
#[derive(Debug)]
pub(super) struct ListeningSockets(SockDiag);

impl ListeningSockets {
    /// Opens the way to ask, which lives for as long as the namespace.
    pub(super) fn of(netns: &Netns) -> io::Result<Self> {
        SockDiag::of(netns).map(Self)
    }

    /// Where connections from elsewhere are taken: addresses, IPv4 mapped into IPv6, and ports, all in
    /// network byte order. A socket for every address of both families is two places.
    pub(super) fn list(&self) -> io::Result<Vec<([u8; 16], u16)>> {
        let mut places = Vec::new();
        self.0.listeners(|socket| places.extend(places_of(socket)))?;
        Ok(places)
    }
}

/// As `proxy-ebpf/src/listening.rs` has them.
fn places_of(socket: &InetResponse) -> Vec<([u8; 16], u16)> {
    let id = &socket.header.socket_id;
    let addr_be = mapped(id.source_address);
    // One that is bound to a device would not get what the proxy sends it by lo.
    if is_loopback(&addr_be) || id.interface_id != 0 {
        return Vec::new();
    }
    let port_be = id.source_port.to_be();
    let is_v6_only = socket.nlas.iter().any(|nla| matches!(nla, Nla::SkV6Only(true)));
    let mut places = vec![(addr_be, port_be)];
    if socket.header.family == AF_INET6 && addr_be == UNSPECIFIED_V6 && !is_v6_only {
        places.push((UNSPECIFIED_V4_MAPPED, port_be));
    }
    places
}

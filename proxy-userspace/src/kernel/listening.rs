//! Who listens in a network namespace: the kernel's own list (`sock_diag`).

use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};
use proxy_common::{UNSPECIFIED_V4_MAPPED, UNSPECIFIED_V6, is_loopback, mapped};

use super::netns::Netns;

/// What the kernel fills at a time (`NLMSG_GOODSIZE`, at most 32 KiB for a reader with that much room).
const DUMP_BYTES: usize = 32 << 10;

/// Asks one network namespace.
#[derive(Debug)]
pub(super) struct ListeningSockets {
    socket: Socket,
}

impl ListeningSockets {
    /// Opens the way to ask, which lives for as long as the namespace.
    pub(super) fn of(netns: &Netns) -> io::Result<Self> {
        Ok(Self { socket: netns.enter(|| Socket::new(NETLINK_SOCK_DIAG))?? })
    }

    /// Where connections from elsewhere are taken: addresses, IPv4 mapped into IPv6, and ports, all in
    /// network byte order. A socket for every address of both families is two places.
    pub(super) fn list(&self) -> io::Result<Vec<([u8; 16], u16)>> {
        let mut places = Vec::new();
        for family in [AF_INET, AF_INET6] {
            self.dump(family, |socket| places.extend(places_of(socket)))?;
        }
        Ok(places)
    }

    fn dump(&self, family: u8, mut take: impl FnMut(&InetResponse)) -> io::Result<()> {
        self.socket.send(&request(family), 0)?;
        let mut buffer = Vec::with_capacity(DUMP_BYTES);
        loop {
            buffer.clear();
            self.socket.recv(&mut buffer, 0)?;
            let mut rest = buffer.as_slice();
            while !rest.is_empty() {
                let message =
                    NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
                // Messages begin at multiples of four bytes.
                let len = (message.header.length as usize).next_multiple_of(4).max(1);
                rest = rest.get(len..).unwrap_or_default();
                match message.payload {
                    NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(socket)) => take(&socket),
                    NetlinkPayload::Done(_) => return Ok(()),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::Overrun(_) => return Err(io::ErrorKind::OutOfMemory.into()),
                    NetlinkPayload::Noop | NetlinkPayload::InnerMessage(_) | _ => {}
                }
            }
        }
    }
}

/// Asks for the listeners of one family.
fn request(family: u8) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let socket_id = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::LISTEN,
        socket_id,
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
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

//! Connections that go by themselves: what the kernel has counted of them.
#![expect(unsafe_code, reason = "tokio's promise that a watched descriptor stays open")]

use std::{
    collections::{HashMap as StdHashMap, hash_map::Entry},
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{HashMap, MapData, RingBuf},
};
use netlink_packet_sock_diag::inet::{
    SocketId,
    nlas::{Nla, TcpInfo},
};
use proxy_common::{
    BypassKey, Bypassed, Closed, Decision, Direction, Open, OriginalDst, RuleSource, SocketCounters, flags,
    tcp_state,
};
use tokio::io::{Interest, unix::AsyncFd};
use zerocopy::FromBytes as _;

use super::{
    error::KernelError,
    maps::{self, BYPASSED, EVENTS, MapSource as _, OPEN, error},
    netns::Netns,
    sock_diag::SockDiag,
    sys,
};
use crate::metrics::{CloseReason, Traffic};

/// How many sockets are asked at a time: their answers fit into a netlink socket's buffer.
const ASK_AT_ONCE: usize = 64;

/// A connection that goes by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KernelConnection {
    /// Cookie of the socket that is watched.
    pub(crate) cookie: u64,
    /// Id of the workload's cgroup.
    pub(crate) workload: u64,
    pub(crate) direction: Direction,
    /// Opaque, or skipped.
    pub(crate) decision: Decision,
    /// What says so.
    pub(crate) source: RuleSource,
    pub(crate) dst: SocketAddr,
    /// So far.
    pub(crate) traffic: Traffic,
    /// From connect(2), or accept, to now or to the end.
    pub(crate) duration: Duration,
}

impl KernelConnection {
    fn new(original: &OriginalDst, counters: &SocketCounters, now_ns: u64) -> Self {
        let is_inbound = original.flags & flags::INBOUND != 0;
        let SocketCounters { sent_bytes, received_bytes, srtt_us, retransmits } = *counters;
        let rule = original.rule();
        let (from_client, from_server) =
            if is_inbound { (received_bytes, sent_bytes) } else { (sent_bytes, received_bytes) };
        Self {
            cookie: original.cookie,
            workload: original.workload,
            direction: if is_inbound { Direction::Inbound } else { Direction::Outbound },
            decision: rule.decision(),
            source: rule.source(),
            dst: socket_addr(original.addr_be, original.port_be),
            traffic: Traffic {
                from_client,
                from_server,
                round_trip: (srtt_us > 0).then(|| Duration::from_micros(srtt_us.into())),
                retransmits: retransmits.into(),
            },
            duration: Duration::from_nanos(now_ns.saturating_sub(original.created_ns)),
        }
    }
}

/// One that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClosedConnection {
    pub(crate) connection: KernelConnection,
    pub(crate) client: SocketAddr,
    pub(crate) was_established: bool,
    pub(crate) reason: CloseReason,
}

impl From<&Closed> for ClosedConnection {
    fn from(closed: &Closed) -> Self {
        let connection = KernelConnection::new(&closed.original, &closed.counters, closed.closed_ns);
        let reason = reason(closed, connection.direction);
        Self {
            connection,
            client: socket_addr(closed.client_addr_be, closed.client_port_be),
            was_established: closed.established != 0,
            reason,
        }
    }
}

/// Why a connection ended, by the state that the watched socket closed from and by its error.
fn reason(closed: &Closed, direction: Direction) -> CloseReason {
    let error = i32::try_from(closed.error).unwrap_or_default();
    if closed.established == 0 {
        return match error {
            libc::ECONNREFUSED => CloseReason::Refused,
            libc::ETIMEDOUT => CloseReason::TimedOut,
            libc::EHOSTUNREACH | libc::ENETUNREACH => CloseReason::Unreachable,
            _ => CloseReason::NotEstablished,
        };
    }
    // The socket is the client's, or the server's.
    let (this, peer, peer_is_silent) = match direction {
        Direction::Outbound => {
            (CloseReason::ClientReset, CloseReason::ServerReset, CloseReason::ServerTimedOut)
        }
        Direction::Inbound => {
            (CloseReason::ServerReset, CloseReason::ClientReset, CloseReason::ClientTimedOut)
        }
    };
    match (u32::from(closed.last_state), error) {
        (_, libc::ETIMEDOUT | libc::EHOSTUNREACH) => peer_is_silent,
        (_, libc::ECONNRESET | libc::EPIPE) => peer,
        (tcp_state::FIN_WAIT2 | tcp_state::CLOSING | tcp_state::LAST_ACK, _) => CloseReason::Eof,
        // Its own process has cut it.
        _ => this,
    }
}

/// The ring of closed connections.
pub(crate) struct ClosedEvents {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl ClosedEvents {
    pub(super) fn new(ebpf: &Ebpf) -> Result<Self, KernelError> {
        let map = aya::maps::Map::RingBuf(ebpf.map_data(EVENTS)?);
        let ring = RingBuf::try_from(map).map_err(error("open", EVENTS))?;
        // SAFETY: the ring owns its descriptor, and keeps it open.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|source| error("watch", EVENTS)(io::Error::from(source).into()))?;
        Ok(Self { ring })
    }

    /// Waits until there are many that have ended, at most for `rest`: the programs wake nobody for a few.
    /// Then [`Self::drain`].
    pub(crate) async fn wait(&mut self, rest: Duration) -> io::Result<()> {
        if let Ok(ready) = tokio::time::timeout(rest, self.ring.readable_mut()).await {
            ready?.clear_ready();
        }
        Ok(())
    }

    /// Hands over what is there now.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(ClosedConnection)) {
        while let Some(record) = self.ring.get_mut().next() {
            if let Ok(closed) = Closed::read_from_bytes(&record) {
                each(ClosedConnection::from(&closed));
            }
        }
    }
}

/// The open connections on the kernel path, and the way to ask their sockets.
pub(crate) struct OpenConnections {
    open: HashMap<MapData, u64, Open>,
    bypassed: HashMap<MapData, BypassKey, Bypassed>,
    /// By the cookies of their namespaces.
    asks: StdHashMap<u64, SockDiag>,
}

impl OpenConnections {
    pub(super) fn new(ebpf: &Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            open: maps::hash(ebpf, OPEN)?,
            bypassed: maps::hash(ebpf, BYPASSED)?,
            asks: StdHashMap::new(),
        })
    }

    /// Those that are open now. Asked are those in namespaces that `netns` knows by their cookies, or that
    /// were asked before.
    pub(crate) fn list(&mut self, netns: impl Fn(u64) -> Option<Netns>) -> Result<OpenList, KernelError> {
        let mut by_netns: StdHashMap<u64, Vec<Open>> = StdHashMap::new();
        let mut cookies = Vec::new();
        for entry in self.open.iter() {
            let (cookie, open) = entry.map_err(error("read", OPEN))?;
            cookies.push(cookie);
            by_netns.entry(open.netns_cookie).or_default().push(open);
        }
        self.asks.retain(|cookie, _| by_netns.contains_key(cookie));
        let mut connections = Vec::new();
        for (cookie, list) in by_netns {
            let asks = match self.asks.entry(cookie) {
                Entry::Occupied(asks) => asks.into_mut(),
                Entry::Vacant(place) => {
                    let Some(netns) = netns(cookie) else { continue };
                    place.insert(SockDiag::of(&netns).map_err(cannot_ask)?)
                }
            };
            for some in list.chunks(ASK_AT_ONCE) {
                ask(asks, some, &mut connections).map_err(cannot_ask)?;
            }
        }
        self.add_bypassed(&mut connections)?;
        Ok(OpenList { cookies, connections })
    }

    /// What went past TCP, its sockets have not counted.
    fn add_bypassed(&self, connections: &mut [KernelConnection]) -> Result<(), KernelError> {
        let mut by_cookie: StdHashMap<u64, (u64, u64)> = StdHashMap::new();
        for entry in self.bypassed.iter() {
            let (_, found) = entry.map_err(error("read", BYPASSED))?;
            let bytes = (found.client_redirected_bytes, found.server_redirected_bytes);
            by_cookie.extend([(found.client.cookie, bytes), (found.server.cookie, bytes)]);
        }
        for KernelConnection { cookie, traffic, .. } in connections {
            let (from_client, from_server) = by_cookie.get(cookie).copied().unwrap_or_default();
            traffic.from_client += from_client;
            traffic.from_server += from_server;
        }
        Ok(())
    }
}

/// The open connections.
pub(crate) struct OpenList {
    /// Of the sockets of all.
    pub(crate) cookies: Vec<u64>,
    /// Those whose sockets have told what they have counted.
    pub(crate) connections: Vec<KernelConnection>,
}

/// Asks some sockets of a namespace what they have counted.
fn ask(asks: &SockDiag, some: &[Open], connections: &mut Vec<KernelConnection>) -> io::Result<()> {
    let by_cookie: StdHashMap<[u8; 8], &OriginalDst> =
        some.iter().map(|open| (open.original.cookie.to_ne_bytes(), &open.original)).collect();
    let now_ns = sys::monotonic_ns();
    asks.sockets(some.iter().map(socket_id).collect(), |socket| {
        let info =
            socket.nlas.iter().find_map(|nla| if let Nla::TcpInfo(info) = nla { Some(info) } else { None });
        let original = by_cookie.get(&socket.header.socket_id.cookie);
        if let (Some(info), Some(original)) = (info, original) {
            connections.push(KernelConnection::new(original, &counters(info, original), now_ns));
        }
    })
}

/// How the kernel finds a socket: by the connection, and by its cookie to be sure.
fn socket_id(open: &Open) -> SocketId {
    let client = socket_addr(open.client_addr_be, open.client_port_be);
    let server = socket_addr(open.original.addr_be, open.original.port_be);
    let is_inbound = open.original.flags & flags::INBOUND != 0;
    let (local, remote) = if is_inbound { (server, client) } else { (client, server) };
    SocketId {
        source_port: local.port(),
        destination_port: remote.port(),
        source_address: local.ip(),
        destination_address: remote.ip(),
        interface_id: 0,
        cookie: open.original.cookie.to_ne_bytes(),
    }
}

/// What a socket has counted so far. Where either end has finished, a byte may be missing: its FIN may have
/// been counted, and what is told is never more than what there will be at the end.
fn counters(info: &TcpInfo, original: &OriginalDst) -> SocketCounters {
    let syn = u64::from(original.flags & flags::INBOUND == 0);
    let fin = u64::from(u32::from(info.state) != tcp_state::ESTABLISHED);
    SocketCounters {
        sent_bytes: info.bytes_acked.saturating_sub(syn + fin),
        received_bytes: info.bytes_received.saturating_sub(fin),
        srtt_us: info.rtt,
        retransmits: info.total_retrans,
    }
}

fn cannot_ask(source: io::Error) -> KernelError {
    KernelError::Netns { action: "ask for the open connections of", path: "of a workload".into(), source }
}

/// An address as the maps hold it; a mapped IPv4 address becomes an IPv4 address.
fn socket_addr(addr_be: [u8; 16], port_be: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::from(addr_be)).to_canonical(), u16::from_be(port_be))
}

#[cfg(test)]
mod tests {
    use proxy_common::RuleSource;

    use super::*;

    fn closed(flags: u32, last_state: u32, error: i32) -> Closed {
        let original = OriginalDst {
            addr_be: proxy_common::map_v4([10, 0, 0, 1]),
            port_be: 3306_u16.to_be(),
            decision: Decision::Opaque as u8,
            source: RuleSource::Default as u8,
            flags,
            cookie: 7,
            workload: 1,
            created_ns: 1_000,
        };
        Closed {
            original,
            client_addr_be: proxy_common::map_v4([10, 0, 0, 2]),
            closed_ns: 3_000,
            counters: SocketCounters { sent_bytes: 10, received_bytes: 20, srtt_us: 30, retransmits: 0 },
            client_port_be: 40_000_u16.to_be(),
            established: 1,
            last_state: u8::try_from(last_state).expect("a state"),
            error: error.unsigned_abs(),
        }
    }

    fn reason_of(flags: u32, last_state: u32, error: i32) -> CloseReason {
        ClosedConnection::from(&closed(flags, last_state, error)).reason
    }

    #[test]
    fn what_the_application_of_an_inbound_connection_sends_comes_from_the_server() {
        let traffic =
            |flags| ClosedConnection::from(&closed(flags, tcp_state::LAST_ACK, 0)).connection.traffic;
        let (outbound, inbound) = (traffic(0), traffic(flags::INBOUND));
        assert_eq!((outbound.from_client, outbound.from_server), (10, 20));
        assert_eq!((inbound.from_client, inbound.from_server), (20, 10));
    }

    #[test]
    fn a_reset_is_that_of_the_side_that_sent_it() {
        use tcp_state::ESTABLISHED;
        assert_eq!(reason_of(0, ESTABLISHED, 0), CloseReason::ClientReset);
        assert_eq!(reason_of(0, ESTABLISHED, libc::ECONNRESET), CloseReason::ServerReset);
        assert_eq!(reason_of(flags::INBOUND, ESTABLISHED, 0), CloseReason::ServerReset);
        assert_eq!(reason_of(flags::INBOUND, ESTABLISHED, libc::ECONNRESET), CloseReason::ClientReset);
        assert_eq!(reason_of(flags::INBOUND, ESTABLISHED, libc::ETIMEDOUT), CloseReason::ClientTimedOut);
    }

    #[test]
    fn a_connection_that_both_have_finished_ends_in_order() {
        for state in [tcp_state::FIN_WAIT2, tcp_state::CLOSING, tcp_state::LAST_ACK] {
            assert_eq!(reason_of(0, state, 0), CloseReason::Eof);
        }
    }

    #[test]
    fn a_connect_that_failed_says_why() {
        let failed = |error: i32| {
            let closed = Closed { established: 0, ..closed(0, tcp_state::SYN_SENT, error) };
            ClosedConnection::from(&closed).reason
        };
        assert_eq!(failed(libc::ECONNREFUSED), CloseReason::Refused);
        assert_eq!(failed(libc::ETIMEDOUT), CloseReason::TimedOut);
        assert_eq!(failed(libc::EHOSTUNREACH), CloseReason::Unreachable);
        assert_eq!(failed(0), CloseReason::NotEstablished);
    }
}

//! What the hooks remember of a connection and hand to the proxy.

use crate::PortRule;

/// Key of the `HANDOFF` map: a client's connection as the accepted side sees it. The sequence number
/// tells it from an earlier connection between the same addresses and ports.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct HandoffKey {
    /// The network namespace of both ends.
    pub netns_cookie: u64,
    /// Source address; IPv4 mapped into IPv6; network byte order.
    pub addr_be: [u8; 16],
    /// Source port, network byte order.
    pub port_be: u16,
    /// Explicit, always zero.
    pub pad: u16,
    /// Sequence number of the client's first byte of payload.
    pub first_seq: u32,
}

/// Where a client meant to connect before `connect4` or `connect6` rewrote it, and what was decided
/// then: value of the `HANDOFF` map, and of the `ACCEPTED` storage of the accepted socket.
///
/// Written by `sock_ops`: to `HANDOFF` when the client's end is established, and from there to the
/// accepted end when that is. The proxy reads it when it accepts.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct OriginalDst {
    /// IPv6 address, or IPv4 mapped into it (`::ffff:a.b.c.d`); network byte order.
    pub addr_be: [u8; 16],
    /// TCP port, network byte order.
    pub port_be: u16,
    /// A [`crate::Decision`].
    pub decision: u8,
    /// A [`crate::RuleSource`].
    pub source: u8,
    /// [`crate::flags::SK_MSG`] if this connection may use `sk_msg`, [`crate::flags::INBOUND`] if the
    /// workload accepts it, [`crate::flags::CLIENT`] if this is the address of its client; no other bit.
    pub flags: u32,
    /// Cookie of the client's socket; 0 for an inbound connection that is proxied, whose client may be
    /// anywhere. Of one on the kernel path, of the application's socket.
    pub cookie: u64,
    /// Id of the workload's cgroup.
    pub workload: u64,
    /// When the client called connect(2): CLOCK_MONOTONIC, nanoseconds.
    pub created_ns: u64,
}

impl OriginalDst {
    /// What was decided of the connection, and what says so.
    #[must_use]
    pub const fn rule(&self) -> PortRule {
        PortRule { decision: self.decision, source: self.source }
    }
}

/// Value of the `TRACKED` socket storage: what the hooks know of a client's socket, and of one that an
/// application has accepted on the kernel path.
///
/// Written by the connect hooks and `sock_ops`; read by `getpeername`, `sock_ops` and `sk_msg`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct Tracked {
    /// Where the client meant to connect.
    pub original: OriginalDst,
    /// Bytes that `sk_msg` has redirected.
    pub redirected_bytes: u64,
    /// `bytes_received` of the socket when it entered FIN_WAIT2.
    pub received_at_fin_wait2: u64,
    /// Sequence number of the first byte of payload, once established: `sk_msg` compares it with that
    /// of the next one.
    pub first_seq: u32,
    /// Explicit, always zero.
    pub pad: u32,
    /// [`crate::flags`] of the workload at connect time.
    pub flags: u32,
    /// Port of the listener that the client was sent to, network byte order; 0 for a connection that
    /// is skipped or on the kernel path, which was sent nowhere. Of the proxy's own socket to an
    /// application that is to know the address of its client: the application's.
    pub listener_port_be: u16,
    /// A [`LaneState`].
    pub lane: u8,
    /// 1 once the connection was established, else 0.
    pub established: u8,
}

impl Tracked {
    /// A connection that begins: it goes by TCP, and nothing is known of it but where it is to go and what its
    /// workload's [`crate::flags`] are.
    #[inline(always)]
    #[must_use]
    pub const fn new(original: OriginalDst, flags: u32) -> Self {
        Self {
            original,
            redirected_bytes: 0,
            received_at_fin_wait2: 0,
            first_seq: 0,
            pad: 0,
            flags,
            listener_port_be: 0,
            lane: LaneState::Native as u8,
            established: 0,
        }
    }
}

/// Which way an application's sends travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LaneState {
    /// Through TCP, for good.
    Native = 0,
    /// The first send decides.
    Undecided = 1,
    /// By `sk_msg`, until the byte fuse blows.
    Redirected = 2,
}

/// Value of the `LANES` map; the key is the cookie of the client's socket. Its presence says that
/// the proxy's socket is in `PROXY_SOCKETS` under the same key.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct Lane {
    /// Bytes that the proxy has read from its socket, as it last told.
    pub consumed_bytes: u64,
}

/// What a socket's own counters say: the client's of an outbound connection, the application's of an
/// inbound one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct SocketCounters {
    /// Payload bytes that the peer acknowledged.
    pub sent_bytes: u64,
    /// Payload bytes that arrived.
    pub received_bytes: u64,
    /// The smoothed round-trip time, microseconds; 0 where it is not known.
    pub srtt_us: u32,
    /// Segments that were sent again.
    pub retransmits: u32,
}

/// Value of the `OPEN` map, by the cookie of the socket that is watched: a connection on the kernel path
/// that is open.
///
/// Written by `sock_ops` when it is established, removed when the socket closes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct Open {
    /// Where the client connected to.
    pub original: OriginalDst,
    /// The network namespace of the socket.
    pub netns_cookie: u64,
    /// The client's address; IPv4 mapped into IPv6; network byte order.
    pub client_addr_be: [u8; 16],
    /// The client's port, network byte order.
    pub client_port_be: u16,
    /// Explicit, always zero.
    pub pad: [u16; 3],
}

/// A record of the `EVENTS` ring: a connection that was skipped or on the kernel path, and has ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct Closed {
    /// Where the client connected to.
    pub original: OriginalDst,
    /// The client's address; IPv4 mapped into IPv6; network byte order.
    pub client_addr_be: [u8; 16],
    /// When the socket closed: CLOCK_MONOTONIC, nanoseconds.
    pub closed_ns: u64,
    /// What the socket has counted.
    pub counters: SocketCounters,
    /// The client's port, network byte order.
    pub client_port_be: u16,
    /// 1 if the connection was ever established, else 0.
    pub established: u8,
    /// The TCP state that the socket closed from, as the kernel numbers them (`BPF_TCP_*`).
    pub last_state: u8,
    /// The socket's error (errno), 0 where it has none or the kernel does not tell: what the network
    /// did to it. A socket that its own process cuts has none.
    pub error: u32,
}

/// TCP states, as the kernel numbers them (`BPF_TCP_*`).
pub mod tcp_state {
    /// Both ends are open.
    pub const ESTABLISHED: u32 = 1;
    /// The SYN is on its way.
    pub const SYN_SENT: u32 = 2;
    /// This end has closed; its FIN is not acknowledged.
    pub const FIN_WAIT1: u32 = 4;
    /// This end has closed; its FIN is acknowledged.
    pub const FIN_WAIT2: u32 = 5;
    /// Nothing is left of the connection.
    pub const CLOSE: u32 = 7;
    /// The peer has closed.
    pub const CLOSE_WAIT: u32 = 8;
    /// Both have closed, the peer first; this end's FIN is not acknowledged.
    pub const LAST_ACK: u32 = 9;
    /// A listener.
    pub const LISTEN: u32 = 10;
    /// Both have closed at once.
    pub const CLOSING: u32 = 11;
}

/// What a socket's counters say when it closes.
#[derive(Clone, Copy, Debug)]
pub struct ClosingCounters {
    /// `bytes_acked`: a FIN counts one, and so does the SYN of a socket that has connected.
    pub acked: u64,
    /// Whether the socket was accepted.
    pub accepted: bool,
    /// `bytes_received`: a FIN counts one.
    pub received: u64,
    /// `bytes_received` when the socket entered FIN_WAIT2.
    pub received_at_fin_wait2: u64,
    /// The state that it closes from.
    pub last_state: u32,
    /// Whether everything sent was acknowledged (`snd_una == snd_nxt`).
    pub all_acked: bool,
}

impl ClosingCounters {
    /// Payload bytes that the peer acknowledged.
    #[inline(always)]
    #[must_use]
    pub fn sent_payload(&self) -> u64 {
        use tcp_state::{CLOSING, FIN_WAIT1, FIN_WAIT2, LAST_ACK};
        let fin_sent = matches!(self.last_state, FIN_WAIT1 | FIN_WAIT2 | CLOSING | LAST_ACK);
        let syn = u64::from(!self.accepted);
        self.acked.saturating_sub(syn + u64::from(fin_sent && self.all_acked))
    }

    /// Payload bytes that arrived.
    ///
    /// A socket that closes from FIN_WAIT2 got the peer's FIN, or was abandoned before it came; then
    /// nothing has arrived since.
    #[inline(always)]
    #[must_use]
    pub fn received_payload(&self) -> u64 {
        use tcp_state::{CLOSE_WAIT, CLOSING, FIN_WAIT2, LAST_ACK};
        let fin_received = match self.last_state {
            CLOSE_WAIT | LAST_ACK | CLOSING => true,
            FIN_WAIT2 => self.received > self.received_at_fin_wait2,
            _ => false,
        };
        self.received.saturating_sub(u64::from(fin_received))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUNDRED: ClosingCounters = ClosingCounters {
        acked: 102,
        accepted: false,
        received: 51,
        received_at_fin_wait2: 0,
        last_state: tcp_state::LAST_ACK,
        all_acked: true,
    };

    #[test]
    fn syn_and_fins_are_not_payload() {
        assert_eq!((HUNDRED.sent_payload(), HUNDRED.received_payload()), (100, 50));
    }

    #[test]
    fn the_syn_of_an_accepted_socket_was_not_counted() {
        let accepted = ClosingCounters { acked: 101, accepted: true, ..HUNDRED };
        assert_eq!(accepted.sent_payload(), 100);
    }

    #[test]
    fn a_fin_that_was_not_acknowledged_is_not_taken_off() {
        let reset = ClosingCounters { acked: 101, all_acked: false, ..HUNDRED };
        assert_eq!(reset.sent_payload(), 100);
    }

    #[test]
    fn a_socket_abandoned_in_fin_wait2_got_no_fin() {
        let abandoned = ClosingCounters {
            received: 50,
            received_at_fin_wait2: 50,
            last_state: tcp_state::FIN_WAIT2,
            ..HUNDRED
        };
        assert_eq!(abandoned.received_payload(), 50);
        let answered = ClosingCounters { received: 51, ..abandoned };
        assert_eq!(answered.received_payload(), 50);
    }

    #[test]
    fn a_connect_that_failed_carried_nothing() {
        let refused = ClosingCounters { acked: 0, received: 0, last_state: tcp_state::SYN_SENT, ..HUNDRED };
        assert_eq!((refused.sent_payload(), refused.received_payload()), (0, 0));
    }
}

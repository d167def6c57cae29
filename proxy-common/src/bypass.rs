//! The same-node bypass: two sockets of this node that are the ends of one connection.

/// Bytes that may wait in a receiver's queue, whatever its buffer is. What TCP itself holds comes on top.
const BYPASS_QUEUE_LIMIT_BYTES: u32 = 2 << 20;

/// How much of its buffer a receiver's queue may take; beyond, sends go through TCP.
///
/// The kernel counts the queue as it counts TCP's own (`sk_rmem_alloc`), but TCP has offered its window without
/// it. Where both together are more than the buffer, TCP drops segments; where they are more than about twice as
/// much, also those that come while the socket is in use (`tcp_add_backlog`), and an RST is not sent again (seen
/// on 6.18: one of some thousand resets was lost). The window is half of the buffer at first, and its segments
/// take little more than their bytes.
#[inline(always)]
#[must_use]
pub const fn bypass_queue_limit(receive_buffer_bytes: u32) -> u32 {
    let share = receive_buffer_bytes / 8 * 3;
    if share < BYPASS_QUEUE_LIMIT_BYTES { share } else { BYPASS_QUEUE_LIMIT_BYTES }
}

/// A socket of this node.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct LocalSocket {
    /// Its cookie, by which it is in `BYPASS_SOCKETS`.
    pub cookie: u64,
    /// Where the kernel has its `tcp_sock`. Good for as long as the socket is in `BYPASS_SOCKETS`.
    pub address: u64,
}

/// Key of the `RENDEZVOUS` map: a client's own address, which the server sees as well unless somebody
/// between them translates it. Without a namespace, because the server is in another one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct RendezvousKey {
    /// IPv4 mapped into IPv6; network byte order.
    pub addr_be: [u8; 16],
    /// Network byte order.
    pub port_be: u16,
}

/// Value of the `RENDEZVOUS` map: a client that connects, and whose server may be on this node.
///
/// Written by `sock_ops`: by the client before its SYN leaves, by the server when the SYN comes, by the client
/// again before its ACK leaves; taken by the server when that comes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct Rendezvous {
    /// The client's end.
    pub client: LocalSocket,
    /// Which of its connections.
    pub connected_ns: u64,
    /// Sequence number of its first byte of payload; 0 until its end is established.
    pub first_seq: u32,
    /// 1 once a server of this node that may be bypassed has seen the SYN, else 0.
    pub answered: u32,
}

/// Key of the `BYPASSED` map: a connection, by its client.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct BypassKey {
    /// Cookie of the client's socket.
    pub client_cookie: u64,
    /// When it called connect(2): a socket can do so again. CLOCK_MONOTONIC, nanoseconds.
    pub connected_ns: u64,
}

/// Value of the `BYPASSED` map. It goes when both ends are closed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct Bypassed {
    /// The client's end.
    pub client: LocalSocket,
    /// The server's end.
    pub server: LocalSocket,
    /// Bytes of the client's sends that went to the server's queue.
    pub client_redirected_bytes: u64,
    /// Bytes of the server's sends that went to the client's queue.
    pub server_redirected_bytes: u64,
}

/// Value of the `BYPASS_ENDS` socket storage: which end of which connection this socket is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct BypassEnd {
    /// The connection.
    pub key: BypassKey,
    /// 1 for the server's end, else 0.
    pub is_server: u64,
}

#[cfg(test)]
mod tests {
    use super::{BYPASS_QUEUE_LIMIT_BYTES, bypass_queue_limit};

    #[test]
    fn a_queue_takes_a_part_of_the_buffer_and_never_more_than_the_limit() {
        assert_eq!(bypass_queue_limit(131_072), 49_152);
        assert_eq!(bypass_queue_limit(0), 0);
        assert_eq!(bypass_queue_limit(u32::MAX), BYPASS_QUEUE_LIMIT_BYTES);
    }
}

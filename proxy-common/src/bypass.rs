//! The same-node bypass: two sockets of this node that are the ends of one connection.

/// Bytes in a receiver's queue above which a send goes through TCP. What can be in flight then is this, the
/// last send (up to 17 pieces of 32 KiB, `MAX_SKB_FRAGS`), and what TCP itself holds.
pub const BYPASS_QUEUE_LIMIT_BYTES: u32 = 2 << 20;

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

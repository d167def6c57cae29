//! What the hooks know of connections that a workload accepts.

/// Key of the `LISTENING` map: where somebody in a network namespace listens. The value is the cookie
/// of the socket that was last to do so, 0 where that is not known.
///
/// Written by `sock_ops` as applications listen and close, and by the agent, which looks now and then.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct ListenKey {
    /// The network namespace.
    pub netns_cookie: u64,
    /// Address that is listened on, unspecified for all of its family; IPv4 mapped into IPv6; network
    /// byte order.
    pub addr_be: [u8; 16],
    /// TCP port, network byte order.
    pub port_be: u16,
    /// Explicit, always zero.
    pub pad: [u8; 6],
}

impl ListenKey {
    /// A place to listen.
    #[inline(always)]
    #[must_use]
    pub const fn new(netns_cookie: u64, addr_be: [u8; 16], port_be: u16) -> Self {
        Self { netns_cookie, addr_be, port_be, pad: [0; 6] }
    }
}

/// An IP version, as the maps number them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum IpVersion {
    /// IPv4.
    V4 = 4,
    /// IPv6.
    V6 = 6,
}

/// Key of the `INBOUND_LISTENERS` map: a listener of the proxy.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct InboundListenerKey {
    /// The network namespace that it is in.
    pub netns_cookie: u64,
    /// An [`IpVersion`].
    pub ip_version: u32,
    /// Explicit, always zero.
    pub pad: u32,
}

impl InboundListenerKey {
    /// The proxy's listener for packets of one IP version.
    #[inline(always)]
    #[must_use]
    pub const fn new(netns_cookie: u64, ip_version: IpVersion) -> Self {
        Self { netns_cookie, ip_version: ip_version as u32, pad: 0 }
    }
}

/// Key of the `PROBES` map: a connection that the kubelet opens, as its destination sees it.
///
/// Written by `sock_ops` at the kubelet's cgroup, before the SYN leaves; removed when the socket closes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct ProbeKey {
    /// The kubelet's address; IPv4 mapped into IPv6; network byte order.
    pub source_be: [u8; 16],
    /// The pod's address; likewise.
    pub dst_be: [u8; 16],
    /// The kubelet's port, network byte order.
    pub source_port_be: u16,
    /// The pod's port, network byte order.
    pub dst_port_be: u16,
}

/// Value of the `DESTINATIONS` map: what is known of a destination of the workloads, a Service or a pod.
/// The key is its address, 16 bytes, IPv4 mapped into IPv6, network byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct Destination {
    /// Which inbound entries of `PORTS` are this destination's.
    pub profile: u32,
    /// The prefix lengths in use.
    pub prefix_lens: crate::PrefixLens,
}

/// The longest prefix of a [`SubnetKey`], bits: all of it.
pub const SUBNET_KEY_BITS: u32 = SubnetKey::WORKLOAD_BITS + u128::BITS;

/// Data of a key of the `SKIP_SUBNETS` map, a trie: the workload's profile of subnets, and an address.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct SubnetKey {
    /// Id of the workload's cgroup, network byte order: a trie compares from the first byte on.
    pub workload_be: [u8; 8],
    /// IPv4 mapped into IPv6; network byte order.
    pub addr_be: [u8; 16],
}

impl SubnetKey {
    /// Bits before the address.
    pub const WORKLOAD_BITS: u32 = 64;

    /// An address as a workload sees it.
    #[inline(always)]
    #[must_use]
    pub const fn new(workload: u64, addr_be: [u8; 16]) -> Self {
        Self { workload_be: workload.to_be_bytes(), addr_be }
    }
}

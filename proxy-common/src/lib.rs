//! The contract between sluice's kernel programs and its proxy: map keys and values,
//! and the decisions that both sides must take alike.
//!
//! Everything here is `no_std`, free of I/O and total. Types that cross the boundary are
//! `repr(C)`, have no padding and no invalid bit pattern; their unit and byte order is in
//! the field's name or its first line.

#![no_std]

mod address;
mod bypass;
mod connection;
mod counter;
mod inbound;
mod learned;
mod ports;
mod settings;
mod workload;

pub use address::{
    LOOPBACK_V4_MAPPED, LOOPBACK_V6, UNSPECIFIED_V4_MAPPED, UNSPECIFIED_V6, V4_MAPPED_PREFIX,
    is_link_local_v6, is_loopback, is_v4_mapped, map_v4, mapped, normalise_unspecified,
};
pub use bypass::{
    BypassEnd, BypassKey, Bypassed, LocalSocket, Rendezvous, RendezvousKey, bypass_queue_limit,
};
pub use connection::{
    Closed, ClosingCounters, HandoffKey, Lane, LaneState, Open, OriginalDst, SocketCounters, Tracked,
    tcp_state,
};
pub use counter::Counter;
pub use inbound::{
    Destination, InboundListenerKey, IpVersion, ListenKey, ProbeKey, SUBNET_KEY_BITS, SubnetKey,
};
pub use learned::{LEARNED_CAPACITY, LearnedKey};
pub use ports::{Decision, Direction, PORT_MAP_CAPACITY, PortKey, PortRule, PrefixLens, RuleSource, decide};
pub use settings::{AGENT_BLOB_LEN, AgentBlob, LISTENER_PRIORITY, LogLevel, Settings};
pub use workload::{Workload, WorkloadName, flags};

/// Promises to aya that a type may be copied to and from a map as plain bytes.
///
/// The bounds are the proof: `IntoBytes` that there is no padding, `FromBytes` that every bit
/// pattern is valid.
#[cfg(feature = "user")]
macro_rules! impl_pod {
    ($($type:ty),+ $(,)?) => {$(
        const _: () = {
            const fn plain_bytes<T: zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::Immutable>() {}
            plain_bytes::<$type>();
        };
        // SAFETY: the bounds just checked say that there is no padding and no invalid bit pattern.
        #[expect(unsafe_code, reason = "aya::Pod is an unsafe marker; the bounds above prove it")]
        unsafe impl aya::Pod for $type {}
    )+};
}
#[cfg(feature = "user")]
impl_pod!(
    BypassEnd,
    BypassKey,
    Bypassed,
    Closed,
    Destination,
    HandoffKey,
    InboundListenerKey,
    Lane,
    LearnedKey,
    ListenKey,
    Open,
    OriginalDst,
    PortKey,
    PortRule,
    ProbeKey,
    Rendezvous,
    RendezvousKey,
    AgentBlob,
    Settings,
    SubnetKey,
    Tracked,
    Workload,
    WorkloadName,
);

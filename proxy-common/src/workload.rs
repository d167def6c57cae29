//! What is enrolled.

use crate::PrefixLens;

/// Bits of [`Workload::flags`].
pub mod flags {
    /// Without a live proxy a connection is refused (EPERM) instead of going direct.
    pub const STRICT: u32 = 1 << 0;
    /// Connections to loopback addresses are brought to the proxy too.
    pub const LOOPBACK: u32 = 1 << 1;
    /// Skipped connections are reported when they close.
    pub const REPORT_SKIPPED: u32 = 1 << 2;
    /// Application sends may travel by `sk_msg`.
    pub const SK_MSG: u32 = 1 << 3;
    /// The proxy is a foreign one: it has no heartbeat, and reads SO_ORIGINAL_DST.
    pub const FOREIGN_PROXY: u32 = 1 << 4;
    /// Of a connection: the workload accepts it, and its destination is the workload's own address.
    pub const INBOUND: u32 = 1 << 5;
    /// Of a record that is handed over: it says who the client is, for an application to see.
    pub const CLIENT: u32 = 1 << 7;
    /// Peers in the workload's entries of `SKIP_SUBNETS` are left alone.
    pub const SKIP_SUBNETS: u32 = 1 << 6;
    /// Opaque connections to others of this node that have it too may be bypassed.
    pub const SAME_NODE_BYPASS: u32 = 1 << 12;
    /// Opaque connections are on the kernel path: left to themselves, and counted.
    pub const OPAQUE_KERNEL: u32 = 1 << 8;
    /// Destinations that no rule names may be learned to be opaque; only with [`OPAQUE_KERNEL`].
    pub const LEARN_OPAQUE: u32 = 1 << 10;
}

/// Value of the `WORKLOADS` map; the key is the id of the workload's cgroup.
///
/// One write replaces the whole of it, so a new profile takes effect atomically.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct Workload {
    /// Which entries of `PORTS` are this workload's. Workloads with equal rules share a profile.
    pub profile: u32,
    /// See [`flags`].
    pub flags: u32,
    /// The prefix lengths in use, by [`crate::Direction`].
    pub prefix_lens: [PrefixLens; 2],
    /// Port of the proxy's listener on 127.0.0.1, network byte order; 0 where there is none.
    pub listener_v4_port_be: u16,
    /// Port of the proxy's listener on ::1, network byte order; 0 where there is none.
    pub listener_v6_port_be: u16,
    /// Explicit, always zero.
    pub pad: u32,
}

/// Value of the `NAMES` map: what people call a workload; the key is the id of its cgroup.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct WorkloadName {
    /// UTF-8, filled up with zeros.
    pub bytes: [u8; Self::MAX_LEN],
}

impl WorkloadName {
    /// The longest name, bytes: a Kubernetes namespace, a slash and a pod name.
    pub const MAX_LEN: usize = 63 + 1 + 253 + 3;

    /// The name as the maps hold it; `None` where it is empty or too long.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let mut bytes = [0; Self::MAX_LEN];
        if name.is_empty() {
            return None;
        }
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Some(Self { bytes })
    }

    /// The name as text; empty where a map held something else.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let len = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(Self::MAX_LEN);
        core::str::from_utf8(&self.bytes[..len]).unwrap_or_default()
    }
}

//! What was learned of destinations that no rule names.

use crate::Direction;

/// How many entries the `LEARNED` map takes, of all workloads together.
pub const LEARNED_CAPACITY: u32 = 16_384;

/// Key of the `LEARNED` map: a destination, as one workload knows it. The value is the time until which its
/// connections are opaque without a look: CLOCK_MONOTONIC, nanoseconds.
///
/// By workload, and not by port config: what one says to a server is no reason not to look at what another
/// says, and a port config is another one with each change.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct LearnedKey {
    /// The destination's address, the workload's own where it accepts; IPv4 mapped into IPv6; network byte
    /// order.
    pub addr_be: [u8; 16],
    /// Id of the workload's cgroup.
    pub workload: u64,
    /// TCP port, network byte order.
    pub port_be: u16,
    /// A [`Direction`].
    pub direction: u8,
    /// Explicit, always zero.
    pub pad: [u8; 5],
}

impl LearnedKey {
    /// A destination of a workload.
    #[inline(always)]
    #[must_use]
    pub const fn new(workload: u64, direction: Direction, addr_be: [u8; 16], port_be: u16) -> Self {
        Self { addr_be, workload, port_be, direction: direction as u8, pad: [0; 5] }
    }
}

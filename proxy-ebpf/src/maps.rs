//! The maps. The types of keys and values are in `proxy-common`.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::SkStorage,
    macros::{btf_map, map},
    maps::{Array, HashMap, PerCpuArray, RingBuf, SockHash},
};
use proxy_common::{
    AgentBlob, Closed, Counter, HandoffKey, Lane, OriginalDst, PORT_MAP_CAPACITY, PortKey, PortRule,
    Settings, Tracked, Workload, WorkloadName,
};

/// Connections that may be between connect(2) and the proxy's accept at one time, and proxied
/// connections that may use `sk_msg` at one time.
const MAX_CONNECTIONS: u32 = 65_536;
/// Workloads of a node.
const MAX_WORKLOADS: u32 = 4_096;
/// Bytes of closed skipped connections that userspace has not read yet.
pub(crate) const EVENTS_BYTES: u32 = 1 << 18;

/// By cgroup id. Written by userspace.
#[map]
pub(crate) static WORKLOADS: HashMap<u64, Workload> = HashMap::with_max_entries(MAX_WORKLOADS, 0);

/// By cgroup id. Written and read by userspace only.
#[map]
static NAMES: HashMap<u64, WorkloadName> = HashMap::with_max_entries(MAX_WORKLOADS, BPF_F_NO_PREALLOC);

/// The port config: skip ports, opaque ports. Written by userspace.
#[map]
pub(crate) static PORTS: HashMap<PortKey, PortRule> =
    HashMap::with_max_entries(PORT_MAP_CAPACITY, BPF_F_NO_PREALLOC);

/// One entry. Written by userspace.
#[map]
pub(crate) static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);

/// One entry: when the proxy last showed that it is alive; CLOCK_MONOTONIC, nanoseconds.
#[map]
pub(crate) static HEARTBEAT: Array<u64> = Array::with_max_entries(1, 0);

/// One entry. Written and read by userspace only.
#[map]
static AGENT: Array<AgentBlob> = Array::with_max_entries(1, 0);

/// By [`Counter`].
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::ALL.len() as u32, 0);

/// What is known of a client's socket, in the socket itself: it goes when the socket goes.
#[btf_map]
pub(crate) static TRACKED: SkStorage<Tracked> = SkStorage::new();

/// Where the client of an accepted socket meant to connect, in the accepted socket itself.
#[btf_map]
pub(crate) static ACCEPTED: SkStorage<OriginalDst> = SkStorage::new();

/// Original destinations between the client's SYN and the accepted end's handshake. Not an LRU: a
/// full map refuses the new entry, it never forgets one that is needed.
#[map]
pub(crate) static HANDOFF: HashMap<HandoffKey, OriginalDst> =
    HashMap::with_max_entries(MAX_CONNECTIONS, BPF_F_NO_PREALLOC);

/// Clients' sockets, by their own cookie: `sk_msg` is attached here.
#[map]
pub(crate) static CLIENT_SOCKETS: SockHash<u64> = SockHash::with_max_entries(MAX_CONNECTIONS, 0);

/// The proxy's accepted sockets, by the cookie of the client's.
#[map]
pub(crate) static PROXY_SOCKETS: SockHash<u64> = SockHash::with_max_entries(MAX_CONNECTIONS, 0);

/// By the cookie of the client's socket.
#[map]
pub(crate) static LANES: HashMap<u64, Lane> = HashMap::with_max_entries(MAX_CONNECTIONS, BPF_F_NO_PREALLOC);

/// Records of [`Closed`].
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(EVENTS_BYTES, 0);

/// Counts one outcome.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the lookup returned this CPU's slot; nothing else runs here before we are done.
        unsafe { *value += 1 };
    }
}

/// The settings; all zero (everything off) before userspace has written them.
#[inline(always)]
pub(crate) fn settings() -> Option<&'static Settings> {
    SETTINGS.get(0)
}

/// Room for a record of a closed connection; `None` when the ring is full.
#[inline(always)]
pub(crate) fn reserve_closed() -> Option<aya_ebpf::maps::ring_buf::RingBufEntry<Closed>> {
    EVENTS.reserve::<Closed>(0)
}

//! The maps. The types of keys and values are in `proxy-common`.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::SkStorage,
    macros::{btf_map, map},
    maps::{Array, HashMap, LpmTrie, PerCpuArray, RingBuf, SockHash},
};
use proxy_common::{
    AgentBlob, BypassEnd, BypassKey, Bypassed, Closed, Counter, Destination, HandoffKey, InboundListenerKey,
    LEARNED_CAPACITY, Lane, LearnedKey, ListenKey, Open, OriginalDst, PORT_MAP_CAPACITY, PortKey, PortRule,
    ProbeKey, Rendezvous, RendezvousKey, Settings, SubnetKey, Tracked, Workload, WorkloadName,
};

/// Connections that may be between connect(2) and the proxy's accept at one time, those that may use
/// `sk_msg` at one time, and those that may be open on the kernel path and show their bytes.
const MAX_CONNECTIONS: u32 = 65_536;
/// Workloads of a node.
const MAX_WORKLOADS: u32 = 4_096;
/// Places where workloads listen.
const MAX_LISTENING: u32 = 65_536;
/// Connections of the kubelet at one time.
const MAX_PROBES: u32 = 16_384;
/// Addresses of Services and pods.
const MAX_DESTINATIONS: u32 = 65_536;
/// Subnets of all workloads together.
const MAX_SUBNETS: u32 = 65_536;
/// Bytes of records of connections that have ended, which userspace has not read yet.
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

/// What is known of a socket, in the socket itself: it goes when the socket goes.
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

/// By cookie of a network namespace: the id of the workload whose inbound connections are brought to
/// the proxy. Written by userspace.
#[map]
pub(crate) static INBOUND: HashMap<u64, u64> = HashMap::with_max_entries(MAX_WORKLOADS, BPF_F_NO_PREALLOC);

/// One entry, in a map of its own for each namespace that `sk_lookup` is attached to: its cookie, which
/// that hook cannot ask for. Written by userspace.
#[map]
pub(crate) static NETNS: Array<u64> = Array::with_max_entries(1, 0);

/// Where applications listen in those namespaces.
#[map]
pub(crate) static LISTENING: HashMap<ListenKey, u64> =
    HashMap::with_max_entries(MAX_LISTENING, BPF_F_NO_PREALLOC);

/// The proxy's listeners in those namespaces. A listener that is closed is gone from here.
#[map]
pub(crate) static INBOUND_LISTENERS: SockHash<InboundListenerKey> =
    SockHash::with_max_entries(2 * MAX_WORKLOADS, 0);

/// The kubelet's open connections.
#[map]
pub(crate) static PROBES: HashMap<ProbeKey, u8> = HashMap::with_max_entries(MAX_PROBES, BPF_F_NO_PREALLOC);

/// By address: the port configs of Services and pods that workloads connect to. Written by userspace.
#[map]
pub(crate) static DESTINATIONS: HashMap<[u8; 16], Destination> =
    HashMap::with_max_entries(MAX_DESTINATIONS, BPF_F_NO_PREALLOC);

/// Until when destinations that no rule names are opaque; CLOCK_MONOTONIC, nanoseconds. Written by userspace.
#[map]
pub(crate) static LEARNED: HashMap<LearnedKey, u64> =
    HashMap::with_max_entries(LEARNED_CAPACITY, BPF_F_NO_PREALLOC);

/// Peers that workloads leave alone. Written by userspace.
#[map]
pub(crate) static SKIP_SUBNETS: LpmTrie<SubnetKey, u8> = LpmTrie::with_max_entries(MAX_SUBNETS, 0);

/// Clients' sockets, by their own cookie: `sk_msg` is attached here.
#[map]
pub(crate) static CLIENT_SOCKETS: SockHash<u64> = SockHash::with_max_entries(MAX_CONNECTIONS, 0);

/// The proxy's accepted sockets, by the cookie of the client's.
#[map]
pub(crate) static PROXY_SOCKETS: SockHash<u64> = SockHash::with_max_entries(MAX_CONNECTIONS, 0);

/// By the cookie of the client's socket.
#[map]
pub(crate) static LANES: HashMap<u64, Lane> = HashMap::with_max_entries(MAX_CONNECTIONS, BPF_F_NO_PREALLOC);

/// Both ends of bypassed connections, each by its own cookie: `sk_msg_bypass` is attached here. An entry
/// goes when its socket is closed, and by nothing else.
#[map]
pub(crate) static BYPASS_SOCKETS: SockHash<u64> = SockHash::with_max_entries(2 * MAX_CONNECTIONS, 0);

/// Clients that connect and may be bypassed, between SYN and ACK.
#[map]
pub(crate) static RENDEZVOUS: HashMap<RendezvousKey, Rendezvous> =
    HashMap::with_max_entries(MAX_CONNECTIONS, BPF_F_NO_PREALLOC);

/// Connections whose ends have found each other.
#[map]
pub(crate) static BYPASSED: HashMap<BypassKey, Bypassed> =
    HashMap::with_max_entries(MAX_CONNECTIONS, BPF_F_NO_PREALLOC);

/// Those of which one end is closed.
#[map]
pub(crate) static HALF_CLOSED: HashMap<BypassKey, u8> =
    HashMap::with_max_entries(MAX_CONNECTIONS, BPF_F_NO_PREALLOC);

/// Which end of which connection a socket is, in the socket itself.
#[btf_map]
pub(crate) static BYPASS_ENDS: SkStorage<BypassEnd> = SkStorage::new();
/// The open connections on the kernel path, by the cookies of their sockets.
#[map]
pub(crate) static OPEN: HashMap<u64, Open> = HashMap::with_max_entries(MAX_CONNECTIONS, BPF_F_NO_PREALLOC);

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

//! Opening the maps by name, from the loaded object or from their pins.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, LpmTrie, Map, MapData, PerCpuArray, SkStorage, SockHash},
};

use super::{error::KernelError, pins::Pins};

pub(super) const WORKLOADS: &str = "WORKLOADS";
pub(super) const NAMES: &str = "NAMES";
pub(super) const PORTS: &str = "PORTS";
pub(super) const SETTINGS: &str = "SETTINGS";
pub(super) const HEARTBEAT: &str = "HEARTBEAT";
pub(super) const AGENT: &str = "AGENT";
pub(super) const COUNTERS: &str = "COUNTERS";
pub(super) const BYPASSED: &str = "BYPASSED";
pub(super) const ACCEPTED: &str = "ACCEPTED";
pub(super) const LANES: &str = "LANES";
pub(super) const EVENTS: &str = "EVENTS";
pub(super) const OPEN: &str = "OPEN";
pub(super) const TRACKED: &str = "TRACKED";
pub(super) const DESTINATIONS: &str = "DESTINATIONS";
pub(super) const LEARNED: &str = "LEARNED";
pub(super) const SKIP_SUBNETS: &str = "SKIP_SUBNETS";
pub(super) const INBOUND: &str = "INBOUND";
pub(super) const INBOUND_LISTENERS: &str = "INBOUND_LISTENERS";
pub(super) const LISTENING: &str = "LISTENING";
pub(super) const NETNS: &str = "NETNS";

/// The maps that the command line shares with the agent.
pub(super) const PINNED: [&str; 11] = [
    WORKLOADS,
    NAMES,
    PORTS,
    DESTINATIONS,
    LEARNED,
    SKIP_SUBNETS,
    INBOUND,
    SETTINGS,
    HEARTBEAT,
    AGENT,
    COUNTERS,
];

/// Where maps are to be had.
pub(super) trait MapSource {
    /// A handle of its own on a map.
    fn map_data(&self, name: &'static str) -> Result<MapData, KernelError>;
}

impl MapSource for Ebpf {
    fn map_data(&self, name: &'static str) -> Result<MapData, KernelError> {
        let map = self.map(name).ok_or(KernelError::Missing { kind: "map", name })?;
        let fd = descriptor(map, name)?;
        MapData::from_fd(fd).map_err(error("open", name))
    }
}

impl MapSource for Pins {
    fn map_data(&self, name: &'static str) -> Result<MapData, KernelError> {
        MapData::from_pin(self.path_of(name)).map_err(error("open", name))
    }
}

/// A descriptor of its own on a map of the loaded object.
pub(super) fn descriptor(map: &Map, name: &'static str) -> Result<OwnedFd, KernelError> {
    let fd = borrowed(map).ok_or(KernelError::Missing { kind: "map of the expected type", name })?;
    fd.try_clone_to_owned().map_err(|source| error("open", name)(source.into()))
}

/// The descriptor of a map of a type that sluice uses.
pub(super) fn borrowed(map: &Map) -> Option<BorrowedFd<'_>> {
    let (Map::Array(data)
    | Map::HashMap(data)
    | Map::LpmTrie(data)
    | Map::PerCpuArray(data)
    | Map::RingBuf(data)
    | Map::SkStorage(data)
    | Map::SockHash(data)) = map
    else {
        return None;
    };
    Some(data.fd().as_fd())
}

pub(super) fn hash<K: Pod, V: Pod>(
    source: &dyn MapSource,
    name: &'static str,
) -> Result<HashMap<MapData, K, V>, KernelError> {
    HashMap::try_from(Map::HashMap(source.map_data(name)?)).map_err(error("open", name))
}

pub(super) fn lpm_trie<K: Pod, V: Pod>(
    source: &dyn MapSource,
    name: &'static str,
) -> Result<LpmTrie<MapData, K, V>, KernelError> {
    LpmTrie::try_from(Map::LpmTrie(source.map_data(name)?)).map_err(error("open", name))
}

pub(super) fn array<V: Pod>(
    source: &dyn MapSource,
    name: &'static str,
) -> Result<Array<MapData, V>, KernelError> {
    Array::try_from(Map::Array(source.map_data(name)?)).map_err(error("open", name))
}

pub(super) fn per_cpu_array<V: Pod>(
    source: &dyn MapSource,
    name: &'static str,
) -> Result<PerCpuArray<MapData, V>, KernelError> {
    PerCpuArray::try_from(Map::PerCpuArray(source.map_data(name)?)).map_err(error("open", name))
}

pub(super) fn sk_storage<V: Pod>(
    source: &dyn MapSource,
    name: &'static str,
) -> Result<SkStorage<MapData, V>, KernelError> {
    SkStorage::try_from(Map::SkStorage(source.map_data(name)?)).map_err(error("open", name))
}

pub(super) fn sock_hash<K: Pod>(
    source: &dyn MapSource,
    name: &'static str,
) -> Result<SockHash<MapData, K>, KernelError> {
    SockHash::try_from(Map::SockHash(source.map_data(name)?)).map_err(error("open", name))
}

/// Turns a map error into ours.
pub(super) fn error(action: &'static str, map: &'static str) -> impl Fn(aya::maps::MapError) -> KernelError {
    move |source| KernelError::Map { action, map, source: Box::new(source) }
}

//! The hook that brings a workload's inbound connections to the proxy: `sk_lookup`, at a network namespace.
//!
//! That hook cannot ask which namespace it runs in. So the program is loaded once for each, with a map
//! of its own, `NETNS`, that says so; all its other maps are those of the loaded object.

use std::{
    collections::{HashMap as StdHashMap, HashSet},
    fmt, fs, io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError, SockHash},
};
use aya_obj::Object;
use proxy_common::{InboundListenerKey, IpVersion, ListenKey};

use super::{
    error::KernelError,
    listening::ListeningSockets,
    maps::{self, INBOUND, INBOUND_LISTENERS, LISTENING, NETNS},
    netns::Netns,
    pins::Pins,
    programs::{OBJECT, SK_LOOKUP},
    sys,
};

/// `sk_lookup` at a network namespace, and the sockets there. Dropping it detaches it: connections that
/// come in go to the applications.
pub(crate) struct InboundHook {
    netns_cookie: u64,
    maps: Mutex<Maps>,
    sockets: ListeningSockets,
    /// A pinned link stays when this process is killed, so that a strict workload goes on refusing.
    pin: Option<PathBuf>,
    _link: OwnedFd,
}

impl fmt::Debug for InboundHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundHook").field("netns_cookie", &self.netns_cookie).finish_non_exhaustive()
    }
}

/// The maps that tell the hook what to do.
struct Maps {
    inbound: HashMap<MapData, u64, u64>,
    listening: HashMap<MapData, ListenKey, u64>,
    listeners: SockHash<MapData, InboundListenerKey>,
}

/// The places where somebody is taken to listen, by the cookie of their namespace.
#[derive(Debug)]
pub(crate) struct Noted(StdHashMap<u64, HashSet<ListenKey>>);

impl InboundHook {
    /// Attaches the program to a namespace. Until [`Self::bring`] it lets everything pass.
    pub(super) fn attach(
        ebpf: &Ebpf,
        template: &Template,
        netns: &Netns,
        netns_cookie: u64,
        pins: Option<&Pins>,
    ) -> Result<Self, KernelError> {
        let program = template.load(netns_cookie)?;
        let namespace = netns.file().map_err(refused)?;
        let link = sys::attach_sk_lookup(program.as_fd(), namespace.as_fd()).map_err(refused)?;
        let pin = match pins {
            None => None,
            Some(pins) => {
                let path = pins.path_of_link(netns_cookie, SK_LOOKUP);
                sys::pin(link.as_fd(), &path).map_err(|source| KernelError::PinDir {
                    action: "pin to",
                    path: path.clone(),
                    source,
                })?;
                Some(path)
            }
        };
        let maps = Maps {
            inbound: maps::hash(ebpf, INBOUND)?,
            listening: maps::hash(ebpf, LISTENING)?,
            listeners: maps::sock_hash(ebpf, INBOUND_LISTENERS)?,
        };
        let sockets = ListeningSockets::of(netns).map_err(refused)?;
        Ok(Self { netns_cookie, maps: Mutex::new(maps), sockets, pin, _link: link })
    }

    /// Brings connections to these listeners from now on, by the port config of the workload with this
    /// cgroup id.
    pub(crate) fn bring(&self, workload: u64, listeners: &[(IpVersion, RawFd)]) -> Result<(), KernelError> {
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        for (ip_version, listener) in listeners {
            maps.listeners
                .insert(InboundListenerKey::new(self.netns_cookie, *ip_version), *listener, 0)
                .map_err(maps::error("write", INBOUND_LISTENERS))?;
        }
        maps.inbound.insert(self.netns_cookie, workload, 0).map_err(maps::error("write", INBOUND))?;
        drop(maps);
        self.look(&self.noted()?)
    }

    /// Looks who listens in the namespace, and tells the hook: of sockets that listened before it was
    /// attached, nobody else tells. `noted` has been asked for before: what is noted and then not found
    /// was closed, unless it was opened again since.
    pub(crate) fn look(&self, noted: &Noted) -> Result<(), KernelError> {
        let netns_error = |source| KernelError::Netns {
            action: "list the listening sockets of",
            path: PathBuf::from(format!("with cookie {}", self.netns_cookie)),
            source,
        };
        let none = HashSet::new();
        let noted = noted.0.get(&self.netns_cookie).unwrap_or(&none);
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        let found: HashSet<ListenKey> = self
            .sockets
            .list()
            .map_err(netns_error)?
            .into_iter()
            .map(|(addr_be, port_be)| ListenKey::new(self.netns_cookie, addr_be, port_be))
            .collect();
        for key in found.difference(noted) {
            maps.listening.insert(key, 0, 0).map_err(maps::error("write", LISTENING))?;
        }
        for key in noted.difference(&found) {
            maps.forget(key)?;
        }
        Ok(())
    }

    /// Where the hooks of all namespaces take somebody to listen.
    pub(crate) fn noted(&self) -> Result<Noted, KernelError> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner).noted()
    }

    /// Which namespace it is at.
    pub(crate) fn netns_cookie(&self) -> u64 {
        self.netns_cookie
    }
}

impl Drop for InboundHook {
    fn drop(&mut self) {
        if let Some(pin) = &self.pin
            && let Err(error) = fs::remove_file(pin)
        {
            tracing::warn!(pin = %pin.display(), %error, "a hook stays attached");
        }
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        let _not_brought = maps.inbound.remove(&self.netns_cookie);
        match maps.noted() {
            Ok(mut noted) => {
                for key in noted.0.remove(&self.netns_cookie).unwrap_or_default() {
                    if let Err(error) = maps.forget(&key) {
                        tracing::warn!(%error, "a place to listen stays noted");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "places to listen stay noted"),
        }
    }
}

impl Maps {
    fn noted(&self) -> Result<Noted, KernelError> {
        let mut noted = StdHashMap::<u64, HashSet<ListenKey>>::new();
        for key in self.listening.keys() {
            let key = key.map_err(maps::error("read", LISTENING))?;
            noted.entry(key.netns_cookie).or_default().insert(key);
        }
        Ok(Noted(noted))
    }

    fn forget(&mut self, key: &ListenKey) -> Result<(), KernelError> {
        match self.listening.remove(key) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(source) => Err(maps::error("write", LISTENING)(source)),
        }
    }
}

/// The program before its maps are put in, and those maps but `NETNS`.
pub(super) struct Template {
    object: Object,
    maps_of_object: StdHashMap<String, aya_obj::Map>,
    descriptors: StdHashMap<String, OwnedFd>,
}

impl Template {
    /// Of the loaded object, before any of its maps is taken out.
    pub(super) fn of(ebpf: &Ebpf) -> Result<Self, KernelError> {
        let mut object = Object::parse(OBJECT).map_err(malformed)?;
        object.programs.retain(|name, _| name == SK_LOOKUP);
        let mut descriptors = StdHashMap::new();
        for (name, map) in ebpf.maps() {
            if let Some(fd) = maps::borrowed(map) {
                let fd = fd.try_clone_to_owned().map_err(malformed)?;
                descriptors.insert(name.to_owned(), fd);
            }
        }
        Ok(Self { maps_of_object: std::mem::take(&mut object.maps), object, descriptors })
    }

    /// Loads the program with a `NETNS` of its own.
    fn load(&self, netns_cookie: u64) -> Result<OwnedFd, KernelError> {
        let netns = netns_map(&self.maps_of_object, netns_cookie)?;
        let descriptors = self.maps_of_object.iter().filter_map(|(name, map)| {
            let fd = if name == NETNS { &netns } else { self.descriptors.get(name)? };
            Some((name.as_str(), fd.as_raw_fd(), map))
        });
        let mut object = self.object.clone();
        let text_sections = object.functions.keys().map(|(section, _)| *section).collect();
        object
            .relocate_maps(descriptors, &text_sections)
            .and_then(|()| object.relocate_calls(&text_sections))
            .map_err(malformed)?;
        let missing = KernelError::Missing { kind: "program", name: SK_LOOKUP };
        let program = object.programs.get(SK_LOOKUP).ok_or(missing)?;
        let function = &object.functions[&program.function_key()];
        sys::load_sk_lookup(&function.instructions, &program.license).map_err(refused)
    }
}

fn malformed(error: impl fmt::Display) -> KernelError {
    KernelError::Load { reason: error.to_string() }
}

fn refused(source: io::Error) -> KernelError {
    KernelError::refused(SK_LOOKUP, source)
}

/// A map that says which namespace the program is attached to.
fn netns_map(
    maps_of_object: &StdHashMap<String, aya_obj::Map>,
    netns_cookie: u64,
) -> Result<OwnedFd, KernelError> {
    let missing = KernelError::Missing { kind: "map", name: NETNS };
    let map = maps_of_object.get(NETNS).cloned().ok_or(missing)?;
    let map = MapData::create(map, NETNS, None).map_err(maps::error("create", NETNS))?;
    let fd = map.fd().as_fd().try_clone_to_owned();
    let mut array = Array::<_, u64>::try_from(Map::Array(map)).map_err(maps::error("open", NETNS))?;
    array.set(0, netns_cookie, 0).map_err(maps::error("write", NETNS))?;
    fd.map_err(|source| maps::error("open", NETNS)(source.into()))
}

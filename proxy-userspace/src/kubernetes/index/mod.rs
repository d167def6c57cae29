//! The index: what the API server tells goes in, what is to be done comes out. Pure: no I/O and no clock.
//!
//! Whatever the order in which objects are told, the same objects give the same result, with one exception
//! that is meant: an annotation that cannot be read leaves the value that the same object had before
//! ([`slot`]).
//!
//! Each object is looked at when it changes, or when something does that it depends on:
//!
//! ```text
//! Namespace ──► its Services ──► their endpoints ──► addresses
//!     │              └──► the pods that they select ──► addresses
//!     └──► its pods                    ▲
//!                                      └── endpoints at their addresses
//! ```

mod addresses;
mod desired;
mod pod;
mod service;
mod slot;
mod space;
mod update;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::SystemTime,
};

pub use self::desired::{
    Desired, Destination, Disagreement, Kind, LeftAlone, Level, NodeDefaults, OpaqueBy, PodPolicy, Problem,
    ProblemKey, ServiceFacts, ServicePortFacts, Sources,
};
use self::{addresses::Addresses, pod::Around, space::Space};
use super::objects::{Endpoints, Key, Namespace, Pod, Service};
use crate::policy::{DEFAULT_OPAQUE_PORTS, EnrolMode, PortSet};

/// What the API server tells.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Namespaces(Change<Namespace>),
    Services(Change<Service>),
    Endpoints(Change<Endpoints>),
    Pods(Change<Pod>),
}

/// What happens to the objects of a kind.
#[derive(Clone, Debug)]
pub(super) enum Change<T> {
    /// It is there, or has changed. An older version than the one that is known says nothing.
    Upsert(T),
    /// It is gone; another one of the name stays.
    Delete { key: Key, uid: Arc<str> },
    /// These are all there are, and this is what they are, whatever was told before.
    Relist(Vec<T>),
}

/// How often something was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Recomputed {
    pub(super) services: usize,
    pub(super) endpoints: usize,
    pub(super) pods: usize,
    pub(super) addresses: usize,
}

/// How many objects are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// Namespaces.
    pub namespaces: usize,
    /// Services.
    pub services: usize,
    /// `EndpointSlices`, or Endpoints.
    pub endpoints: usize,
    /// Pods of this node.
    pub pods: usize,
}

/// What is known, and what follows from it.
#[derive(Debug)]
pub(super) struct Index {
    node_name: Arc<str>,
    enrol: EnrolMode,
    defaults: NodeDefaults,
    /// The node's opaque ports, or the built-in ones.
    node_opaque: (PortSet, Level),
    spaces: BTreeMap<Arc<str>, Space>,
    addresses: Addresses,
    desired: Desired,
    recomputed: Recomputed,
}

/// What is to be looked at again.
#[derive(Debug, Default)]
struct Dirty {
    spaces: BTreeSet<Arc<str>>,
    services: BTreeSet<Key>,
    endpoints: BTreeSet<Key>,
    pods: BTreeSet<Key>,
    addresses: BTreeSet<IpAddr>,
}

impl Index {
    /// An index that knows nothing yet, of the node with this name.
    pub(super) fn new(node_name: &str, defaults: NodeDefaults, enrol: EnrolMode) -> Self {
        Self {
            node_name: node_name.into(),
            enrol,
            node_opaque: node_opaque(&defaults),
            defaults,
            spaces: BTreeMap::new(),
            addresses: Addresses::default(),
            desired: Desired::default(),
            recomputed: Recomputed::default(),
        }
    }

    /// What is to be done, as far as is known.
    pub(super) fn desired(&self) -> &Desired {
        &self.desired
    }

    /// How many objects are known.
    pub(super) fn objects(&self) -> Objects {
        let mut objects = Objects::default();
        for space in self.spaces.values() {
            objects.namespaces += usize::from(space.object.is_some());
            objects.services += space.services.len();
            objects.endpoints += space.endpoints.len();
            objects.pods += space.pods.len();
        }
        objects
    }

    /// Takes other settings of the node.
    pub(super) fn configure(&mut self, defaults: NodeDefaults, enrol: EnrolMode) {
        self.node_opaque = node_opaque(&defaults);
        self.defaults = defaults;
        self.enrol = enrol;
        let mut dirty = Dirty { addresses: self.addresses.all(), ..Dirty::default() };
        for (namespace, space) in &self.spaces {
            dirty.all_of(namespace, space);
        }
        self.settle(dirty);
    }

    /// Takes what the API server tells; `now` is when a mistake is said to have begun.
    pub(super) fn apply(&mut self, event: Event, now: SystemTime) {
        let mut dirty = Dirty::default();
        match event {
            Event::Namespaces(change) => self.change(change, now, &mut dirty),
            Event::Services(change) => self.change(change, now, &mut dirty),
            Event::Endpoints(change) => self.change(change, now, &mut dirty),
            Event::Pods(change) => self.change(change, now, &mut dirty),
        }
        self.settle(dirty);
    }

    /// Looks again at what a change concerns, in the order in which one depends on the other.
    fn settle(&mut self, mut dirty: Dirty) {
        for service in std::mem::take(&mut dirty.services) {
            self.look_at_service(&service, &mut dirty);
        }
        for endpoints in std::mem::take(&mut dirty.endpoints) {
            self.look_at_endpoints(&endpoints, &mut dirty);
        }
        for pod in std::mem::take(&mut dirty.pods) {
            self.look_at_pod(&pod, &mut dirty);
        }
        for address in dirty.addresses {
            self.look_at_address(address);
        }
        for namespace in dirty.spaces {
            if self.spaces.get(&namespace).is_some_and(Space::is_empty) {
                self.spaces.remove(&namespace);
            }
        }
    }

    fn look_at_service(&mut self, key: &Key, dirty: &mut Dirty) {
        let node = (&self.node_opaque.0, self.node_opaque.1);
        let Some(space) = self.spaces.get_mut(&key.namespace) else { return };
        let namespace = space.object.as_ref().map(|entry| &entry.slots);
        let Some(entry) = space.services.get_mut(&key.name) else { return };
        self.recomputed.services += 1;
        let facts = service::facts(&entry.object, &entry.slots, namespace, node);
        let says = service::says(&facts, node.0);
        let before = entry.facts.take();
        let facts = before.as_ref().filter(|before| ***before == facts).cloned().unwrap_or(Arc::new(facts));
        entry.facts = Some(Arc::clone(&facts));

        let old_ips = before.iter().flat_map(|before| &before.cluster_ips);
        for ip in old_ips.filter(|ip| !facts.cluster_ips.contains(*ip)) {
            self.addresses.service_says(*ip, key, None);
            dirty.addresses.insert(*ip);
        }
        for ip in &facts.cluster_ips {
            // Also where the facts are as before: the node's list, which they are compared with, may be
            // another.
            self.addresses.service_says(*ip, key, says.clone());
            dirty.addresses.insert(*ip);
        }
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &facts)) {
            return;
        }
        Arc::make_mut(&mut self.desired.services).insert(key.clone(), Arc::clone(&facts));
        if before.is_none_or(|before| before.ports != facts.ports) {
            dirty.of_service(key, space);
        }
    }

    fn look_at_endpoints(&mut self, key: &Key, dirty: &mut Dirty) {
        let Some(space) = self.spaces.get_mut(&key.namespace) else { return };
        let Space { endpoints, services, .. } = space;
        let Some(entry) = endpoints.get_mut(&key.name) else { return };
        self.recomputed.endpoints += 1;
        let service = entry.object.service.as_ref().and_then(|name| services.get(name));
        let mut says: BTreeMap<IpAddr, PortSet> = BTreeMap::new();
        if let Some(facts) = service.and_then(|service| service.facts.as_ref()) {
            for group in &entry.object.groups {
                let marked = service::marked_at_endpoints(facts, group);
                if !marked.is_empty() {
                    for ip in &group.addresses {
                        let at_ip = says.entry(*ip).or_default();
                        *at_ip = at_ip.union(&marked);
                    }
                }
            }
        }
        let said = std::mem::replace(&mut entry.said, says.clone());
        for ip in said.keys().filter(|ip| !says.contains_key(*ip)) {
            self.addresses.endpoints_say(*ip, key, None);
            dirty.at_address(*ip, &self.addresses);
        }
        for (ip, marked) in says {
            if said.get(&ip) != Some(&marked) {
                self.addresses.endpoints_say(ip, key, Some(marked));
                dirty.at_address(ip, &self.addresses);
            }
        }
    }

    fn look_at_pod(&mut self, key: &Key, dirty: &mut Dirty) {
        let Some(space) = self.spaces.get(&key.namespace) else { return };
        let Some(entry) = space.pods.get(&key.name) else { return };
        self.recomputed.pods += 1;
        let ips = pod::own_ips(&entry.object, &self.node_name);
        let around = Around {
            node_name: &self.node_name,
            enrol: self.enrol,
            defaults: &self.defaults,
            node_opaque: (&self.node_opaque.0, self.node_opaque.1),
            space,
            marked_at_ips: self.addresses.marked_at(&ips),
        };
        let pod::Outcome { policy, says, disagreements } = pod::outcome(entry, &around);

        for ip in entry.said_of.iter().filter(|ip| !ips.contains(*ip)) {
            self.addresses.pod_says(*ip, key, None);
            dirty.addresses.insert(*ip);
        }
        for ip in &ips {
            self.addresses.pod_says(*ip, key, Some(says.clone()));
            dirty.addresses.insert(*ip);
        }
        let entry = self.spaces.get_mut(&key.namespace).and_then(|space| space.pods.get_mut(&key.name));
        if let Some(entry) = entry {
            entry.said_of = ips;
        }

        let Desired { pods, left_alone, disagreements: disagreeing, .. } = &mut self.desired;
        let (policy, reason) =
            policy.map_or_else(|reason| (None, Some(reason)), |policy| (Some(policy), None));
        if pods.get(key).map(|policy| &**policy) != policy.as_ref() {
            set(pods, key, policy.map(Arc::new));
        }
        set(left_alone, key, reason);
        set(disagreeing, key, Some(disagreements).filter(|all| !all.is_empty()).map(Arc::from));
    }

    fn look_at_address(&mut self, address: IpAddr) {
        self.recomputed.addresses += 1;
        let holds = self.addresses.destination(address, &self.node_opaque.0);
        set(&mut self.desired.destinations, &address, holds);
    }

    /// Entries that are kept besides the objects: none where there are no objects.
    #[cfg(test)]
    fn leftovers(&self) -> usize {
        let references: usize = self.spaces.values().map(Space::references).sum();
        let Desired { pods, left_alone, destinations, services, problems, disagreements } = &self.desired;
        let results = pods.len() + left_alone.len() + destinations.len() + services.len();
        let addresses = self.addresses.all().len();
        self.spaces.len() + references + results + problems.len() + disagreements.len() + addresses
    }
}

impl Dirty {
    /// Everything in a namespace.
    fn all_of(&mut self, namespace: &Arc<str>, space: &Space) {
        let key = |name: &Arc<str>| Key { namespace: Arc::clone(namespace), name: Arc::clone(name) };
        self.services.extend(space.services.keys().map(key));
        self.pods.extend(space.pods.keys().map(key));
    }

    /// What depends on a Service.
    fn of_service(&mut self, service: &Key, space: &Space) {
        let key = |name: &Arc<str>| Key { namespace: Arc::clone(&service.namespace), name: Arc::clone(name) };
        self.endpoints.extend(space.endpoints_of(&service.name).map(key));
        if let Some(entry) = space.services.get(&service.name) {
            self.pods.extend(space.selected(&entry.object.selector).map(key));
        }
    }

    /// What depends on the endpoints at an address.
    fn at_address(&mut self, address: IpAddr, addresses: &Addresses) {
        self.addresses.insert(address);
        self.pods.extend(addresses.pods(address).cloned());
    }
}

/// The opaque ports of the node, and who says so.
fn node_opaque(defaults: &NodeDefaults) -> (PortSet, Level) {
    let node = defaults.ports.opaque.clone().map(|ports| (ports, Level::Node));
    node.unwrap_or_else(|| (DEFAULT_OPAQUE_PORTS.into_iter().collect(), Level::BuiltIn))
}

/// Puts a value, or takes it away; a map that others hold is copied, and only where something changes.
fn set<K: Ord + Clone, V: Clone + PartialEq>(map: &mut Arc<BTreeMap<K, V>>, key: &K, value: Option<V>) {
    match value {
        Some(value) => {
            if map.get(key) != Some(&value) {
                Arc::make_mut(map).insert(key.clone(), value);
            }
        }
        None => {
            if map.contains_key(key) {
                Arc::make_mut(map).remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests;

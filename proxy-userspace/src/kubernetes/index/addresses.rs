//! Destinations: what each object says of the ports at an address, weighed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use super::desired::Destination;
use crate::{kubernetes::objects::Key, policy::PortSet};

/// What is said of each address, and by whom.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    by_ip: HashMap<IpAddr, Address>,
}

/// What is said of one address.
#[derive(Debug, Default)]
struct Address {
    /// By Services that have it.
    services: BTreeMap<Key, Destination>,
    /// By Services whose endpoint it is: ports that they mark opaque.
    endpoints: BTreeMap<Key, PortSet>,
    /// By pods of this node that have it.
    pods: BTreeMap<Key, PodSays>,
}

/// What a pod of this node says of its own address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PodSays {
    /// The list on itself or on its namespace; `None` where the node's holds.
    pub(super) opaque: Option<PortSet>,
    /// Whether the list is its own, and so the last word.
    pub(super) is_own: bool,
    /// Ports that Services which select it mark opaque.
    pub(super) marked: PortSet,
}

impl Addresses {
    /// A Service says this of its address; nothing where it says nothing.
    pub(super) fn service_says(&mut self, address: IpAddr, service: &Key, says: Option<Destination>) {
        self.say(address, says, service, |address| &mut address.services);
    }

    /// Endpoints of a Service say this; nothing where they say nothing.
    pub(super) fn endpoints_say(&mut self, address: IpAddr, endpoints: &Key, says: Option<PortSet>) {
        self.say(address, says, endpoints, |address| &mut address.endpoints);
    }

    /// A pod of this node has this address, and says this; nothing where it has it no more.
    pub(super) fn pod_says(&mut self, address: IpAddr, pod: &Key, says: Option<PodSays>) {
        self.say(address, says, pod, |address| &mut address.pods);
    }

    fn say<T>(
        &mut self,
        ip: IpAddr,
        says: Option<T>,
        who: &Key,
        of: impl Fn(&mut Address) -> &mut BTreeMap<Key, T>,
    ) {
        if let Some(says) = says {
            of(self.by_ip.entry(ip).or_default()).insert(who.clone(), says);
            return;
        }
        let Some(address) = self.by_ip.get_mut(&ip) else { return };
        of(address).remove(who);
        if address.services.is_empty() && address.endpoints.is_empty() && address.pods.is_empty() {
            self.by_ip.remove(&ip);
        }
    }

    /// The pods of this node that have the address.
    pub(super) fn pods(&self, address: IpAddr) -> impl Iterator<Item = &Key> {
        self.by_ip.get(&address).into_iter().flat_map(|address| address.pods.keys())
    }

    /// The ports at the addresses that Services mark opaque at their endpoints.
    pub(super) fn marked_at(&self, addresses: &[IpAddr]) -> PortSet {
        let says = addresses.iter().filter_map(|ip| self.by_ip.get(ip));
        says.flat_map(|address| address.endpoints.values())
            .fold(PortSet::EMPTY, |all, marked| all.union(marked))
    }

    /// What holds at an address, where that is something else than the node's list.
    pub(super) fn destination(&self, address: IpAddr, node: &PortSet) -> Option<Destination> {
        let Address { services, endpoints, pods } = self.by_ip.get(&address)?;
        let mut holds = Destination::default();
        for says in services.values() {
            holds.opaque = holds.opaque.union(&says.opaque);
            holds.detect = holds.detect.union(&says.detect);
        }
        for says in pods.values() {
            if let Some(opaque) = &says.opaque {
                holds.opaque = holds.opaque.union(opaque);
                holds.detect = holds.detect.union(&node.difference(opaque));
            }
            if !says.is_own {
                holds.opaque = holds.opaque.union(&says.marked);
            }
        }
        if pods.is_empty() || pods.values().any(|says| !says.is_own) {
            for marked in endpoints.values() {
                holds.opaque = holds.opaque.union(marked);
            }
        }
        holds.detect = holds.detect.difference(&holds.opaque);
        let says_something = !holds.opaque.is_empty() || !holds.detect.is_empty();
        says_something.then_some(holds)
    }

    /// Every address of which something is said.
    pub(super) fn all(&self) -> BTreeSet<IpAddr> {
        self.by_ip.keys().copied().collect()
    }
}

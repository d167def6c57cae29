//! What is known of one namespace: its objects, and which of them concern which.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::{
    desired::{ServiceFacts, ServicePortFacts},
    slot::Slots,
};
use crate::{
    kubernetes::objects::{Endpoints, Labels, Meta, Pod, Service, TargetPort},
    policy::{PortNames, PortSet, PortSpec},
};

/// Names of objects, by a label and its value.
type ByLabel = BTreeMap<(Arc<str>, Arc<str>), BTreeSet<Arc<str>>>;

/// One namespace; there is one for each name that any object has.
#[derive(Debug, Default)]
pub(super) struct Space {
    pub(super) object: Option<NamespaceEntry>,
    pub(super) pods: BTreeMap<Arc<str>, PodEntry>,
    pub(super) services: BTreeMap<Arc<str>, ServiceEntry>,
    pub(super) endpoints: BTreeMap<Arc<str>, EndpointsEntry>,
    /// Pods, by each of their labels.
    pods_by_label: ByLabel,
    /// Services, by the first label of their selectors.
    services_by_label: ByLabel,
    /// Endpoints, by their Services' names.
    endpoints_by_service: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
}

/// The Namespace itself.
#[derive(Debug)]
pub(super) struct NamespaceEntry {
    pub(super) meta: Meta,
    /// Names of ports are those of whoever it holds for.
    pub(super) slots: Slots<PortSpec>,
}

/// A pod of this node.
#[derive(Debug)]
pub(super) struct PodEntry {
    pub(super) object: Pod,
    pub(super) slots: Slots<PortSet>,
    /// The addresses that it has said something of.
    pub(super) said_of: Vec<IpAddr>,
}

/// A Service.
#[derive(Debug)]
pub(super) struct ServiceEntry {
    pub(super) object: Service,
    /// Only the opaque ports are ever said.
    pub(super) slots: Slots<PortSet>,
    /// What holds for it; `None` before it is first looked at.
    pub(super) facts: Option<Arc<ServiceFacts>>,
}

/// Where a Service's connections can go.
#[derive(Debug)]
pub(super) struct EndpointsEntry {
    pub(super) object: Endpoints,
    /// What they have said: the ports at each address that are marked opaque.
    pub(super) said: BTreeMap<IpAddr, PortSet>,
}

impl Space {
    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.object.is_none() && self.pods.is_empty() && self.services.is_empty() && self.endpoints.is_empty()
    }

    /// Entries of the maps that say what concerns what.
    #[cfg(test)]
    pub(super) fn references(&self) -> usize {
        let labels = self.pods_by_label.values().chain(self.services_by_label.values());
        labels.chain(self.endpoints_by_service.values()).map(BTreeSet::len).sum()
    }

    /// A pod is there.
    pub(super) fn put_pod(&mut self, name: &Arc<str>, entry: PodEntry) {
        self.take_pod(name);
        for (key, value) in &entry.object.labels {
            link(&mut self.pods_by_label, (Arc::clone(key), Arc::clone(value)), name);
        }
        self.pods.insert(Arc::clone(name), entry);
    }

    /// A pod is gone.
    pub(super) fn take_pod(&mut self, name: &str) -> Option<PodEntry> {
        let entry = self.pods.remove(name)?;
        for (key, value) in &entry.object.labels {
            unlink(&mut self.pods_by_label, &(Arc::clone(key), Arc::clone(value)), name);
        }
        Some(entry)
    }

    /// A Service is there.
    pub(super) fn put_service(&mut self, name: &Arc<str>, entry: ServiceEntry) {
        self.take_service(name);
        if let Some((key, value)) = entry.object.selector.first_key_value() {
            link(&mut self.services_by_label, (Arc::clone(key), Arc::clone(value)), name);
        }
        self.services.insert(Arc::clone(name), entry);
    }

    /// A Service is gone.
    pub(super) fn take_service(&mut self, name: &str) -> Option<ServiceEntry> {
        let entry = self.services.remove(name)?;
        if let Some((key, value)) = entry.object.selector.first_key_value() {
            unlink(&mut self.services_by_label, &(Arc::clone(key), Arc::clone(value)), name);
        }
        Some(entry)
    }

    /// Endpoints are there.
    pub(super) fn put_endpoints(&mut self, name: &Arc<str>, entry: EndpointsEntry) {
        self.take_endpoints(name);
        if let Some(service) = &entry.object.service {
            link(&mut self.endpoints_by_service, Arc::clone(service), name);
        }
        self.endpoints.insert(Arc::clone(name), entry);
    }

    /// Endpoints are gone.
    pub(super) fn take_endpoints(&mut self, name: &str) -> Option<EndpointsEntry> {
        let entry = self.endpoints.remove(name)?;
        if let Some(service) = &entry.object.service {
            unlink(&mut self.endpoints_by_service, service, name);
        }
        Some(entry)
    }

    /// The pods that have all labels of a selector; an empty one selects none.
    pub(super) fn selected(&self, selector: &Labels) -> impl Iterator<Item = &Arc<str>> {
        let first = selector.first_key_value().map(|(key, value)| (Arc::clone(key), Arc::clone(value)));
        let with_first = first.and_then(|label| self.pods_by_label.get(&label)).into_iter().flatten();
        with_first
            .filter(|name| self.pods.get(*name).is_some_and(|pod| selects(selector, &pod.object.labels)))
    }

    /// The Services that select a pod with these labels, as far as they have been looked at.
    pub(super) fn selecting(
        &self,
        labels: &Labels,
    ) -> impl Iterator<Item = (&Arc<str>, &[ServicePortFacts])> {
        let by_label = labels
            .iter()
            .filter_map(|(key, value)| self.services_by_label.get(&(Arc::clone(key), Arc::clone(value))));
        by_label.flatten().filter_map(|name| {
            let service =
                self.services.get(name).filter(|service| selects(&service.object.selector, labels))?;
            Some((name, service.facts.as_ref()?.ports.as_slice()))
        })
    }

    /// The endpoints of a Service.
    pub(super) fn endpoints_of(&self, service: &str) -> impl Iterator<Item = &Arc<str>> {
        self.endpoints_by_service.get(service).into_iter().flatten()
    }
}

/// Whether labels are what a selector asks for.
fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// The ports of a pod that a Service's port leads to.
pub(super) fn targets<'a>(target: &'a TargetPort, names: &'a PortNames) -> impl Iterator<Item = u16> + 'a {
    let (number, name) = match target {
        TargetPort::Number(number) => (Some(*number), None),
        TargetPort::Name(name) => (None, Some(names.ports(name))),
    };
    number.into_iter().chain(name.into_iter().flatten())
}

fn link<K: Ord>(map: &mut BTreeMap<K, BTreeSet<Arc<str>>>, key: K, name: &Arc<str>) {
    map.entry(key).or_default().insert(Arc::clone(name));
}

fn unlink<K: Ord>(map: &mut BTreeMap<K, BTreeSet<Arc<str>>>, key: &K, name: &str) {
    if let Some(names) = map.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            map.remove(key);
        }
    }
}

//! A node: a network namespace that routes, and cgroups in the kubelet's naming.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use super::cgroups::Tree;
use super::layout::Layout;
use super::network;
use super::pod::{Pod, PodSpec};
use super::services::{self, ServiceRule};
use crate::netns::Netns;
use crate::tempdir;

/// A node.
#[derive(Debug)]
pub struct Node {
    name: String,
    number: u8,
    layout: Layout,
    netns: Arc<Netns>,
    cgroups: Arc<Tree>,
    /// The last byte of the next pod's addresses.
    next_host: AtomicU8,
    services: Mutex<Vec<ServiceRule>>,
    _outside: Arc<Netns>,
}

impl Node {
    pub(super) fn new(outside: &Arc<Netns>, number: u8, layout: Layout) -> Self {
        let netns = network::router();
        network::wire_node(outside, &netns, number);
        Self {
            name: tempdir::unique_name(),
            number,
            layout,
            netns: Arc::new(netns),
            cgroups: Arc::default(),
            next_host: AtomicU8::new(2),
            services: Mutex::default(),
            _outside: Arc::clone(outside),
        }
    }

    /// What Kubernetes calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its cgroups are laid out.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Its own network, from which a kubelet probes its pods.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// The cgroup in which its own begin.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        self.cgroups.path()
    }

    /// Its address on the way to the outside.
    #[must_use]
    pub fn v4(&self) -> Ipv4Addr {
        network::wire_v4(self.number, 2)
    }

    /// Its address as its own pods see it: a kubelet's, above all.
    #[must_use]
    pub fn probes_from_v4(&self) -> Ipv4Addr {
        network::pod_v4(self.number, 1)
    }

    /// The same in IPv6.
    #[must_use]
    pub fn probes_from_v6(&self) -> Ipv6Addr {
        network::pod_v6(self.number, 1)
    }

    /// A running pod with a UID of its own.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn pod(&self, spec: &PodSpec) -> Pod {
        self.pod_with_uid(spec, &unique_uid())
    }

    /// A running pod with the UID that Kubernetes gave it.
    ///
    /// # Panics
    /// When it cannot be made, and when there are more than 253 on this node.
    #[must_use]
    pub fn pod_with_uid(&self, spec: &PodSpec, uid: &str) -> Pod {
        let host = self.next_host.fetch_add(1, Ordering::Relaxed);
        assert!((2..255).contains(&host), "no address left on {}", self.name);
        let place = super::pod::Place {
            node: Arc::clone(&self.netns),
            cgroups: Arc::clone(&self.cgroups),
            layout: self.layout,
            number: self.number,
            host,
        };
        Pod::start(place, spec.clone(), uid)
    }

    /// The Services that the node knows, in place of those before; all at once, as kube-proxy does.
    ///
    /// # Panics
    /// When nftables refuses.
    pub fn set_services(&self, rules: &[ServiceRule]) {
        let mut services = self.services.lock().expect("not poisoned");
        *services = rules.to_vec();
        self.apply(&services);
    }

    /// Adds one.
    ///
    /// # Panics
    /// When nftables refuses.
    pub fn add_service(&self, rule: ServiceRule) {
        let mut services = self.services.lock().expect("not poisoned");
        services.push(rule);
        self.apply(&services);
    }

    fn apply(&self, rules: &[ServiceRule]) {
        let own = (self.probes_from_v4(), self.probes_from_v6());
        services::apply(&self.netns, own, rules);
    }
}

/// A UID that no other pod has, in the form that Kubernetes gives them.
pub(super) fn unique_uid() -> String {
    use std::sync::atomic::AtomicU32;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let since = now.as_nanos() & 0xffff_ffff_ffff;
    format!("{:08x}-{:04x}-4000-8{:03x}-{since:012x}", std::process::id(), number >> 12, number & 0xfff)
}

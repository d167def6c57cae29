//! What the index needs of the API's objects, and no more: a node sees every Service and every endpoint of
//! its cluster.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::annotation::Annotations;
use crate::policy::PortNames;

/// An object's name, unique among those of its kind; a Namespace has its own name as its `namespace`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name in it.
    pub name: Arc<str>,
}

impl Key {
    /// The key of these two names.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// `NAMESPACE/NAME`
impl std::fmt::Display for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// What every object has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    /// Its name.
    pub key: Key,
    /// Which of the objects that have had the name it is.
    pub uid: Arc<str>,
    /// The API server's count of changes when it was written; `None` where it is no number, and so cannot be
    /// compared.
    pub version: Option<u64>,
    /// The annotations that are read.
    pub annotations: Annotations,
}

/// Labels, and what a selector asks of them.
pub(super) type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// A Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pod {
    /// What every object has.
    pub meta: Meta,
    /// What Services select it by.
    pub labels: Labels,
    /// The node that it runs on; empty before it has one.
    pub node: Arc<str>,
    /// Whether it lives in the node's network namespace.
    pub is_host_network: bool,
    /// Whether it has ended for good: phase Succeeded or Failed.
    pub is_finished: bool,
    /// Its addresses; none before its namespace is made.
    pub ips: Vec<IpAddr>,
    /// How the kubelet has placed its cgroup; `None` before it says.
    pub qos: Option<QosClass>,
    /// The uid in its cgroup's name: another one where it is the mirror of a static pod.
    pub cgroup_uid: Arc<str>,
    /// Its containers' ids as the runtime has them (`containerd://…`), init containers first; those not yet
    /// made are left out.
    pub containers: Vec<Box<str>>,
    /// The named TCP ports of all of its containers.
    pub port_names: PortNames,
}

/// The class by which the kubelet sorts cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QosClass {
    /// Limits equal requests, for every container.
    Guaranteed,
    /// Some requests.
    Burstable,
    /// None.
    BestEffort,
}

impl QosClass {
    /// The word that the API has for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// What every object has; of the annotations only the one that Services have.
    pub meta: Meta,
    /// Its addresses; none where it is headless or a name for something else.
    pub cluster_ips: Vec<IpAddr>,
    /// Its TCP ports.
    pub ports: Vec<ServicePort>,
    /// The labels that its pods have; empty where it selects none.
    pub selector: Labels,
}

/// A TCP port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServicePort {
    /// The port at the Service's addresses.
    pub port: u16,
    /// Its name; empty where it has none.
    pub name: Box<str>,
    /// Where connections to it arrive.
    pub target: TargetPort,
    /// What its protocol is said to be.
    pub protocol: AppProtocol,
}

/// A port of a Service's pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// The same for each of them.
    Number(u16),
    /// Whatever each of them calls so.
    Name(Box<str>),
}

/// What `appProtocol` says of a Service's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AppProtocol {
    /// Nothing, or a word that says nothing here.
    Unsaid,
    /// HTTP of any version: to be inspected.
    Http,
    /// Not to be inspected.
    Opaque,
}

impl AppProtocol {
    /// What a word says.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "linkerd.io/opaque" | "linkerd.io/tcp" => Self::Opaque,
            "http" | "kubernetes.io/h2c" | "kubernetes.io/ws" => Self::Http,
            _ => Self::Unsaid,
        }
    }
}

/// A Namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Namespace {
    /// What every object has; both names in the key are its own.
    pub meta: Meta,
}

/// Where a Service's connections can go: an `EndpointSlice`, or the Endpoints of old.
///
/// Ready or not: what is opaque does not depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoints {
    /// What every object has.
    pub meta: Meta,
    /// The Service in the same namespace; `None` where nothing says so.
    pub service: Option<Arc<str>>,
    /// The addresses, with the ports of each.
    pub groups: Vec<EndpointGroup>,
}

/// Addresses with the same ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EndpointGroup {
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// The TCP ports: the name of the Service's port (empty where it has none), and the number here.
    pub ports: Vec<(Box<str>, u16)>,
}

/// What the index keeps by its name.
pub(super) trait Object {
    /// What every object has.
    fn meta(&self) -> &Meta;
}

impl Object for Pod {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl Object for Service {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl Object for Namespace {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl Object for Endpoints {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

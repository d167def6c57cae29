//! What the index says is to be done: values that can be kept, compared and shown.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::SystemTime};

use crate::{
    kubernetes::{
        annotation::Annotation,
        objects::{Key, QosClass, TargetPort},
    },
    policy::{BypassMode, PortRules, PortSet, PortTable, SubnetSet},
};

/// What holds for pods where neither they nor their namespaces say anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeDefaults {
    /// The node's port lists; built-in ones hold where it has none.
    pub ports: PortRules,
    /// Addresses that are left alone.
    pub subnets: SubnetSet,
}

/// Everything that is to be done. Cheap to clone; what has not changed is the same allocation as before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The pods to enrol.
    pub pods: Arc<BTreeMap<Key, Arc<PodPolicy>>>,
    /// The pods that are left alone, and why.
    pub left_alone: Arc<BTreeMap<Key, LeftAlone>>,
    /// Destinations that have opaque ports of their own. For any other one, and for a port that its
    /// destination does not name, the workload's table holds.
    pub destinations: Arc<BTreeMap<IpAddr, Destination>>,
    /// The cluster's Services and what holds for their ports, for listings.
    pub services: Arc<BTreeMap<Key, Arc<ServiceFacts>>>,
    /// Annotations whose values cannot be used.
    pub problems: Arc<BTreeMap<ProblemKey, Problem>>,
    /// Pods of this node that say something else of a port than a Service in front of them.
    pub disagreements: Arc<BTreeMap<Key, Arc<[Disagreement]>>>,
}

impl Desired {
    /// Whether it is the very same: quick to tell, and true of what the index has not touched.
    pub(in crate::kubernetes) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pods, &other.pods)
            && Arc::ptr_eq(&self.left_alone, &other.left_alone)
            && Arc::ptr_eq(&self.destinations, &other.destinations)
            && Arc::ptr_eq(&self.services, &other.services)
            && Arc::ptr_eq(&self.problems, &other.problems)
            && Arc::ptr_eq(&self.disagreements, &other.disagreements)
    }
}

/// A pod to enrol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPolicy {
    /// Its name.
    pub key: Key,
    /// Its uid.
    pub uid: Arc<str>,
    /// The uid in its cgroup's name: another one for a static pod.
    pub cgroup_uid: Arc<str>,
    /// How its cgroup is placed; `None` before the API server says.
    pub qos: Option<QosClass>,
    /// Its addresses; none before it has a network namespace.
    pub ips: Vec<IpAddr>,
    /// Its containers' ids (`containerd://…`), as far as they are made.
    pub containers: Vec<Box<str>>,
    /// What is done with its connections. Outbound, the opaque ports are the node's: what is opaque elsewhere
    /// is said by [`Desired::destinations`].
    pub table: PortTable,
    /// Addresses that it is not proxied with.
    pub skip_subnets: SubnetSet,
    /// Whether its opaque connections within the node go past TCP, where it or its namespace says.
    pub same_node_bypass: Option<BypassMode>,
    /// Where each list was written.
    pub sources: Sources,
    /// Ports that are opaque where it accepts because a Service says so; they are in the table.
    pub opaque_by_services: PortSet,
}

/// Where the lists of a pod were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The ports that are opaque where it accepts.
    pub opaque: Level,
    /// The ports that are left alone where it accepts.
    pub skip_inbound: Level,
    /// The ports that are left alone where it connects.
    pub skip_outbound: Level,
    /// The addresses that are left alone.
    pub skip_subnets: Level,
}

/// Where something can be written, from the farthest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nowhere: it is what sluice does by itself.
    BuiltIn,
    /// In the node's config.
    Node,
    /// On the namespace.
    Namespace,
    /// On the Service.
    Service,
    /// On the pod.
    Pod,
}

impl Level {
    /// The word used in listings.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::BuiltIn => "default",
            Self::Node => "node",
            Self::Namespace => "namespace",
            Self::Service => "service",
            Self::Pod => "pod",
        }
    }
}

/// Why a pod is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LeftAlone {
    /// It runs on another node, or has none yet.
    OtherNode,
    /// It has ended.
    Finished,
    /// An annotation says so.
    Disabled,
    /// No annotation asks for it.
    NotAnnotated,
    /// It lives in the node's network namespace, among everything else there.
    HostNetwork,
}

impl LeftAlone {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::OtherNode, Self::Finished, Self::Disabled, Self::NotAnnotated, Self::HostNetwork];

    /// The word used in listings and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::OtherNode => "other-node",
            Self::Finished => "finished",
            Self::Disabled => "disabled",
            Self::NotAnnotated => "not-annotated",
            Self::HostNetwork => "host-network",
        }
    }
}

/// What is known of the ports at an address. A port in neither set is left to the workload's table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// Opaque, whatever the node's list says.
    pub opaque: PortSet,
    /// Inspected, although the node's list has them.
    pub detect: PortSet,
}

/// What holds for a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFacts {
    /// Its addresses.
    pub cluster_ips: Vec<IpAddr>,
    /// Its TCP ports.
    pub ports: Vec<ServicePortFacts>,
}

/// What holds for a port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePortFacts {
    /// The port at the Service's addresses.
    pub port: u16,
    /// Its name; empty where it has none.
    pub name: Box<str>,
    /// Where connections to it arrive.
    pub target: TargetPort,
    /// Whether connections to it are not inspected.
    pub is_opaque: bool,
    /// Where that is said.
    pub source: Level,
}

impl ServicePortFacts {
    /// Whether somebody asked for it to be opaque; a default list did not.
    pub(super) fn is_marked(&self) -> bool {
        self.is_opaque && matches!(self.source, Level::Namespace | Level::Service)
    }
}

/// An annotation of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProblemKey {
    /// The object's kind.
    pub kind: Kind,
    /// The object's name.
    pub object: Key,
    /// The annotation.
    pub annotation: Annotation,
}

/// The kinds that have annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A Namespace.
    Namespace,
    /// A Service.
    Service,
    /// A Pod.
    Pod,
}

impl Kind {
    /// The API's word.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::Pod => "Pod",
        }
    }
}

/// What is wrong with an annotation's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which of the objects that have had the name.
    pub uid: Arc<str>,
    /// The annotation, what was expected, what came.
    pub message: Arc<str>,
    /// Whether an earlier value of the annotation holds on; else it is as if it were not there.
    pub is_earlier_kept: bool,
    /// Since when that is so.
    pub since: SystemTime,
}

/// A pod and a Service in front of it that say different things of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The Service, in the pod's namespace.
    pub service: Arc<str>,
    /// The Service's port.
    pub port: u16,
    /// The pod's port that it leads to.
    pub target: u16,
    /// Which of them says that it is opaque.
    pub opaque_by: OpaqueBy,
}

/// Which side of a disagreement says that a port is opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OpaqueBy {
    /// The Service says so; the pod's own annotation, which holds at the pod, does not.
    Service,
    /// The pod's own annotation says so, and the Service does not.
    Pod,
}

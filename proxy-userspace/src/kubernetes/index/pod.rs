//! What is to be done with a pod.

use std::{net::IpAddr, sync::Arc};

use proxy_common::{Decision, Direction, PortRule, RuleSource};

use super::{
    addresses::PodSays,
    desired::{Disagreement, LeftAlone, Level, NodeDefaults, OpaqueBy, PodPolicy, ServicePortFacts, Sources},
    slot::{Inject, Slot, Slots},
    space::{PodEntry, Space, targets},
};
use crate::{
    kubernetes::objects::Pod,
    policy::{BypassMode, EnrolMode, PortSet, PortSpec, PortTable, SubnetSet},
};

/// What is known around a pod.
pub(super) struct Around<'a> {
    pub(super) node_name: &'a str,
    pub(super) enrol: EnrolMode,
    pub(super) defaults: &'a NodeDefaults,
    /// The node's opaque ports, or the built-in ones.
    pub(super) node_opaque: (&'a PortSet, Level),
    pub(super) space: &'a Space,
    /// What endpoints at the pod's addresses are marked.
    pub(super) marked_at_ips: PortSet,
}

/// What comes of a pod.
pub(super) struct Outcome {
    pub(super) policy: Result<PodPolicy, LeftAlone>,
    /// What it says of its addresses, where they are its own.
    pub(super) says: PodSays,
    pub(super) disagreements: Vec<Disagreement>,
}

/// The addresses that are a pod's alone.
pub(super) fn own_ips(pod: &Pod, node_name: &str) -> Vec<IpAddr> {
    // An address of a pod that has ended may be another's by now.
    let has_own = !pod.is_host_network && !pod.is_finished && *pod.node == *node_name;
    if has_own { pod.ips.clone() } else { Vec::new() }
}

/// Weighs what is said of a pod.
pub(super) fn outcome(entry: &PodEntry, around: &Around<'_>) -> Outcome {
    let Around { node_name, enrol, defaults, space, .. } = *around;
    let PodEntry { object: pod, slots: own, .. } = entry;
    let namespace = space.object.as_ref().map(|entry| &entry.slots);

    let known = |spec: &PortSpec| spec.resolve_known(&pod.port_names);
    let opaque_own = own.opaque.value().cloned();
    let opaque_namespace = namespace.and_then(|slots| slots.opaque.value()).map(known);
    let is_own = opaque_own.is_some();
    let opaque_said = opaque_own
        .map(|ports| (ports, Level::Pod))
        .or_else(|| opaque_namespace.map(|ports| (ports, Level::Namespace)));

    let (marked, disagreements) = marked(pod, is_own, opaque_said.as_ref(), space);
    let marked_at_all = if is_own { PortSet::EMPTY } else { marked.union(&around.marked_at_ips) };
    let says = PodSays { opaque: opaque_said.as_ref().map(|(ports, _)| ports.clone()), is_own, marked };

    let policy = left_alone(pod, own, namespace, node_name, enrol).map_or_else(
        || {
            let (opaque, opaque_source) =
                opaque_said.unwrap_or_else(|| (around.node_opaque.0.clone(), around.node_opaque.1));
            let skip = |direction| skip(direction, own, namespace, pod, defaults);
            let (skip_inbound, inbound_source) = skip(Direction::Inbound);
            let (skip_outbound, outbound_source) = skip(Direction::Outbound);
            let (skip_subnets, subnets_source) = subnets(own, namespace, defaults);
            let mut table = PortTable::new();
            let mut set = |direction, decision, ports: &PortSet, source| {
                table.set(direction, ports, PortRule::new(decision, rule_source(source)));
            };
            set(Direction::Outbound, Decision::Opaque, around.node_opaque.0, around.node_opaque.1);
            set(Direction::Inbound, Decision::Opaque, &opaque, opaque_source);
            set(Direction::Inbound, Decision::Opaque, &marked_at_all.difference(&opaque), Level::Service);
            // After the opaque ports: the later rule wins.
            set(Direction::Outbound, Decision::Skip, &skip_outbound, outbound_source);
            set(Direction::Inbound, Decision::Skip, &skip_inbound, inbound_source);
            Ok(PodPolicy {
                key: pod.meta.key.clone(),
                uid: Arc::clone(&pod.meta.uid),
                cgroup_uid: Arc::clone(&pod.cgroup_uid),
                qos: pod.qos,
                ips: pod.ips.clone(),
                containers: pod.containers.clone(),
                table,
                skip_subnets,
                same_node_bypass: same_node_bypass(own, namespace),
                sources: Sources {
                    opaque: opaque_source,
                    skip_inbound: inbound_source,
                    skip_outbound: outbound_source,
                    skip_subnets: subnets_source,
                },
                opaque_by_services: marked_at_all,
            })
        },
        Err,
    );
    Outcome { policy, says, disagreements }
}

/// Why the pod is left alone, if it is.
fn left_alone(
    pod: &Pod,
    own: &Slots<PortSet>,
    namespace: Option<&Slots<PortSpec>>,
    node_name: &str,
    enrol: EnrolMode,
) -> Option<LeftAlone> {
    let of_namespace = || namespace.and_then(|slots| slots.inject.value());
    let inject = own.inject.value().or_else(of_namespace);
    let is_wanted = match (inject, enrol) {
        (Some(Inject::Enabled), _) | (None, EnrolMode::All) => Ok(()),
        (Some(Inject::Disabled), _) => Err(LeftAlone::Disabled),
        (None, EnrolMode::Annotated) => Err(LeftAlone::NotAnnotated),
    };
    if *pod.node != *node_name {
        Some(LeftAlone::OtherNode)
    } else if pod.is_finished {
        Some(LeftAlone::Finished)
    } else if let Err(reason) = is_wanted {
        Some(reason)
    } else {
        pod.is_host_network.then_some(LeftAlone::HostNetwork)
    }
}

/// The ports of a pod that Services which select it mark opaque, and where it says something else itself.
fn marked(
    pod: &Pod,
    is_own: bool,
    said: Option<&(PortSet, Level)>,
    space: &Space,
) -> (PortSet, Vec<Disagreement>) {
    let mut marked = Vec::new();
    let mut disagreements = Vec::new();
    let mut weigh = |service: &Arc<str>, port: &ServicePortFacts, target: u16| {
        if port.is_marked() {
            marked.extend(std::num::NonZeroU16::new(target));
        }
        let by_pod = said.filter(|_| is_own).map(|(ports, _)| ports.contains(target));
        let opaque_by = match by_pod {
            Some(false) if port.is_marked() => OpaqueBy::Service,
            Some(true) if !port.is_opaque => OpaqueBy::Pod,
            Some(_) | None => return,
        };
        disagreements.push(Disagreement { service: Arc::clone(service), port: port.port, target, opaque_by });
    };
    for (service, ports) in space.selecting(&pod.labels) {
        for port in ports {
            for target in targets(&port.target, &pod.port_names) {
                weigh(service, port, target);
            }
        }
    }
    disagreements.sort_unstable_by(|one, other| {
        (&one.service, one.port, one.target).cmp(&(&other.service, other.port, other.target))
    });
    (marked.into_iter().collect(), disagreements)
}

/// The ports that are left alone in one direction, and who says so.
fn skip(
    direction: Direction,
    own: &Slots<PortSet>,
    namespace: Option<&Slots<PortSpec>>,
    pod: &Pod,
    defaults: &NodeDefaults,
) -> (PortSet, Level) {
    let known = |spec: &PortSpec| spec.resolve_known(&pod.port_names);
    let of_namespace =
        || namespace.and_then(|slots| either(one_way(slots, direction), &slots.skip_both, known));
    let of_node = match direction {
        Direction::Outbound => &defaults.ports.skip_outbound,
        Direction::Inbound => &defaults.ports.skip_inbound,
    };
    either(one_way(own, direction), &own.skip_both, PortSet::clone)
        .map(|ports| (ports, Level::Pod))
        .or_else(|| Some((of_namespace()?, Level::Namespace)))
        .or_else(|| Some((of_node.clone()?, Level::Node)))
        .unwrap_or((PortSet::EMPTY, Level::BuiltIn))
}

/// The annotation of one direction.
fn one_way<P>(slots: &Slots<P>, direction: Direction) -> &Slot<P> {
    match direction {
        Direction::Outbound => &slots.skip_outbound,
        Direction::Inbound => &slots.skip_inbound,
    }
}

/// The list of one direction and that of both, together; `None` where neither is there.
fn either<P>(one: &Slot<P>, both: &Slot<P>, ports: impl Fn(&P) -> PortSet) -> Option<PortSet> {
    match (one.value(), both.value()) {
        (Some(one), Some(both)) => Some(ports(one).union(&ports(both))),
        (Some(list), None) | (None, Some(list)) => Some(ports(list)),
        (None, None) => None,
    }
}

/// The addresses that are left alone, and who says so.
fn subnets(
    own: &Slots<PortSet>,
    namespace: Option<&Slots<PortSpec>>,
    defaults: &NodeDefaults,
) -> (SubnetSet, Level) {
    let of_namespace = || namespace.and_then(|slots| slots.skip_subnets.value());
    if let Some(subnets) = own.skip_subnets.value() {
        (subnets.clone(), Level::Pod)
    } else if let Some(subnets) = of_namespace() {
        (subnets.clone(), Level::Namespace)
    } else if defaults.subnets.is_empty() {
        (SubnetSet::EMPTY, Level::BuiltIn)
    } else {
        (defaults.subnets.clone(), Level::Node)
    }
}

/// Whether its connections within the node go past TCP; `None` where the node says.
fn same_node_bypass(own: &Slots<PortSet>, namespace: Option<&Slots<PortSpec>>) -> Option<BypassMode> {
    let of_namespace = || namespace.and_then(|slots| slots.same_node_bypass.value());
    own.same_node_bypass.value().or_else(of_namespace).copied()
}

/// How the kernel is told where a rule was written: annotations are the workload's own part.
const fn rule_source(level: Level) -> RuleSource {
    match level {
        Level::BuiltIn => RuleSource::Default,
        Level::Node => RuleSource::Node,
        Level::Namespace | Level::Service | Level::Pod => RuleSource::Workload,
    }
}

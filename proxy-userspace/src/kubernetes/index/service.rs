//! What holds for the ports of a Service.

use super::{
    desired::{Destination, Level, ServiceFacts, ServicePortFacts},
    slot::Slots,
};
use crate::{
    kubernetes::objects::{AppProtocol, EndpointGroup, Service},
    policy::{PortNames, PortSet, PortSpec},
};

/// The names of a Service's ports.
pub(super) fn port_names(service: &Service) -> PortNames {
    service.ports.iter().map(|port| (&*port.name, port.port)).collect()
}

/// What holds for each port: what its `appProtocol` says, else the Service's own list, else its namespace's,
/// else the node's. A list that has ports which the Service has not says nothing by them.
pub(super) fn facts(
    service: &Service,
    own: &Slots<PortSet>,
    namespace: Option<&Slots<PortSpec>>,
    node: (&PortSet, Level),
) -> ServiceFacts {
    let names = port_names(service);
    let namespace = namespace.and_then(|slots| slots.opaque.value()).map(|spec| spec.resolve_known(&names));
    let (list, source) = match (own.opaque.value(), &namespace) {
        (Some(own), _) => (own, Level::Service),
        (None, Some(namespace)) => (namespace, Level::Namespace),
        (None, None) => node,
    };
    let of = |port: &crate::kubernetes::objects::ServicePort| {
        let (is_opaque, source) = match port.protocol {
            AppProtocol::Opaque => (true, Level::Service),
            AppProtocol::Http => (false, Level::Service),
            AppProtocol::Unsaid => (list.contains(port.port), source),
        };
        ServicePortFacts {
            port: port.port,
            name: port.name.clone(),
            target: port.target.clone(),
            is_opaque,
            source,
        }
    };
    ServiceFacts { cluster_ips: service.cluster_ips.clone(), ports: service.ports.iter().map(of).collect() }
}

/// What a Service says of its addresses, where that is something else than the node's list.
pub(super) fn says(facts: &ServiceFacts, node: &PortSet) -> Option<Destination> {
    let ports = |which: fn(&ServicePortFacts) -> bool| -> PortSet {
        let numbers = facts.ports.iter().filter(|port| which(port)).map(|port| port.port);
        numbers.filter_map(std::num::NonZeroU16::new).collect()
    };
    let says = Destination {
        opaque: ports(ServicePortFacts::is_marked),
        detect: ports(|port| !port.is_opaque).intersection(node),
    };
    let says_something = !says.opaque.is_empty() || !says.detect.is_empty();
    says_something.then_some(says)
}

/// The ports of endpoints that a Service marks opaque: those with the name of a marked port.
pub(super) fn marked_at_endpoints(facts: &ServiceFacts, group: &EndpointGroup) -> PortSet {
    let marked = |name: &str| facts.ports.iter().any(|port| *port.name == *name && port.is_marked());
    let numbers = group.ports.iter().filter(|(name, _)| marked(name)).map(|(_, number)| *number);
    numbers.filter_map(std::num::NonZeroU16::new).collect()
}

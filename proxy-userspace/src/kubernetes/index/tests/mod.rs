//! What the index says, of objects that are made here.

mod lists;
mod mistakes;
mod orders;
mod services;
mod work;

use std::time::{Duration, SystemTime};

use proxy_common::{Decision, Direction};

use super::*;
use crate::{
    kubernetes::{
        annotation::Annotations,
        objects::{AppProtocol, EndpointGroup, Labels, Meta, Object, ServicePort, TargetPort},
    },
    policy::PortRules,
};

const NODE: &str = "node-1";
const INJECT: &str = "linkerd.io/inject";
const OPAQUE: &str = "config.linkerd.io/opaque-ports";
const SKIP_IN: &str = "config.linkerd.io/skip-inbound-ports";
const SKIP_OUT: &str = "config.linkerd.io/skip-outbound-ports";
const SKIP: &str = "linkerd.io/skip-ports";
const SUBNETS: &str = "config.linkerd.io/skip-subnets";

/// Words in pairs.
type Pairs<'a> = &'a [(&'a str, &'a str)];

/// A time, in seconds of the test.
fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Metadata of an object without a version: whatever is told last is the newest.
fn meta(namespace: &str, name: &str, annotations: Pairs<'_>) -> Meta {
    Meta {
        key: Key::new(namespace, name),
        uid: format!("uid-of-{namespace}-{name}").into(),
        version: None,
        annotations: annotations.iter().copied().collect::<Annotations>(),
    }
}

fn labels(pairs: Pairs<'_>) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

/// A running pod of this node in the namespace `shop`.
fn pod(name: &str, ip: &str, annotations: Pairs<'_>) -> Pod {
    Pod {
        meta: meta("shop", name, annotations),
        labels: labels(&[("app", name)]),
        node: NODE.into(),
        is_host_network: false,
        is_finished: false,
        ips: vec![ip.parse().unwrap()],
        qos: None,
        cgroup_uid: "cgroup-uid".into(),
        containers: Vec::new(),
        port_names: [("http", 8080), ("metrics", 9090), ("mysql", 3306)].into_iter().collect(),
    }
}

/// A Service in the namespace `shop` of pods with the label `app: NAME`; each port is `port`, `port:target`
/// or `name=port:target`, and may end in `@appProtocol`.
fn service(name: &str, ip: &str, ports: &[&str], annotations: Pairs<'_>) -> Service {
    let port = |written: &&str| {
        let (rest, protocol) = written.split_once('@').unwrap_or((written, ""));
        let (name, rest) = rest.split_once('=').unwrap_or(("", rest));
        let (port, target) = rest.split_once(':').unwrap_or((rest, rest));
        let target = target.parse().map_or_else(|_| TargetPort::Name(target.into()), TargetPort::Number);
        let protocol = AppProtocol::of(protocol);
        ServicePort { port: port.parse().unwrap(), name: name.into(), target, protocol }
    };
    Service {
        meta: meta("shop", name, annotations),
        cluster_ips: ip.parse().into_iter().collect(),
        ports: ports.iter().map(port).collect(),
        selector: labels(&[("app", name)]),
    }
}

fn namespace(name: &str, annotations: Pairs<'_>) -> Namespace {
    Namespace { meta: meta(name, name, annotations) }
}

/// Endpoints of a Service in the namespace `shop`.
fn endpoints(name: &str, service: &str, addresses: &[&str], ports: &[(&str, u16)]) -> Endpoints {
    Endpoints {
        meta: meta("shop", name, &[]),
        service: Some(service.into()),
        groups: vec![EndpointGroup {
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            ports: ports.iter().map(|(name, port)| ((*name).into(), *port)).collect(),
        }],
    }
}

/// An index that enrols what is annotated, with nothing of the node's.
fn index() -> Index {
    Index::new(NODE, NodeDefaults::default(), EnrolMode::Annotated)
}

/// The node's lists.
fn node_lists(opaque: &str, skip_outbound: &str, skip_inbound: &str) -> NodeDefaults {
    let list = |list: &str| Some(list.parse().unwrap());
    let ports = PortRules {
        opaque: list(opaque),
        skip_outbound: list(skip_outbound),
        skip_inbound: list(skip_inbound),
    };
    NodeDefaults { ports, subnets: "192.0.2.0/24".parse().unwrap() }
}

impl Index {
    /// Tells that an object is there.
    fn tell<T>(&mut self, object: T)
    where
        T: Told,
    {
        self.tell_at(object, 0);
    }

    /// Tells it at a time.
    fn tell_at<T: Told>(&mut self, object: T, seconds: u64) {
        self.apply(T::event(Change::Upsert(object)), at(seconds));
    }

    /// Tells that it is gone.
    fn gone<T: Told>(&mut self, object: &T) {
        let Meta { key, uid, .. } = object.meta().clone();
        self.apply(T::event(Change::Delete { key, uid }), at(0));
    }

    /// The policy of a pod in `shop`.
    fn policy(&self, name: &str) -> &PodPolicy {
        let key = Key::new("shop", name);
        self.desired
            .pods
            .get(&key)
            .unwrap_or_else(|| panic!("{name}: {:?}", self.desired.left_alone.get(&key)))
    }

    /// Why a pod in `shop` is left alone.
    fn left_alone(&self, name: &str) -> Option<LeftAlone> {
        let key = Key::new("shop", name);
        assert_eq!(self.desired.pods.contains_key(&key), !self.desired.left_alone.contains_key(&key));
        self.desired.left_alone.get(&key).copied()
    }

    /// The opaque and the inspected ports of an address: `opaque/detect`.
    fn destination(&self, address: &str) -> Option<String> {
        let holds = self.desired.destinations.get(&address.parse().unwrap())?;
        Some(format!("{}/{}", holds.opaque, holds.detect))
    }

    /// What is wrong, message by message.
    fn wrong(&self) -> Vec<&str> {
        self.desired.problems.values().map(|problem| &*problem.message).collect()
    }
}

impl PodPolicy {
    /// The ports with a decision.
    fn ports(&self, direction: Direction, decision: Decision) -> String {
        let ranges = self.table.ranges(direction).filter(|(_, rule)| rule.decision() == decision);
        let written: Vec<_> = ranges.map(|(range, _)| format!("{}-{}", range.start(), range.end())).collect();
        written.join(",").parse::<PortSet>().unwrap().to_string()
    }

    fn opaque_inbound(&self) -> String {
        self.ports(Direction::Inbound, Decision::Opaque)
    }

    fn skipped(&self) -> [String; 2] {
        Direction::ALL.map(|direction| self.ports(direction, Decision::Skip))
    }
}

/// A kind that can be told.
trait Told: Object + Clone {
    fn event(change: Change<Self>) -> Event;
}

impl Told for Pod {
    fn event(change: Change<Self>) -> Event {
        Event::Pods(change)
    }
}

impl Told for Service {
    fn event(change: Change<Self>) -> Event {
        Event::Services(change)
    }
}

impl Told for Namespace {
    fn event(change: Change<Self>) -> Event {
        Event::Namespaces(change)
    }
}

impl Told for Endpoints {
    fn event(change: Change<Self>) -> Event {
        Event::Endpoints(change)
    }
}

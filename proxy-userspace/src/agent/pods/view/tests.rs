//! What is told of a node with a pod in each state.

use proxy_common::{PortRule, RuleSource};

use super::*;
use crate::{
    kubernetes::{LeftAlone, Level, Objects, Resource, ResourceHealth, Sources, WatchError},
    policy::SubnetSet,
};

fn key(name: &str) -> Key {
    Key::new("shop", name)
}

fn pod(name: &str) -> (Key, Arc<PodPolicy>) {
    let mut table = PortTable::new();
    let rule = PortRule::new(Decision::Skip, RuleSource::Workload);
    table.set(Direction::Outbound, &"8080,9000-9010".parse().unwrap(), rule);
    let sources = Sources {
        opaque: Level::BuiltIn,
        skip_inbound: Level::BuiltIn,
        skip_outbound: Level::Pod,
        skip_subnets: Level::Namespace,
    };
    let policy = PodPolicy {
        same_node_bypass: None,
        key: key(name),
        uid: "uid".into(),
        cgroup_uid: "uid".into(),
        qos: None,
        ips: vec!["10.0.0.1".parse().unwrap()],
        containers: Vec::new(),
        table,
        skip_subnets: SubnetSet::EMPTY,
        sources,
        opaque_by_services: PortSet::EMPTY,
    };
    (key(name), Arc::new(policy))
}

fn snapshot() -> Snapshot {
    let desired = Desired {
        pods: Arc::new(BTreeMap::from(["agent", "db", "web"].map(pod))),
        left_alone: Arc::new(BTreeMap::from([(key("cni"), LeftAlone::HostNetwork)])),
        ..Desired::default()
    };
    let resources = Resource::ALL.map(|resource| ResourceHealth {
        resource,
        is_synced: resource != Resource::Endpoints,
        lists: 1,
        failures: 0,
        error: (resource == Resource::Endpoints)
            .then(|| WatchError { message: "busy".to_owned(), since: UNIX_EPOCH }),
    });
    Snapshot {
        node_name: "node-1".to_owned(),
        desired: Arc::new(desired),
        health: Health { resources, endpoints_api: None, objects: Objects::default() },
        waiting: BTreeMap::from([(key("db"), "no process in its cgroup yet".to_owned())]),
        own: Some(key("agent")),
    }
}

#[test]
fn the_pod_of_this_process_counts_as_left_alone() {
    let counts = PodCounts { is_listed: true, enrolled: 1, waiting: 1, left_alone: 2, problems: 0 };
    assert_eq!(snapshot().counts(), counts);
    let others = Snapshot { own: None, ..snapshot() };
    assert_eq!(others.counts(), PodCounts { enrolled: 2, left_alone: 1, ..counts });
}

#[test]
fn each_pod_is_told_with_its_state_and_why() {
    let view = snapshot().view();
    let told: Vec<_> =
        view.pods.iter().map(|pod| (&*pod.name, pod.state.label(), pod.why.as_deref())).collect();
    assert_eq!(
        told,
        [
            ("shop/agent", "left alone", Some("own-pod")),
            ("shop/cni", "left alone", Some("host-network")),
            ("shop/db", "waiting", Some("no process in its cgroup yet")),
            ("shop/web", "enrolled", None),
        ]
    );
    let lists: Vec<_> =
        view.pods[3].lists.iter().map(|list| (&*list.name, &*list.value, &*list.source)).collect();
    assert_eq!(
        lists,
        [
            ("opaque-ports", "", "default"),
            ("skip-inbound-ports", "", "default"),
            ("skip-outbound-ports", "8080,9000-9010", "pod"),
            ("skip-subnets", "", "namespace"),
        ]
    );
    let endpoints = view.watches.last().unwrap();
    assert!(!endpoints.is_synced);
    assert_eq!(endpoints.error.as_ref().unwrap().0, "busy");
}
